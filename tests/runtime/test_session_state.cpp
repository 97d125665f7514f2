// A session in a file: it goes on with the same bits, and nothing that a file can say does harm.
#include <doctest/doctest.h>

#include "core/hash.h"
#include "graph/fingerprint.h"
#include "tests/runtime/model_files.h"
#include "tests/support/status.h"

using namespace moiety;
using namespace moiety::test;

namespace {

constexpr size_t kHeader = 48;

Config tiny(const char* architecture = "olmoe") { return find_architecture(architecture)->tiny().front(); }

void feed(Session& session, std::span<const int32_t> tokens) {
  Scheduler scheduler(session.model());
  scheduler.submit(session, tokens);
  scheduler.run();
}

std::vector<float> logits_after(Session& session, std::span<const int32_t> tokens) {
  feed(session, tokens);
  return {session.logits().begin(), session.logits().end()};
}

std::string slurp(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// The pieces of the file in its order, as save() hashes them; a forged file carries the right hash.
std::string forged(std::string bytes, const Model& model, size_t tokens, size_t logits) {
  const StateShape& state = model.graph().state;
  const size_t key = dtype_bytes(model.plan_options().key_type, state.head_dim) * tokens,
               value = dtype_bytes(model.plan_options().value_type, state.head_dim) * tokens,
               runs = static_cast<size_t>(state.layers) * static_cast<size_t>(state.kv_heads);
  std::vector<size_t> pieces{kHeader, 4 * tokens, 4 * logits};
  pieces.insert(pieces.end(), runs, key), pieces.insert(pieces.end(), runs, value);
  Hash hash;
  std::string_view rest = bytes;
  for (size_t piece : pieces) hash.add(rest.substr(0, piece)), rest.remove_prefix(piece);
  REQUIRE(rest.size() == 8);
  const uint64_t value_of_hash = hash.value();
  std::memcpy(bytes.data() + bytes.size() - 8, &value_of_hash, 8);
  return bytes;
}

}  // namespace

TEST_CASE("a session goes on from a file with the same bits") {
  const TemporaryFolder folder;
  const auto path = folder.path() / "state";
  for (DType type : {DType::kF16, DType::kF32}) {
    ModelOptions options;
    options.threads = 2, options.key_type = type, options.value_type = DType::kF16;
    const auto model = random_model(tiny(), options);
    const auto tokens = random_tokens(model->config().vocab, 12, 1);
    const std::span<const int32_t> first(tokens.data(), 7), rest(tokens.data() + 7, 5);
    Session written(*model);
    feed(written, first);
    written.save(path);
    const auto expected = logits_after(written, rest);

    options.threads = 1;  // another process, another number of threads, another capacity
    const auto again = random_model(tiny(), options);
    CHECK(fingerprint(again->graph()) == fingerprint(model->graph()));
    Session read(*again, {}, 13);
    feed(read, std::span(tokens).last(3));  // what it held before is forgotten
    read.load(path);
    REQUIRE(read.position() == 7);
    CHECK(std::ranges::equal(read.tokens(), first));
    CHECK(!read.logits().empty());
    CHECK(logits_after(read, rest) == expected);
  }
}

TEST_CASE("an empty session, and one that was rewound, are saved as they are") {
  const TemporaryFolder folder;
  const auto model = random_model(tiny());
  Session session(*model);
  session.save(folder.path() / "empty");
  feed(session, random_tokens(model->config().vocab, 5, 2));
  session.rewind(3);
  session.save(folder.path() / "rewound");
  Session read(*model);
  read.load(folder.path() / "rewound");
  CHECK(read.position() == 3);
  CHECK(read.logits().empty());
  read.load(folder.path() / "empty");
  CHECK(read.position() == 0);
}

TEST_CASE("a session of another model, cache or capacity is refused by name") {
  const TemporaryFolder folder;
  const auto path = folder.path() / "state";
  const auto model = random_model(tiny());
  Session session(*model);
  const auto tokens = random_tokens(model->config().vocab, 6, 3);
  feed(session, tokens);
  session.save(path);

  const auto refusal = [&](const Model& other, int capacity = 0) -> std::pair<Status, std::string> {
    Session read(other, {}, capacity);
    try {
      read.load(path);
    } catch (const Error& error) {
      CHECK(read.position() == 0);
      return {error.status(), error.what()};
    }
    return {Status::kOk, ""};
  };
  const auto expect = [&](const Model& other, Status status, const char* text, int capacity = 0) {
    const auto [found, message] = refusal(other, capacity);
    CHECK(found == status);
    CHECK_MESSAGE(message.find(text) != std::string::npos, message);
  };
  expect(*model, Status::kContextFull, "state @0xc: 6 tokens", 5);
  CHECK(refusal(*model, 6).first == Status::kOk);
  RandomOptions one_value_differs;
  one_value_differs.seed = 2;
  expect(*random_model(tiny(), {}, one_value_differs), Status::kInvalidArgument, "state @0x28: model hash");
  Config eps = tiny();
  eps.eps *= 2;  // the same weights, computed otherwise
  expect(*random_model(eps), Status::kInvalidArgument, "model hash");
  Config rope = tiny();
  rope.rope.theta *= 2;
  expect(*random_model(rope), Status::kInvalidArgument, "model hash");
  expect(*random_model(tiny("mixtral")), Status::kInvalidArgument, "model hash");
  ModelOptions keys;
  keys.key_type = DType::kF32;
  expect(*random_model(tiny(), keys), Status::kInvalidArgument, "@0x14: bytes of a key is 2");
}

TEST_CASE("a broken or forged file is an error, and the session stays as it was") {
  const TemporaryFolder folder;
  const auto path = folder.path() / "state", broken = folder.path() / "broken";
  const auto model = random_model(tiny());
  Session session(*model), victim(*model);
  const auto tokens = random_tokens(model->config().vocab, 4, 4);
  feed(session, tokens);
  session.save(path);
  feed(victim, std::span(tokens).first(2));
  const std::string good = slurp(path);
  const size_t vocab = static_cast<size_t>(model->config().vocab);
  REQUIRE(forged(good, *model, 4, vocab) == good);
  const auto status_with = [&](const std::string& bytes) {
    write_text(broken, bytes);
    const Status status = status_of([&] { victim.load(broken); });
    if (status != Status::kOk) REQUIRE(victim.position() == 2);
    return status;
  };
  for (size_t size = 0; size < good.size(); size += size < 200 ? 1 : 37)
    CHECK(status_with(good.substr(0, size)) != Status::kOk);
  CHECK(status_with(good + "x") == Status::kFormat);
  for (size_t bit = 0; bit < kHeader * 8; ++bit) {  // with the right hash at the end
    std::string bytes = good;
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << (bit % 8)));
    CHECK(status_with(forged(bytes, *model, 4, vocab)) != Status::kOk);
  }
  for (size_t field = 8; field < kHeader; field += 4) {
    for (uint32_t value : {0u, 1u, 0x7fffffffu, 0x80000000u, 0xfffffffeu, 0xffffffffu}) {
      std::string bytes = good;
      if (std::memcmp(bytes.data() + field, &value, 4) == 0) continue;
      std::memcpy(bytes.data() + field, &value, 4);
      CHECK(status_with(forged(bytes, *model, 4, vocab)) != Status::kOk);
    }
  }
  for (size_t at = kHeader; at < good.size(); at += 61) {  // damage anywhere
    std::string bytes = good;
    bytes[at] = static_cast<char>(bytes[at] ^ 4);
    CHECK(status_with(bytes) == Status::kFormat);
  }
  for (int32_t id : {-1, model->config().vocab, INT32_MAX, INT32_MIN}) {
    std::string bytes = good;
    std::memcpy(bytes.data() + kHeader + 4, &id, 4);
    CHECK(status_with(forged(bytes, *model, 4, vocab)) == Status::kFormat);
  }

  // A cache full of NaN that claims to be whole is taken; the session then fails alone and without harm.
  std::string poisoned = good;
  std::fill(poisoned.begin() + static_cast<std::ptrdiff_t>(kHeader + 4 * (4 + vocab)), poisoned.end() - 8, '\xff');
  CHECK(status_with(forged(poisoned, *model, 4, vocab)) == Status::kOk);
  CHECK(status_of([&] { feed(victim, std::span(tokens).first(1)), (void)victim.sample(); }) == Status::kNumeric);
  victim.rewind(0);
  CHECK(logits_after(victim, tokens) == std::vector<float>(session.logits().begin(), session.logits().end()));
}
