// Routing: every SIMD level and the reference itself.
#include <doctest/doctest.h>

#include "backends/reference/reference.h"
#include "support/simd_backends.h"
#include "support/op_runner.h"

using namespace moiety;
using namespace moiety::test;

namespace {

template <class Body>
void on_every_backend(const Body& body) {
  const auto serial = make_threads("serial", 1), pool = make_threads("tbb", 2);
  const ReferenceBackend reference;
  body(OpRunner(reference, *serial));
  for (const auto& level : simd_backends()) {
    CAPTURE(level->target());
    body(OpRunner(*level, *serial));
    body(OpRunner(*level, *pool));
  }
}

std::string same_choices(const RoutingResult& got, const RoutingResult& want) {
  if (got.offsets != want.offsets) return "other offsets";
  if (got.row != want.row) return "other rows";
  if (got.slot != want.slot) return "other slots";
  return compare(got.weight, want.weight, Gate{10 * 0x1p-23, 1e-7});
}

}  // namespace

TEST_CASE("route agrees with the reference on every built axis") {
  const auto serial = make_threads("serial", 1);
  const ReferenceBackend reference;
  for (const int experts : {1, 3, 8, 16, 60, 128})
    for (const Score score : {Score::kSoftmax, Score::kSigmoid, Score::kSoftmaxAfterTopK, Score::kRaw})
      for (const bool biased : {false, true})
        for (const int top_k : {1, std::min(8, experts), experts}) {
          CAPTURE(experts); CAPTURE(static_cast<int>(score)); CAPTURE(top_k); CAPTURE(biased);
          const OwnedTensor bias = make_vector(experts, 5, 0.1f);
          Route op{.experts = experts, .top_k = top_k, .score = score, .weight_scale = 1.5f};
          if (biased) op.selection_bias = bias.tensor;
          if (score == Score::kSigmoid) op.renormalise = Renormalise::kBeforeDrop;
          const Matrix logits = random_matrix(130, experts, 6, 2);
          Batch batch = plain_batch(130);
          const RoutingResult want = OpRunner(reference, *serial).route(op, logits, batch);
          on_every_backend([&](OpRunner runner) { CHECK(same_choices(runner.route(op, logits, batch), want) == ""); });
          CHECK(std::all_of(batch.status.begin(), batch.status.end(), [](RowStatus s) { return s.failed_node == -1; }));
        }
}

TEST_CASE("grouped and dense routes agree with the reference") {
  const auto serial = make_threads("serial", 1);
  const ReferenceBackend reference;
  const OwnedTensor bias = make_vector(32, 7, 0.1f);
  const Route grouped{.experts = 32, .top_k = 4, .score = Score::kSigmoid, .selection = Selection::kGroupedTopK,
                      .renormalise = Renormalise::kBeforeDrop, .weight_scale = 2.5f, .selection_bias = bias.tensor,
                      .groups = 8, .top_groups = 3, .group_best = 2};
  Route plain = grouped;
  plain.score = Score::kSoftmax, plain.selection_bias = {}, plain.group_best = 1;
  const Route dense{.experts = 32, .top_k = 32, .selection = Selection::kDense};
  const Matrix logits = random_matrix(50, 32, 8, 2);
  for (const Route& op : {grouped, plain, dense}) {
    Batch batch = plain_batch(50);
    const RoutingResult want = OpRunner(reference, *serial).route(op, logits, batch);
    CHECK(want.row.size() == static_cast<size_t>(50 * op.top_k));
    on_every_backend([&](OpRunner runner) { CHECK(same_choices(runner.route(op, logits, batch), want) == ""); });
  }
}

TEST_CASE("capacities, orders, policies and pads agree with the reference") {
  const auto serial = make_threads("serial", 1);
  const ReferenceBackend reference;
  int dropped = 0;
  for (const Capacity capacity : {Capacity::kNone, Capacity::kTwiceMean, Capacity::kFraction})
    for (const Drop drop : {Drop::kByPosition, Drop::kBatchPrioritised})
      for (const Renormalise when : {Renormalise::kBeforeDrop, Renormalise::kAfterDrop})
        for (const auto& [noise, keep] : {std::pair{Noise::kNone, Keep::kAll}, {Noise::kGumbel, Keep::kAll}, {Noise::kNone, Keep::kByChance}}) {
          Route op{.experts = 8, .top_k = 2, .renormalise = when};
          op.noise = noise, op.keep = keep, op.capacity = capacity, op.seed = 3;
          op.drop = capacity == Capacity::kNone ? Drop::kNone : drop;
          op.capacity_factor = capacity == Capacity::kFraction ? 0.1 : 0;
          op.pads_choose = when == Renormalise::kBeforeDrop;
          const Matrix logits = random_matrix(130, 8, 9, 2);
          Batch batch = plain_batch(130);
          batch.groups = {{0, 40}, {40, 1}, {41, 89}};
          for (const size_t pad : {3u, 50u, 51u}) batch.positions[pad] = kPadPosition;
          const RoutingResult want = OpRunner(reference, *serial).route(op, logits, batch);
          dropped += 260 - static_cast<int>(want.row.size());
          on_every_backend([&](OpRunner runner) { CHECK(same_choices(runner.route(op, logits, batch), want) == ""); });
        }
  CHECK(dropped > 1000);
}

TEST_CASE("softmax weights of all experts add up to one, by hand for two") {
  const Route op{.experts = 2, .top_k = 2};
  on_every_backend([&](OpRunner runner) {
    Batch batch = plain_batch(1);
    const RoutingResult got = runner.route(op, {1, 2, {0.0f, std::log(3.0f)}}, batch);
    CHECK(got.offsets == std::vector<int32_t>{0, 1, 2});
    CHECK(got.slot == std::vector<int32_t>{1, 0});
    CHECK(got.weight[0] == doctest::Approx(0.25));
    CHECK(got.weight[1] == doctest::Approx(0.75));
  });
}

TEST_CASE("ties go to the lower expert") {
  const Route op{.experts = 40, .top_k = 3};
  on_every_backend([&](OpRunner runner) {
    Batch batch = plain_batch(1);
    Matrix logits{1, 40, std::vector<float>(40, 1.25f)};
    const RoutingResult got = runner.route(op, logits, batch);
    for (int e = 0; e <= 40; ++e) CHECK(got.offsets[static_cast<size_t>(e)] == std::min(e, 3));
    CHECK(got.slot == std::vector<int32_t>{0, 1, 2});
  });
}

TEST_CASE("a non-finite logit fails its row alone") {
  const Route op{.experts = 19, .top_k = 4};
  const Matrix clean = random_matrix(21, 19, 9);
  for (const float bad : {NAN, INFINITY, -INFINITY})
    for (const int64_t column : {0, 7, 18})
      on_every_backend([&](OpRunner runner) {
        Batch before = plain_batch(21), after = plain_batch(21);
        after.status[12].failed_node = 3;  // an earlier node's verdict stays
        const RoutingResult want = runner.route(op, clean, before);
        Matrix broken = clean;
        broken.row(5)[column] = broken.row(12)[column] = bad;
        const RoutingResult got = runner.route(op, broken, after);
        size_t kept = 0;
        for (size_t i = 0; i < want.row.size(); ++i) {
          if (want.row[i] == 5 || want.row[i] == 12) continue;
          REQUIRE(kept < got.row.size());
          CHECK(got.row[kept] == want.row[i]);
          CHECK(got.slot[kept] == want.slot[i]);
          CHECK(got.weight[kept] == want.weight[i]);
          ++kept;
        }
        CHECK(kept == got.row.size());
        CHECK(got.offsets.back() == static_cast<int32_t>(kept));
        for (size_t i = 0; i < 21; ++i) CHECK(after.status[i].failed_node == (i == 5 ? 7 : i == 12 ? 3 : -1));
      });
}

TEST_CASE("a route of wanted rows tells the token's row") {
  const Route op{.experts = 4, .top_k = 1};
  on_every_backend([&](OpRunner runner) {
    Batch batch = plain_batch(6);
    batch.wanted = {2, 5};
    runner.extent = Extent::kWanted;
    const RoutingResult got = runner.route(op, {2, 4, {0, 1, 2, 3, 0, NAN, 0, 0}}, batch);
    CHECK(got.row == std::vector<int32_t>{0});
    CHECK(batch.status[5].failed_node == 7);
    CHECK(batch.status[2].failed_node == -1);
  });
}

TEST_CASE("routes that are not built are refused") {
  on_every_backend([&](OpRunner runner) {
    Batch batch = plain_batch(1);
    const Matrix logits{1, 4, {1, 2, 3, 4}};
    CHECK_THROWS(runner.route({.experts = 4, .top_k = 1, .noise = Noise::kJitter}, logits, batch));
    CHECK_THROWS(runner.route({.experts = 4, .top_k = 1, .selection = Selection::kThreshold}, logits, batch));
    CHECK_THROWS(runner.route({.experts = 4, .top_k = 1, .capacity = Capacity::kTwiceMean}, logits, batch));
    CHECK_THROWS(runner.route({.experts = 5, .top_k = 1}, logits, batch));
  });
}
