#include "graph/routing.h"

#include <cmath>
#include <vector>

#include <doctest/doctest.h>

using namespace moiety;

namespace {

struct Chosen {
  std::vector<int32_t> ids;
  std::vector<float> weights;
};

// Routes one row whose scores are given (the logits themselves if none are).
Chosen choose(const Route& route, const std::vector<float>& logits, std::vector<float> scores = {},
              const std::vector<float>& bias = {}) {
  if (scores.empty()) scores = logits;
  std::vector<float> keys(logits.size());
  const Batch batch;
  const auto k = static_cast<size_t>(route_choices(route));
  Chosen chosen{std::vector<int32_t>(k, -7), std::vector<float>(k, NAN)};
  choose_experts(route, bias.empty() ? nullptr : bias.data(), logits.data(), scores.data(), RowRandom(route, batch, 0), keys.data(),
                 chosen.ids.data(), chosen.weights.data());
  return chosen;
}

using Ids = std::vector<int32_t>;

}  // namespace

TEST_CASE("top-k takes the best, best first, ties to the lower expert") {
  const Route route{.experts = 6, .top_k = 3, .score = Score::kRaw};
  CHECK(choose(route, {1, 5, 3, 5, 3, 3}).ids == Ids{1, 3, 2});
  CHECK(choose(route, {2, 2, 2, 2, 2, 2}).ids == Ids{0, 1, 2});
  CHECK(choose(route, {-3, -2, -1, 0, 1, 2}).ids == Ids{5, 4, 3});
  CHECK(choose(route, {0, 0, 0, 0, 0, 1}).ids == Ids{5, 0, 1});
  const Route all{.experts = 4, .top_k = 4, .score = Score::kRaw};
  CHECK(choose(all, {1, 4, 2, 3}).ids == Ids{1, 3, 2, 0});
  const Route dense{.experts = 3, .top_k = 3, .score = Score::kRaw, .selection = Selection::kDense};
  CHECK(choose(dense, {1, 3, 2}).ids == Ids{1, 2, 0});
}

TEST_CASE("weights: raw, renormalised, softmax after top-k, scaled") {
  Route route{.experts = 3, .top_k = 2};
  const std::vector<float> logits{1, 2, 3}, scores{0.1f, 0.2f, 0.6f};
  CHECK(choose(route, logits, scores).weights == std::vector<float>{0.6f, 0.2f});
  route.renormalise = Renormalise::kBeforeDrop;
  CHECK(choose(route, logits, scores).weights[0] == doctest::Approx(0.75));
  route.weight_scale = 2.5f;
  CHECK(choose(route, logits, scores).weights[1] == doctest::Approx(0.625));
  const Route after{.experts = 3, .top_k = 2, .score = Score::kSoftmaxAfterTopK};
  CHECK(choose(after, logits).weights[0] == doctest::Approx(1 / (1 + std::exp(-1.0))));
}

TEST_CASE("a selection bias chooses and does not weigh") {
  const Route route{.experts = 3, .top_k = 1, .score = Score::kSigmoid};
  const Chosen chosen = choose(route, {1, 2, 3}, {0.7f, 0.8f, 0.9f}, {1, 0, 0});
  CHECK(chosen.ids == Ids{0});
  CHECK(chosen.weights[0] == 0.7f);
}

TEST_CASE("saturated scores are still compared by logit") {
  const Route route{.experts = 3, .top_k = 2, .score = Score::kSigmoid};
  CHECK(choose(route, {40, 50, 60}, {1, 1, 1}).ids == Ids{2, 1});
}

TEST_CASE("grouped top-k opens the best groups only") {
  Route route{.experts = 6, .top_k = 2, .score = Score::kRaw, .selection = Selection::kGroupedTopK,
              .groups = 3, .top_groups = 1};
  CHECK(choose(route, {5, 0, 4, 4, 3, 3}).ids == Ids{0, 1});
  route.group_best = 2;  // sums: 5, 8, 6
  CHECK(choose(route, {5, 0, 4, 4, 3, 3}).ids == Ids{2, 3});
  route.top_groups = 2;
  CHECK(choose(route, {5, 0, 4, 4, 3, 3}).ids == Ids{2, 3});
  CHECK(choose(route, {2, 2, 2, 2, 2, 2}).ids == Ids{0, 1});  // equal groups: the lower
}

TEST_CASE("what is not built is refused with a reason") {
  Route route{.experts = 4, .top_k = 2};
  CHECK(route_refusal(route) == "");
  const auto refused = [&](auto change) {
    Route other = route;
    change(other);
    return !route_refusal(other).empty();
  };
  CHECK(refused([](Route& r) { r.noise = Noise::kJitter; }));
  CHECK(refused([](Route& r) { r.drop = Drop::kByPosition; }));
  CHECK(refused([](Route& r) { r.drop = Drop::kRandom, r.capacity = Capacity::kTwiceMean; }));
  CHECK(refused([](Route& r) { r.capacity = Capacity::kTwiceMean; }));
  CHECK(refused([](Route& r) { r.drop = Drop::kByPosition, r.capacity = Capacity::kFraction; }));
  CHECK(refused([](Route& r) { r.keep = Keep::kByChance, r.top_k = 3; }));
  CHECK(refused([](Route& r) { r.noise = Noise::kGumbel, r.score = Score::kSigmoid; }));
  CHECK(refused([](Route& r) { r.capacity = Capacity::kFactor; }));
  CHECK(refused([](Route& r) { r.selection = Selection::kThreshold; }));
  CHECK(refused([](Route& r) { r.selection = Selection::kStaticId; }));
  CHECK(refused([](Route& r) { r.selection = Selection::kDense; }));
  CHECK(refused([](Route& r) { r.top_k = 5; }));
  CHECK(refused([](Route& r) { r.top_k = 0; }));
  CHECK(refused([](Route& r) { r.selection = Selection::kGroupedTopK, r.groups = 3; }));
}

TEST_CASE("all_finite finds NaN and both infinities anywhere") {
  std::vector<float> logits(33, 1e38f);
  CHECK(all_finite(logits.data(), 33));
  for (const float bad : {NAN, INFINITY, -INFINITY})
    for (const size_t at : {size_t{0}, size_t{17}, size_t{32}}) {
      std::vector<float> broken = logits;
      broken[at] = bad;
      CHECK_FALSE(all_finite(broken.data(), 33));
    }
}

TEST_CASE("sort_by_expert groups rows, ascending, without the absent") {
  const std::vector<int32_t> ids{2, 0, -1, -1, 0, 2, 3, 2};  // 4 rows of 2
  const std::vector<float> weights{0.5f, 0.25f, 9, 9, 1, 2, 3, 4};
  Buffer memory(Routing::bytes(4, 5, 2));
  const Routing out = Routing::at(memory.data(), 4, 5, 2);
  sort_by_expert(4, 2, ids.data(), weights.data(), out);
  CHECK(std::vector<int32_t>(out.offsets, out.offsets + 6) == Ids{0, 2, 2, 5, 6, 6});
  CHECK(std::vector<int32_t>(out.row, out.row + 6) == Ids{0, 2, 0, 2, 3, 3});
  CHECK(std::vector<int32_t>(out.slot, out.slot + 6) == Ids{1, 0, 0, 1, 1, 0});
  CHECK(std::vector<float>(out.weight, out.weight + 6) == std::vector<float>{0.25f, 1, 0.5f, 2, 4, 3});
  CHECK(out.count() == 6);
}
