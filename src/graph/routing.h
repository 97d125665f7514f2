// What routing means, shared by the backends: they differ only in how they compute scores.
#pragma once

#include <cstdint>
#include <string>

#include "graph/gating.h"

namespace moiety {

// Choices a row makes: top_k, or every expert when dense.
inline int route_choices(const Route& route) {
  return route.selection == Selection::kDense ? route.experts : route.top_k;
}

// Why this route is not built (empty: it is). Thresholds, static tables, jitter, random drops and capacities by a
// factor are refused, and capacities where only the wanted rows are there.
std::string route_refusal(const Route& route, bool wanted_rows = false);

// Chooses a row's experts and weighs them. logits[E] finite; scores[E] after the score function (the logits themselves
// for kRaw and kSoftmaxAfterTopK); keys[E] is scratch; random is for noise. Writes route_choices() ids, best first, ties
// to the lower expert, and their weights (raw scores where may_drop). Without a bias experts are compared by logit,
// which orders as the scores do and does not saturate. F: float or double.
template <class F>
void choose_experts(const Route& route, const float* bias, const float* logits, const F* scores, const RowRandom& random,
                    F* keys, int32_t* ids, float* weights) noexcept;
extern template void choose_experts(const Route&, const float*, const float*, const float*, const RowRandom&, float*,
                                    int32_t*, float*) noexcept;
extern template void choose_experts(const Route&, const float*, const float*, const double*, const RowRandom&, double*,
                                    int32_t*, float*) noexcept;

// True if every logit is a finite number.
bool all_finite(const float* logits, int64_t count) noexcept;

// ids[rows, k] and weights[rows, k] (id < 0: absent) sorted by expert into `out`, rows ascending inside an expert.
void sort_by_expert(int64_t rows, int k, const int32_t* ids, const float* weights, const Routing& out) noexcept;

// The token's row in the step, of row `row` of an operand that has T rows, or N wanted rows.
inline int32_t token_row(const Batch& batch, bool wanted, int64_t row) {
  return wanted ? batch.wanted[static_cast<size_t>(row)] : static_cast<int32_t>(row);
}

}  // namespace moiety
