#include "graph/routing.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include <fmt/format.h>

namespace moiety {

namespace {

// The k greatest of keys[n], greatest first; equal keys keep ascending ids. -inf keys are chosen last.
template <class F>
void select_top(const F* keys, int n, int k, int32_t* ids) noexcept {
  int chosen = 0;
  for (int e = 0; e < n; ++e) {
    if (chosen == k && !(keys[e] > keys[ids[k - 1]])) continue;
    int at = chosen < k ? chosen++ : k - 1;
    for (; at > 0 && keys[e] > keys[ids[at - 1]]; --at) ids[at] = ids[at - 1];
    ids[at] = e;
  }
}

// Sum of the `best` greatest keys of a group, taken greatest first.
template <class F>
F group_score(const F* keys, int size, int best) noexcept {
  F limit = std::numeric_limits<F>::infinity(), sum = 0;
  for (int taken = 0; taken < best;) {
    F next = -std::numeric_limits<F>::infinity();
    int copies = 0;
    for (int i = 0; i < size; ++i) {
      if (!(keys[i] < limit)) continue;
      if (keys[i] > next) next = keys[i], copies = 0;
      copies += keys[i] == next;
    }
    if (!copies) break;
    for (; copies > 0 && taken < best; --copies, ++taken) sum += next;
    limit = next;
  }
  return sum;
}

// Closes all but the top_groups best groups by setting their keys to -inf; ties to the lower group.
template <class F>
void close_groups(const Route& route, F* keys) noexcept {
  const int size = route.experts / route.groups;
  constexpr F kClosed = -std::numeric_limits<F>::infinity();
  const auto score = [&](int g) { return group_score(keys + g * size, size, route.group_best); };
  // Rank by counting the better groups: groups are few, and closing must wait until all are ranked.
  uint64_t open = 0;
  for (int g = 0; g < route.groups; ++g) {
    const F mine = score(g);
    int better = 0;
    for (int other = 0; other < route.groups; ++other) {
      const F theirs = score(other);
      better += theirs > mine || (theirs == mine && other < g);
    }
    if (better < route.top_groups) open |= uint64_t{1} << g;
  }
  for (int g = 0; g < route.groups; ++g)
    if (!(open >> g & 1)) std::fill(keys + g * size, keys + (g + 1) * size, kClosed);
}

// Divided by the sum, which DeepSeek-V3's code (modeling_deepseek.py, MoEGate) guards with 1e-20.
template <class F>
void renormalise(int k, float* weights) noexcept {
  F sum = 0;
  for (int i = 0; i < k; ++i) sum += static_cast<F>(weights[i]);
  for (int i = 0; i < k; ++i) weights[i] = static_cast<float>(static_cast<F>(weights[i]) / (sum + static_cast<F>(1e-20)));
}

template <class F>
void weigh(const Route& route, int k, const F* scores, const int32_t* ids, float* weights) noexcept {
  const F best = scores[*std::max_element(ids, ids + k, [&](int a, int b) { return scores[a] < scores[b]; })];
  const bool after = route.score == Score::kSoftmaxAfterTopK;
  F sum = 0;
  for (int i = 0; i < k; ++i) sum += after ? std::exp(scores[ids[i]] - best) : F{0};
  for (int i = 0; i < k; ++i)
    weights[i] = static_cast<float>(after ? std::exp(scores[ids[i]] - best) / sum : scores[ids[i]]);
  if (may_drop(route)) return;
  if (route.renormalise != Renormalise::kNo) renormalise<F>(k, weights);
  for (int i = 0; i < k; ++i) weights[i] *= route.weight_scale;
}

}  // namespace

namespace {

// Of the axes that may drop choices.
std::string drop_refusal(const Route& route, bool wanted_rows) {
  if (route.noise == Noise::kJitter) return "route: jitter is not built";
  if (route.drop == Drop::kRandom) return "route: random drops are not built";
  if (route.capacity == Capacity::kFactor) return "route: capacity by a factor is not built";
  if ((route.drop == Drop::kNone) != (route.capacity == Capacity::kNone))
    return "route: a capacity and the order of its drops need each other";
  if (route.capacity == Capacity::kFraction && !(route.capacity_factor > 0))
    return fmt::format("route: the capacity is a fraction of {}, expected more than 0", route.capacity_factor);
  if (needs_whole_groups(route) && wanted_rows) return "route: a capacity needs all rows of a group";
  if (route.keep == Keep::kByChance && route.top_k != 2) return "route: keeping by chance is built for top 2 only";
  const bool plain = route.selection == Selection::kTopK && !route.selection_bias && route.score == Score::kSoftmax;
  if ((may_drop(route) || route.noise != Noise::kNone) && !plain)
    return "route: noise and drops are built for the plain top k of a softmax";
  return {};
}

}  // namespace

std::string route_refusal(const Route& route, bool wanted_rows) {
  const auto is = [&](auto... built) { return ((route.selection == built) || ...); };
  if (!is(Selection::kTopK, Selection::kGroupedTopK, Selection::kDense))
    return "route: selection by threshold, static id or member is not built";
  if (std::string why = drop_refusal(route, wanted_rows); !why.empty()) return why;
  if (route.experts < 1 || route.top_k < 1 || route.top_k > route.experts)
    return fmt::format("route: top {} of {} experts", route.top_k, route.experts);
  if (route.selection == Selection::kDense && route.top_k != route.experts)
    return fmt::format("route: dense needs top_k == experts, got {} of {}", route.top_k, route.experts);
  if (route.selection_bias && route.selection_bias.elements() != route.experts)
    return fmt::format("route: the selection bias must have {} values", route.experts);
  if (route.selection == Selection::kGroupedTopK) {
    const bool fits = route.groups >= 1 && route.groups <= 64 && route.experts % route.groups == 0 &&
                      route.top_groups >= 1 && route.top_groups <= route.groups && route.group_best >= 1 &&
                      route.top_groups * (route.experts / route.groups) >= route.top_k;
    if (!fits)
      return fmt::format("route: top {} of {} experts does not fit the best {} of {} groups", route.top_k,
                         route.experts, route.top_groups, route.groups);
  }
  return {};
}

template <class F>
void choose_experts(const Route& route, const float* bias, const float* logits, const F* scores, const RowRandom& random,
                    F* keys, int32_t* ids, float* weights) noexcept {
  const bool grouped = route.selection == Selection::kGroupedTopK;
  const bool by_logit = !bias && !(grouped && route.group_best > 1);
  for (int e = 0; e < route.experts; ++e) {
    if (by_logit) keys[e] = static_cast<F>(logits[e]);
    else keys[e] = scores[e] + (bias ? static_cast<F>(bias[e]) : F{0});
  }
  if (grouped) close_groups(route, keys);
  const int k = route_choices(route);
  if (route.noise == Noise::kGumbel) {
    select_top(keys, route.experts, 1, ids);
    for (int e = 0; e < route.experts; ++e) keys[e] += static_cast<F>(random.gumbel(e));
    keys[ids[0]] = -std::numeric_limits<F>::infinity();
    select_top(keys, route.experts, k - 1, ids + 1);
  } else {
    select_top(keys, route.experts, k, ids);
  }
  weigh(route, k, scores, ids, weights);
}

template void choose_experts(const Route&, const float*, const float*, const float*, const RowRandom&, float*, int32_t*,
                             float*) noexcept;
template void choose_experts(const Route&, const float*, const float*, const double*, const RowRandom&, double*,
                             int32_t*, float*) noexcept;

bool all_finite(const float* logits, int64_t count) noexcept {
  float probe = 0;  // stays 0, or becomes NaN
  for (int64_t i = 0; i < count; ++i) probe += logits[i] * 0.0f;
  return probe == 0;
}

void sort_by_expert(int64_t rows, int k, const int32_t* ids, const float* weights, const Routing& out) noexcept {
  std::fill(out.offsets, out.offsets + out.experts + 1, 0);
  for (int64_t i = 0; i < rows * k; ++i)
    if (ids[i] >= 0) ++out.offsets[ids[i] + 1];
  for (int e = 0; e < out.experts; ++e) out.offsets[e + 1] += out.offsets[e];
  // Each start is advanced to its expert's end while filling, then the ends are moved back by one expert.
  for (int64_t i = 0; i < rows * k; ++i) {
    if (ids[i] < 0) continue;
    const int32_t at = out.offsets[ids[i]]++;
    out.row[at] = static_cast<int32_t>(i / k);
    out.slot[at] = static_cast<int32_t>(i % k);
    out.weight[at] = weights[i];
  }
  for (int e = out.experts; e > 0; --e) out.offsets[e] = out.offsets[e - 1];
  out.offsets[0] = 0;
}

}  // namespace moiety
