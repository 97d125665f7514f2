// The C API from many threads at once, as moiety.h allows it: what ThreadSanitizer looks at, and every answer compared
// with that of a single thread.
#include <doctest/doctest.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "moiety.h"

namespace {

const std::string kRoot = MOIETY_SOURCE_DIR;
constexpr int kThreads = 4;

moiety_model* load(const char* folder, const char* pool, int32_t batch = 512) {
  moiety_model_params params;
  moiety_model_params_defaults(&params, sizeof params);
  params.threads = 3, params.thread_pool = pool, params.context = 64, params.ubatch = batch;
  moiety_model* model = nullptr;
  moiety_error error;
  REQUIRE_MESSAGE(moiety_model_load((kRoot + folder).c_str(), &params, &model, &error) == MOIETY_OK, error.message);
  return model;
}

moiety_session* session_of(moiety_model* model, uint64_t seed) {
  moiety_sampling sampling;
  moiety_sampling_defaults(&sampling, sizeof sampling);
  sampling.seed = seed;
  moiety_session* session = nullptr;
  return moiety_session_create(model, &sampling, 0, &session, nullptr) == MOIETY_OK ? session : nullptr;
}

bool collect(int32_t id, void* ids) {
  static_cast<std::vector<int32_t>*>(ids)->push_back(id);
  return true;
}

// Ids that a session of its own draws; empty after an error. No assertion: doctest's are for one thread.
std::vector<int32_t> generate(moiety_model* model, uint64_t seed, const moiety_cancel* cancel = nullptr) {
  const std::vector<int32_t> prompt{1, 2, 3, 4, 5, 6, 7};
  std::vector<int32_t> ids;
  moiety_session* session = session_of(model, seed);
  moiety_generate_params params;
  moiety_generate_params_defaults(&params, sizeof params);
  params.max_tokens = 12, params.ignore_eos = true, params.on_token = collect, params.user_data = &ids,
  params.cancel = cancel;
  if (moiety_generate(session, prompt.data(), prompt.size(), &params, nullptr, nullptr) != MOIETY_OK) ids.clear();
  moiety_session_free(session);
  return ids;
}

template <class F>
void in_threads(const F& body) {
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) threads.emplace_back([&body, i] { body(i); });
  for (std::thread& thread : threads) thread.join();
}

}  // namespace

TEST_CASE("sessions of one model run in many threads and draw what they draw alone") {
  for (const char* pool : {"team", "tbb", "openmp", "serial"}) {
    CAPTURE(std::string(pool));
    moiety_model* model = load("/tests/golden/olmoe-f32", pool);
    std::vector<std::vector<int32_t>> expected, found(kThreads);
    for (int i = 0; i < kThreads; ++i) expected.push_back(generate(model, static_cast<uint64_t>(i)));
    REQUIRE(expected[0].size() == 12);
    std::atomic<bool> asked = true;
    in_threads([&](int i) {
      found[static_cast<size_t>(i)] = generate(model, static_cast<uint64_t>(i));
      moiety_model_info info{};
      info.struct_size = sizeof info;
      size_t length = 0;
      if (moiety_model_get_info(model, &info, nullptr) != MOIETY_OK || info.threads < 1 ||
          moiety_model_explain(model, 4, 8, nullptr, 0, &length, nullptr) != MOIETY_OK ||
          moiety_model_text(model, MOIETY_TEXT_CONFIGURATION, nullptr, 0, &length, nullptr) != MOIETY_OK) {
        asked = false;
      }
    });
    CHECK(found == expected);
    CHECK(asked);
    moiety_model_free(model);
  }
}

TEST_CASE("one cancel token stops every thread that has it, and nobody else") {
  moiety_model* model = load("/tests/golden/olmoe-f32", "tbb", 1);
  const std::vector<int32_t> expected = generate(model, 1);
  moiety_cancel* cancel = nullptr;
  REQUIRE(moiety_cancel_create(&cancel, nullptr) == MOIETY_OK);
  std::vector<std::vector<int32_t>> found(kThreads);
  std::thread canceller([&] { moiety_cancel_set(cancel); });
  in_threads([&](int i) { found[static_cast<size_t>(i)] = generate(model, 1, i % 2 ? cancel : nullptr); });
  canceller.join();
  for (size_t i = 0; i < found.size(); ++i) {
    CHECK(found[i].size() <= expected.size());
    CHECK(std::equal(found[i].begin(), found[i].end(), expected.begin()));
    if (i % 2 == 0) CHECK(found[i] == expected);
  }
  CHECK(generate(model, 1, cancel).empty());
  moiety_cancel_free(cancel), moiety_model_free(model);
}

TEST_CASE("models are loaded, planned and used in many threads") {
  const std::string folder = "/tests/golden/olmoe-q4_0";
  std::vector<std::vector<int32_t>> found(kThreads);
  std::vector<moiety_model*> models;
  for (int i = 0; i < kThreads; ++i) models.push_back(nullptr);
  in_threads([&](int i) {
    moiety_model*& model = models[static_cast<size_t>(i)];
    if (moiety_model_load((kRoot + folder).c_str(), nullptr, &model, nullptr) == MOIETY_OK) {
      found[static_cast<size_t>(i)] = generate(model, 9);
    }
    moiety_model_free(model);
  });
  REQUIRE(!found[0].empty());
  for (const auto& ids : found) CHECK(ids == found[0]);
}

TEST_CASE("a tokenizer serves many threads and outlives its model") {
  moiety_model* model = load("/models/stories-12m", "serial");
  moiety_tokenizer* tokenizer = nullptr;
  REQUIRE(moiety_model_tokenizer(model, &tokenizer, nullptr) == MOIETY_OK);
  moiety_model_free(model);
  const std::string text = "Once upon a time, there was a young boy named Kurt. Café 12 + 7 =";
  std::atomic<int> same = 0;
  in_threads([&](int) {
    std::vector<int32_t> ids(200);
    std::string back(400, 0);
    size_t count = 0, length = 0;
    if (moiety_tokenize(tokenizer, text.data(), text.size(), false, false, ids.data(), ids.size(), &count, nullptr) !=
        MOIETY_OK)
      return;
    if (moiety_detokenize(tokenizer, ids.data(), count, true, back.data(), back.size(), &length, nullptr) != MOIETY_OK)
      return;
    same += back.substr(0, length) == text;
  });
  CHECK(same == kThreads);
  moiety_tokenizer_free(tokenizer);
}

TEST_CASE("a callback may use the model, but not the session that runs") {
  moiety_model* model = load("/tests/golden/olmoe-f32", "tbb");
  struct Use {
    moiety_model* model;
    moiety_session* session;
    size_t drawn;
    moiety_status own;
  } use{model, session_of(model, 1), 0, MOIETY_OK};
  const int32_t tokens[] = {1, 2, 3};
  const auto on_logits = [](int32_t, const float*, size_t, void* data) {
    auto& u = *static_cast<Use*>(data);
    u.drawn = generate(u.model, 2).size();
    const int32_t token = 1;
    const moiety_eval_request again{u.session, &token, 1, MOIETY_WANT_LAST, nullptr, nullptr};
    u.own = moiety_eval(&again, 1, nullptr, nullptr);
  };
  const moiety_eval_request request{use.session, tokens, 3, MOIETY_WANT_LAST, on_logits, &use};
  CHECK(moiety_eval(&request, 1, nullptr, nullptr) == MOIETY_OK);
  CHECK(use.drawn == 12);
  CHECK(use.own == MOIETY_INVALID_ARGUMENT);
  CHECK(moiety_session_position(use.session) == 3);
  moiety_session_free(use.session), moiety_model_free(model);
}
