// The rule of a gating group, by hand: queues, drops, weights.
#include "graph/gating.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <vector>

#include <doctest/doctest.h>

#include "core/buffer.h"

using namespace moiety;

namespace {

using Ids = std::vector<int32_t>;

struct Settled {
  Ids ids, locations;
  std::vector<float> weights;
};

Batch batch_of(int32_t rows) {
  Batch batch;
  for (int32_t i = 0; i < rows; ++i) batch.ids.push_back(0), batch.positions.push_back(i);
  batch.spans.push_back({nullptr, 0, rows, 0});
  return batch;
}

Settled settle(const Route& route, const Batch& batch, Ids ids, std::vector<float> scores) {
  const auto rows = static_cast<int64_t>(ids.size()) / route.top_k;
  Settled out{std::move(ids), Ids(scores.size(), -9), std::move(scores)};
  const Buffer scratch(settle_bytes(route, rows));
  std::fill_n(scratch.as<uint8_t>(), scratch.size(), uint8_t{0xff});
  settle_choices(route, batch, false, rows, out.ids.data(), out.weights.data(), scratch.data(), out.locations.data());
  return out;
}

Route with_capacity(int experts, double fraction, Drop drop = Drop::kByPosition) {
  Route route{.experts = experts, .top_k = 2, .renormalise = Renormalise::kAfterDrop};
  route.drop = drop, route.capacity = Capacity::kFraction, route.capacity_factor = fraction;
  return route;
}

}  // namespace

TEST_CASE("capacity is twice the mean, rounded up first, or the ceiling of a double product") {
  Route route{.experts = 8, .top_k = 2};
  CHECK(gate_capacity(route, 100) == INT64_MAX);
  route.capacity = Capacity::kTwiceMean;
  CHECK(gate_capacity(route, 1) == 2);
  CHECK(gate_capacity(route, 16) == 4);
  CHECK(gate_capacity(route, 17) == 6);
  route.capacity = Capacity::kFraction;
  const auto slots = [&](double fraction, int64_t rows) {
    route.capacity_factor = fraction;
    return gate_capacity(route, rows);
  };
  CHECK(slots(0.07, 100) == 8);  // 7.000000000000001
  CHECK(slots(0.57, 100) == 57);
  CHECK(slots(0.05, 200) == 10);
  CHECK(slots(1e-9, 5) == 1);
  CHECK(slots(1e300, 5) == 5);
}

TEST_CASE("second choices queue behind all first ones; a lone survivor has weight 1, a row may lose both") {
  // C = 2. Expert 0 is the first choice of rows 0, 1, 3 and the second of row 2.
  const Settled s = settle(with_capacity(4, 0.5), batch_of(4), {0, 1, 0, 2, 1, 0, 0, 1},
                           {0.5f, 0.25f, 0.5f, 0.25f, 0.5f, 0.25f, 0.5f, 0.25f});
  CHECK(s.locations == Ids{0, 1, 1, 0, 0, 3, 2, 2});
  CHECK(s.ids == Ids{0, 1, 0, 2, 1, -1, -1, -1});
  CHECK(s.weights[0] == doctest::Approx(2.0 / 3));
  CHECK(s.weights[1] == doctest::Approx(1.0 / 3));
  CHECK(s.weights[4] == 1);
}

TEST_CASE("weights normalised before dropping keep their share") {
  Route route = with_capacity(4, 0.25);
  route.renormalise = Renormalise::kBeforeDrop;
  const Settled s = settle(route, batch_of(2), {0, 1, 0, 1}, {0.5f, 0.25f, 0.5f, 0.25f});
  CHECK(s.ids == Ids{0, 1, -1, -1});
  CHECK(s.weights[0] == doctest::Approx(2.0 / 3));
  CHECK(settle(route, batch_of(2), {0, 1, 0, 2}, {0.5f, 0.25f, 0.6f, 0.2f}).weights[3] == doctest::Approx(0.25));
}

TEST_CASE("batch-prioritised: the best gates first, equal ones by position; the raw gate counts, not the normalised") {
  Route route = with_capacity(4, 0.25, Drop::kBatchPrioritised);
  route.renormalise = Renormalise::kBeforeDrop;
  // Normalised, row 0 would be first: 0.3 / 0.31.
  const Settled s = settle(route, batch_of(4), {0, 1, 0, 1, 0, 1, 0, 1}, {0.3f, 0.01f, 0.6f, 0.4f, 0.6f, 0.4f, 0.5f, 0.5f});
  CHECK(s.locations == Ids{3, 3, 0, 0, 1, 1, 2, 2});
  CHECK(s.ids == Ids{-1, -1, 0, 1, -1, -1, -1, -1});
}

TEST_CASE("failed rows and masked pads take no place and count in the capacity; pads that are not masked take one") {
  Batch batch = batch_of(4);
  batch.positions[1] = kPadPosition;
  Route route = with_capacity(4, 0.25);  // C = 1
  const Ids ids{-1, -1, 0, 1, 0, 1, 2, 0};
  const std::vector<float> scores{NAN, NAN, 0.5f, 0.3f, 0.5f, 0.3f, 0.5f, 0.3f};
  CHECK(settle(route, batch, ids, scores).ids == Ids{-1, -1, 0, 1, -1, -1, 2, -1});
  route.pads_choose = false;
  const Settled masked = settle(route, batch, ids, scores);
  CHECK(masked.locations == Ids{-1, -1, -1, -1, 0, 0, 0, 1});
  CHECK(masked.ids == Ids{-1, -1, -1, -1, 0, 1, 2, -1});
}

TEST_CASE("groups have capacities of their own") {
  Batch batch = batch_of(4);
  batch.groups = {{0, 1}, {1, 3}};
  const Settled s = settle(with_capacity(4, 0.3), batch, {0, 1, 0, 1, 0, 1, 2, 3}, std::vector<float>(8, 0.5f));
  CHECK(s.locations == Ids{0, 0, 0, 0, 1, 1, 0, 0});
  CHECK(s.ids == Ids{0, 1, 0, 1, -1, -1, 2, 3});
}

TEST_CASE("by chance the second choice stays where twice its weight exceeds the number, given or drawn") {
  Route route{.experts = 4, .top_k = 2, .renormalise = Renormalise::kAfterDrop};
  route.keep = Keep::kByChance;
  Batch batch = batch_of(2);
  GivenNoise noise;
  noise.uniform = {0.5f, 0.499f};
  batch.noise = &noise;
  const Ids ids{0, 1, 0, 1};
  const std::vector<float> scores{0.5f, 0.25f, 0.5f, 0.25f};
  CHECK(settle(route, batch, ids, scores).ids == Ids{0, -1, 0, 1});
  CHECK(settle(route, batch, ids, scores).weights[0] == 1);
  route.renormalise = Renormalise::kBeforeDrop;  // of both, then the chance: 2/3 exceeds both numbers
  CHECK(settle(route, batch, ids, scores).ids == ids);
  batch = batch_of(1000);
  batch.noise = nullptr;
  Ids many;
  std::vector<float> weights;
  for (int i = 0; i < 1000; ++i) many.insert(many.end(), {0, 1}), weights.insert(weights.end(), {0.8f, 0.2f});
  const Settled s = settle(route, batch, many, weights);
  const auto kept = std::count(s.ids.begin(), s.ids.end(), 1);
  CHECK(kept > 340);
  CHECK(kept < 460);  // 400 expected, deviation 15.5
}

TEST_CASE("drawn numbers depend on seed, session, position and layer alone, and Gumbel's mean is Euler's constant") {
  Route route{.experts = 4, .top_k = 2};
  Batch batch = batch_of(2000);
  const auto drawn = [&](int32_t row) { return RowRandom(route, batch, row).uniform(); };
  const double first = drawn(7);
  CHECK(first == drawn(7));
  std::set<double> all{first, drawn(8)};
  route.seed = 1, all.insert(drawn(7)), route.seed = 0;
  route.layer = 1, all.insert(drawn(7)), route.layer = 0;
  batch.spans[0].session = 1, all.insert(drawn(7)), batch.spans[0].session = 0;
  CHECK(all.size() == 5);
  CHECK(first == drawn(7));
  double sum = 0;
  for (int32_t row = 0; row < 2000; ++row)
    for (int e = 0; e < 4; ++e) sum += RowRandom(route, batch, row).gumbel(e);
  CHECK(sum / 8000 == doctest::Approx(0.5772).epsilon(0.1));  // deviation of the mean: 0.0143
}
