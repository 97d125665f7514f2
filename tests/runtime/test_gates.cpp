// Gates with capacities in a model: gating groups, pads, telemetry, and that nodrop stays what it was.
#include <doctest/doctest.h>

#include "runtime/gate_telemetry.h"
#include "tests/models/random_model.h"
#include "tests/support/status.h"

using namespace moiety;
using namespace moiety::test;

namespace {

Config moe() { return find_architecture("fairseq_moe")->tiny().front(); }

std::unique_ptr<Model> gated(const char* gate, int64_t max_rows = 512, std::vector<std::string> backends = {}) {
  ModelOptions options;
  options.threads = 2, options.max_rows = max_rows, options.backends = std::move(backends);
  options.activations = ActivationPrecision::kF32;
  parse_gate(gate, options.gate);
  return random_model(moe(), options);
}

// Logits [tokens, V] of several sessions in one gating group, one after the other.
std::vector<float> group_logits(const Model& model, const std::vector<std::vector<int32_t>>& tokens,
                                const Observer& observer = {}) {
  Scheduler scheduler(model);
  if (observer) scheduler.set_observer(observer);
  std::vector<std::unique_ptr<Session>> sessions;
  std::vector<std::vector<float>> rows(tokens.size());
  std::vector<Request> group;
  for (size_t i = 0; i < tokens.size(); ++i) {
    sessions.push_back(std::make_unique<Session>(model));
    group.push_back({sessions.back().get(), tokens[i], Want::kAll,
                     [&rows, i](int, std::span<const float> row) { rows[i].insert(rows[i].end(), row.begin(), row.end()); }});
  }
  scheduler.submit(group);
  scheduler.run();
  std::vector<float> all;
  for (const auto& part : rows) all.insert(all.end(), part.begin(), part.end());
  return all;
}

std::span<const float> row_of(const std::vector<float>& logits, size_t row, size_t vocab) {
  return std::span(logits).subspan(row * vocab, vocab);
}
bool same(std::span<const float> a, std::span<const float> b) { return std::ranges::equal(a, b); }

}  // namespace

TEST_CASE("a capacity makes early tokens depend on later ones and on neighbours, nodrop does not") {
  const std::vector<int32_t> a = random_tokens(97, 20, 1), b = random_tokens(97, 20, 2);
  std::vector<int32_t> longer = a;
  longer.insert(longer.end(), b.begin(), b.end());
  const auto free = gated("nodrop"), tight = gated("frac=0.1");
  const auto of = [](const Model& model, const std::vector<std::vector<int32_t>>& t) { return group_logits(model, t); };
  const size_t first = 20 * 97;
  const auto begins = [&](const std::vector<float>& x, const std::vector<float>& y) {
    return same(std::span(x).first(first), std::span(y).first(first));
  };
  CHECK(begins(of(*free, {a}), of(*free, {longer})));
  CHECK(begins(of(*free, {a}), of(*free, {a, b})));
  CHECK(!begins(of(*tight, {a}), of(*tight, {longer})));
  CHECK(!begins(of(*tight, {a}), of(*tight, {a, b})));
  CHECK(begins(of(*gated("frac=1"), {a}), of(*free, {a})));
}

TEST_CASE("a gating group of several sequences may be longer than a context") {
  ModelOptions options;
  options.threads = 2, options.activations = ActivationPrecision::kF32;
  parse_gate("frac=0.1", options.gate);
  const auto wide = random_model(moe(), options);
  options.context = 20;
  const auto narrow = random_model(moe(), options);
  std::vector<std::vector<int32_t>> tokens;
  for (uint64_t seed : {1, 2, 3}) tokens.push_back(random_tokens(97, 20, seed));
  CHECK(group_logits(*narrow, tokens) == group_logits(*wide, tokens));
  options.max_rows = 59;
  const auto small = random_model(moe(), options);
  CHECK(status_of([&] { group_logits(*small, tokens); }) == Status::kInvalidArgument);
}

TEST_CASE("groups that run in one step do not see each other, and the backends agree") {
  const auto tight = gated("frac=0.2"), exact = gated("frac=0.2", 512, {"reference"});
  const std::vector<int32_t> a = random_tokens(97, 15, 3), b = random_tokens(97, 11, 4);
  Scheduler scheduler(*tight);
  Session one(*tight), two(*tight);
  std::vector<float> first, second;
  const auto into = [](std::vector<float>& to) {
    return [&to](int, std::span<const float> row) { to.insert(to.end(), row.begin(), row.end()); };
  };
  scheduler.submit(one, a, Want::kAll, into(first));
  scheduler.submit(two, b, Want::kAll, into(second));
  CHECK(scheduler.step());
  CHECK(!scheduler.step());
  CHECK(same(first, group_logits(*tight, {a})));
  CHECK(same(second, group_logits(*tight, {b})));
  CHECK(relative_error(first, group_logits(*exact, {a})) < 1e-4);
  // Where only the last logits are wanted, all rows still go through every gate.
  Session last(*tight);
  scheduler.submit(last, a);
  scheduler.run();
  CHECK(same(last.logits(), row_of(first, 14, 97)));
}

TEST_CASE("a group that no step holds is refused, also one of several sessions; nodrop takes it in chunks") {
  const std::vector<int32_t> tokens = random_tokens(97, 9, 5);
  const auto tight = gated("train", 8);
  Scheduler scheduler(*tight);
  Session one(*tight), two(*tight);
  CHECK(status_of([&] { scheduler.submit(one, tokens); }) == Status::kInvalidArgument);
  const Request pair[] = {{&one, std::span(tokens).first(5)}, {&two, std::span(tokens).first(4)}};
  CHECK(status_of([&] { scheduler.submit(pair); }) == Status::kInvalidArgument);
  CHECK(!scheduler.step());
  scheduler.submit(one, std::span(tokens).first(8));
  scheduler.submit(two, std::span(tokens).first(1));  // waits for its turn
  scheduler.submit(one, std::span(tokens).first(2));
  scheduler.run();
  CHECK(one.position() == 10);
  CHECK(two.position() == 1);
  const auto free = gated("nodrop", 8);
  CHECK(same(logits_of(*free, tokens, 9), group_logits(*gated("nodrop"), {tokens})));
}

TEST_CASE("a pad changes no logits of the tokens around it, and leaves nothing in the session") {
  const auto model = gated("nodrop"), exact = gated("nodrop", 512, {"reference"});
  const std::vector<int32_t> plain{5, 6, 7, 8, 9}, padded{5, 6, 1, 7, 8, 9, 1, 1};
  const auto want = group_logits(*model, {plain}), got = group_logits(*model, {padded});
  size_t token = 0;
  for (size_t row = 0; row < padded.size(); ++row)
    if (padded[row] != 1) CHECK(same(row_of(got, row, 97), row_of(want, token++, 97)));
  CHECK(relative_error(got, group_logits(*exact, {padded})) < 1e-4);
  CHECK(same(row_of(got, 6, 97), row_of(got, 7, 97)));   // pads at one place are alike
  CHECK(!same(row_of(got, 2, 97), row_of(got, 6, 97)));
  Scheduler scheduler(*model);
  Session session(*model, {}, 5);
  scheduler.submit(session, padded);
  scheduler.run();
  CHECK(session.position() == 5);
  CHECK(std::ranges::equal(session.tokens(), plain));
  CHECK(same(session.logits(), row_of(got, 7, 97)));
  Session fresh(*model);
  CHECK(status_of([&] { scheduler.submit(fresh, std::vector<int32_t>{1, 5}); }) == Status::kInvalidArgument);
}

TEST_CASE("sampling and chance are the same for the same seed and session, and follow no chunks") {
  const auto drawn = [](SecondExpert second, uint64_t seed, uint64_t number, size_t chunk) {
    ModelOptions options;
    options.activations = ActivationPrecision::kF32, options.threads = 1;
    options.gate.second = second, options.gate.seed = seed;
    const auto model = random_model(moe(), options);
    Session session(*model);
    session.set_number(number);
    Scheduler scheduler(*model);
    std::vector<float> all;
    const auto tokens = random_tokens(97, 24, 6);
    for (size_t at = 0; at < 24; at += chunk) {
      scheduler.submit(session, std::span(tokens).subspan(at, chunk), Want::kAll,
                       [&](int, std::span<const float> row) { all.insert(all.end(), row.begin(), row.end()); });
      scheduler.run();
    }
    return all;
  };
  for (const SecondExpert second : {SecondExpert::kRandom, SecondExpert::kSampling}) {
    const auto base = drawn(second, 1, 0, 24);
    CHECK(base == drawn(second, 1, 0, 1));
    CHECK(base == drawn(second, 1, 0, 8));
    CHECK(base != drawn(second, 2, 0, 24));
    CHECK(base != drawn(second, 1, 1, 24));
    CHECK(base != drawn(SecondExpert::kAll, 1, 0, 24));
  }
}

TEST_CASE("telemetry counts drops as they were, and 0 overflow without a capacity") {
  const std::vector<std::vector<int32_t>> tokens{random_tokens(97, 30, 7)};
  for (const char* gate : {"nodrop", "frac=0.1"}) {
    const auto model = gated(gate);
    int traces = 0;
    size_t dropped = 0;
    GateTelemetry telemetry([&](const GateTrace& t) {
      ++traces;
      CHECK(t.rows == 30);
      CHECK(t.capacity == (std::string(gate) == "nodrop" ? INT64_MAX : 3));
      std::vector<int> taken(6);
      for (size_t i = 0; i < t.expert.size(); ++i) {
        CHECK((t.kept[i] != 0) == (t.location[i] < t.capacity));
        CHECK((t.weight[i] > 0) == (t.kept[i] != 0));
        dropped += !t.kept[i];
        taken[static_cast<size_t>(t.expert[i])] += t.kept[i];
      }
      CHECK(*std::ranges::max_element(taken) <= t.capacity);
    });
    const Batch* batch = nullptr;
    Scheduler scheduler(*model);
    batch = &scheduler.batch();
    scheduler.set_observer(telemetry.observer(*batch));
    Session session(*model);
    scheduler.submit(session, tokens[0], Want::kAll);
    scheduler.run();
    CHECK(traces == 2);
    CHECK(telemetry.groups() == 1);
    const GateStatistics s = telemetry.mean();
    CHECK(s.overflow[0] + s.overflow[1] == doctest::Approx(100.0 * static_cast<double>(dropped) / 60));
    CHECK((dropped > 0) == (std::string(gate) != "nodrop"));
    CHECK(s.gate_loss > 1.5);  // two gates, each about 1 when balanced
    CHECK(s.entropy > 0);
    CHECK(s.balance_top[0] >= s.balance_bottom[0]);
  }
}

TEST_CASE("gate options: words, and models that have no such gates") {
  GateOptions o;
  for (const char* bad : {"", "drop", "frac=", "frac=0", "frac=-1", "frac=nan", "frac=inf", "frac=0.5x", "Train"})
    CHECK(status_of([&] { parse_gate(bad, o); }) == Status::kInvalidArgument);
  parse_gate("frac=0.05", o);
  CHECK(o.capacity == Capacity::kFraction);
  CHECK(o.fraction == 0.05);
  parse_gate("frac=1", o);
  CHECK(o.capacity == Capacity::kNone);
  CHECK(status_of([&] { parse_second_expert("some", o); }) == Status::kInvalidArgument);
  CHECK(status_of([&] { parse_normalise("later", o); }) == Status::kInvalidArgument);
  ModelOptions train;
  parse_gate("train", train.gate);
  CHECK(status_of([&] { random_model(find_architecture("olmoe")->tiny().front(), train); }) == Status::kUnsupported);
  CHECK_NOTHROW(random_model(find_architecture("llama")->tiny().front(), train));
  const Config dense = find_architecture("fairseq_moe")->tiny().back();
  CHECK(dense.experts == 0);
  CHECK(!random_model(dense, train)->whole_groups());
}
