// Sessions and the scheduler: the same bits however tokens are packed, and each failure stays in its own session.
#include <doctest/doctest.h>

#include <thread>

#include "runtime/generate.h"
#include "tests/models/random_model.h"
#include "tests/support/status.h"

using namespace moiety;
using namespace moiety::test;

namespace {

ModelOptions options_for(int threads, std::vector<std::string> backends = {}) {
  ModelOptions options;
  options.threads = threads;
  options.backends = std::move(backends);
  return options;
}

Config tiny_olmoe() { return find_architecture("olmoe")->tiny().front(); }

// Logits of each of `count` sessions with their own tokens, run together.
std::vector<std::vector<float>> together(const Model& model, size_t count, size_t length, size_t chunk) {
  Scheduler scheduler(model);
  std::vector<std::unique_ptr<Session>> sessions;
  std::vector<std::vector<int32_t>> tokens;
  std::vector<std::vector<float>> logits(count);
  for (size_t i = 0; i < count; ++i) {
    sessions.push_back(std::make_unique<Session>(model));
    tokens.push_back(random_tokens(model.config().vocab, length + i % 3, i));
  }
  for (size_t at = 0; at < length + 3; at += chunk) {
    for (size_t i = 0; i < count; ++i) {
      if (at >= tokens[i].size()) continue;
      const auto part = std::span<const int32_t>(tokens[i]).subspan(at, std::min(chunk, tokens[i].size() - at));
      scheduler.submit(*sessions[i], part, Want::kAll, [&logits, i](int, std::span<const float> row) {
        logits[i].insert(logits[i].end(), row.begin(), row.end());
      });
    }
    scheduler.run();
  }
  return logits;
}

}  // namespace

TEST_CASE("the same bits for any threads, batch neighbours and chunks") {
  // Long enough for several tiles of attention, wide enough for K-quants and for more than one tile of a matmul.
  constexpr size_t kLength = 40;
  Config config = tiny_olmoe();
  config.width = 256, config.expert_width = 256, config.head_dim = 64;
  for (DType type : {DType::kF32, DType::kBF16, DType::kQ8_0, DType::kQ4_0, DType::kQ4_K, DType::kQ6_K}) {
    CAPTURE(std::string(dtype_info(type).name));
    const RandomOptions random{.seed = 3, .type = type};
    const auto first = random_model(config, options_for(1), random);
    const auto expected = together(*first, 32, kLength, 512);
    const bool fully = type == DType::kF32 || type == DType::kQ4_0;  // the others with one pool, for time
    for (int threads : fully ? std::vector<int>{1, 2, 3, 8} : std::vector<int>{3}) {
      const auto model = random_model(config, options_for(threads), random);
      for (size_t batch : {size_t{1}, size_t{2}, size_t{7}, size_t{32}}) {
        for (size_t chunk : {size_t{1}, size_t{16}, size_t{512}}) {
          CAPTURE(threads);
          CAPTURE(batch);
          CAPTURE(chunk);
          const auto logits = together(*model, batch, kLength, chunk);
          for (size_t i = 0; i < batch; ++i) CHECK(logits[i] == expected[i]);
        }
      }
    }
  }
}

TEST_CASE("token ids are checked at the door") {
  const auto model = random_model(tiny_olmoe(), options_for(1, {"reference"}));
  Session session(*model);
  Scheduler scheduler(*model);
  for (const int32_t id : {-1, model->config().vocab, INT32_MAX, INT32_MIN}) {
    const std::vector<int32_t> tokens{1, id};
    CHECK(status_of([&] { scheduler.submit(session, tokens); }) == Status::kInvalidArgument);
  }
  CHECK(status_of([&] { scheduler.submit(session, {}); }) == Status::kInvalidArgument);
  CHECK(!scheduler.step());
  const std::vector<int32_t> good{0, model->config().vocab - 1};
  scheduler.submit(session, good);
  scheduler.run();
  CHECK(session.position() == 2);
}

TEST_CASE("a full context is a clear stop") {
  ModelOptions options = options_for(1, {"reference"});
  options.context = 16;
  const auto model = random_model(tiny_olmoe(), options);
  Scheduler scheduler(*model);
  const auto tokens = random_tokens(97, 17, 1);
  const std::span<const int32_t> all(tokens);
  {
    Session session(*model);
    CHECK(status_of([&] { scheduler.submit(session, all); }) == Status::kContextFull);  // n_ctx + 1
    scheduler.submit(session, all.first(15));
    CHECK(status_of([&] { scheduler.submit(session, all.first(2)); }) == Status::kContextFull);  // queued tokens count
    scheduler.run();
    CHECK(session.room() == 1);
    scheduler.submit(session, all.first(1));  // n_ctx
    scheduler.run();
    CHECK(session.room() == 0);
    CHECK(status_of([&] { scheduler.submit(session, all.first(1)); }) == Status::kContextFull);
  }
  Session session(*model, {.temperature = 0});
  int count = 0;
  const GenerateResult result = generate(scheduler, session, all.first(10), {.max_tokens = -1, .ignore_eos = true},
                                         [&](int32_t) { return ++count < 1000; });
  CHECK(result.reason == StopReason::kContextFull);
  CHECK(count == 7);  // six fit behind the prompt, and the last logits give one more
}

TEST_CASE("a router logit that is not finite fails its own session alone") {
  const Config config = tiny_olmoe();
  for (const std::vector<std::string>& backends : {std::vector<std::string>{"reference"}, std::vector<std::string>{}}) {
    for (const float poison : {NAN, INFINITY, -INFINITY}) {
      ModelSource source = random_source(config);
      reinterpret_cast<float*>(source.store.require("model.embed_tokens.weight").tensor.row(5))[3] = poison;
      const Model model(std::move(source), make_backends(backends, ""), options_for(2, backends));
      Scheduler scheduler(model);
      Session good(model), bad(model), alone(model);
      const std::vector<int32_t> clean{1, 2, 3, 4}, poisoned{1, 2, 5, 4, 6};
      std::vector<float> expected, found;
      scheduler.submit(alone, clean, Want::kAll, [&](int, std::span<const float> row) {
        expected.insert(expected.end(), row.begin(), row.end());
      });
      scheduler.run();
      scheduler.submit(bad, poisoned, Want::kAll);
      scheduler.submit(good, clean, Want::kAll,
                       [&](int, std::span<const float> row) { found.insert(found.end(), row.begin(), row.end()); });
      scheduler.run();
      CHECK(found == expected);
      CHECK(bad.status() == Status::kNumeric);
      CHECK(bad.message().find("layers.0.") != std::string::npos);
      CHECK(bad.message().find("token 5 at position 2") != std::string::npos);
      CHECK(status_of([&] { scheduler.submit(bad, clean); }) == Status::kNumeric);
      bad.rewind(0);
      found.clear();
      scheduler.submit(bad, clean, Want::kAll,
                       [&](int, std::span<const float> row) { found.insert(found.end(), row.begin(), row.end()); });
      scheduler.run();
      CHECK(found == expected);
    }
  }
}

TEST_CASE("threads share a model, each with its own scheduler") {
  const auto model = random_model(tiny_olmoe(), options_for(2));
  const auto tokens = random_tokens(97, 40, 6);
  const auto expected = logits_of(*model, tokens, 3);
  std::vector<std::vector<float>> found(4);
  std::vector<std::thread> threads;
  for (auto& logits : found) threads.emplace_back([&] { logits = logits_of(*model, tokens, 3); });
  for (std::thread& thread : threads) thread.join();
  for (const auto& logits : found) CHECK(logits == expected);
}

TEST_CASE("rewinding gives the same as starting over") {
  const auto model = random_model(tiny_olmoe(), options_for(1));
  const auto tokens = random_tokens(97, 12, 4);
  const auto expected = logits_of(*model, tokens, 12);
  Session session(*model);
  Scheduler scheduler(*model);
  scheduler.submit(session, random_tokens(97, 20, 9));
  scheduler.run();
  CHECK(status_of([&] { session.rewind(21); }) == Status::kInvalidArgument);
  session.rewind(0);
  scheduler.submit(session, tokens);
  scheduler.run();
  CHECK(std::equal(session.logits().begin(), session.logits().end(), expected.end() - 97));
}

TEST_CASE("the same seed draws the same text, another seed another") {
  const auto model = random_model(tiny_olmoe(), options_for(2));
  const auto prompt = random_tokens(97, 5, 4);
  const auto text = [&](uint64_t seed) {
    Scheduler scheduler(*model);
    Session session(*model, {.temperature = 1.5f, .seed = seed});
    std::vector<int32_t> out;
    generate(scheduler, session, prompt, {.max_tokens = 20, .ignore_eos = true}, [&](int32_t id) {
      out.push_back(id);
      return true;
    });
    return out;
  };
  CHECK(text(1) == text(1));
  CHECK(text(1) != text(2));
  CHECK(text(1).size() == 20);
}

TEST_CASE("stops: end of sequence, the callback, the cancel token") {
  Config config = tiny_olmoe();
  const auto plain = random_model(config, options_for(1));
  const auto prompt = random_tokens(97, 5, 4);
  std::vector<int32_t> out;
  Scheduler scheduler(*plain);
  Session session(*plain, {.temperature = 0});
  generate(scheduler, session, prompt, {.max_tokens = 6}, [&](int32_t id) {
    out.push_back(id);
    return true;
  });
  REQUIRE(out.size() == 6);
  config.stop_ids = {out[2]};
  const auto stopping = random_model(config, options_for(1));
  Scheduler second(*stopping);
  Session other(*stopping, {.temperature = 0});
  std::vector<int32_t> until;
  const GenerateResult result = generate(second, other, prompt, {.max_tokens = 6}, [&](int32_t id) {
    until.push_back(id);
    return true;
  });
  CHECK(result.reason == StopReason::kEndOfSequence);
  CHECK(until.size() <= 2);
  other.rewind(0);
  CHECK(generate(second, other, prompt, {}, [](int32_t) { return false; }).reason == StopReason::kCallback);
  CancelToken cancel;
  other.rewind(0);
  int count = 0;
  CHECK(generate(
            second, other, prompt, {.max_tokens = 50, .ignore_eos = true},
            [&](int32_t) {
              if (++count == 3) cancel.cancel();
              return true;
            },
            &cancel)
            .reason == StopReason::kCancelled);
  CHECK(count == 3);
  other.rewind(0);
  CHECK(generate(second, other, prompt, {}, [](int32_t) { return true; }, &cancel).reason == StopReason::kCancelled);
  CHECK(other.position() == 0);
}

TEST_CASE("loading can be cancelled, and options are checked") {
  ModelOptions options = options_for(1);
  options.progress = [](float) { return false; };
  CHECK(status_of([&] { random_model(tiny_olmoe(), options); }) == Status::kCancelled);
  options = options_for(1);
  options.context = -1;
  CHECK(status_of([&] { random_model(tiny_olmoe(), options); }) == Status::kInvalidArgument);
  options = options_for(1);
  options.key_type = DType::kQ8_0;
  CHECK(status_of([&] { random_model(tiny_olmoe(), options); }) == Status::kUnsupported);
  options = options_for(1, {"no-such-backend"});
  CHECK(status_of([&] { random_model(tiny_olmoe(), options); }) == Status::kInvalidArgument);
}
