#include <algorithm>
#include <cmath>

#include "backends/reference/kernels.h"
#include "graph/routing.h"

namespace moiety::reference {

namespace {

// scores[E] of one row's logits.
void score_row(Score score, const float* logits, int experts, double* scores) {
  const double greatest = *std::max_element(logits, logits + experts);
  double sum = 0;
  for (int e = 0; e < experts; ++e) sum += std::exp(logits[e] - greatest);
  for (int e = 0; e < experts; ++e) {
    const double logit = logits[e];
    switch (score) {
      case Score::kSoftmax: scores[e] = std::exp(logit - greatest) / sum; break;
      case Score::kSigmoid: scores[e] = 1 / (1 + std::exp(-logit)); break;
      case Score::kSoftmaxAfterTopK:
      case Score::kRaw: scores[e] = logit; break;
    }
  }
}

}  // namespace

Offer offer(const Route& op, const Context& context) {
  if (std::string why = route_refusal(op, context.wanted()); !why.empty()) return refuse(std::move(why));
  if (context.input_cols(0) != op.experts) return refuse("route: a logit for each expert is needed");
  const int k = route_choices(op);
  // Scratch: scores and keys of a row, then ids and weights of all rows, then what settling needs.
  const auto row_bytes = align_up(2 * static_cast<size_t>(op.experts) * sizeof(double), kAlignment);
  const auto choices_bytes = [k](int64_t rows) {
    return align_up(static_cast<size_t>(rows * k) * sizeof(int32_t), kAlignment);
  };
  const auto scratch = [=](int64_t rows, int) { return row_bytes + 2 * choices_bytes(rows) + settle_bytes(op, rows); };
  std::vector<float> bias;
  for (double value : decode_all(op.selection_bias)) bias.push_back(static_cast<float>(value));
  const auto run = [=, wanted = context.wanted()](const KernelCall& call) {
    const int64_t rows = call.inputs[0].tensor.rows();
    auto* scores = reinterpret_cast<double*>(call.scratch);
    auto* ids = reinterpret_cast<int32_t*>(call.scratch + row_bytes);
    auto* weights = reinterpret_cast<float*>(call.scratch + row_bytes + choices_bytes(rows));
    for (int64_t r = 0; r < rows; ++r) {
      const float* logits = row_of(call.inputs[0].tensor, r);
      const int32_t token = token_row(*call.batch, wanted, r);
      if (!all_finite(logits, op.experts)) {
        std::fill(ids + r * k, ids + (r + 1) * k, -1);
        RowStatus& status = call.batch->status[static_cast<size_t>(token)];
        if (status.failed_node < 0) status.failed_node = call.node;
        continue;
      }
      score_row(op.score, logits, op.experts, scores);
      choose_experts(op, bias.empty() ? nullptr : bias.data(), logits, scores, RowRandom(op, *call.batch, token),
                     scores + op.experts, ids + r * k, weights + r * k);
    }
    std::byte* rest = call.scratch + row_bytes + 2 * choices_bytes(rows);
    if (may_drop(op)) settle_choices(op, *call.batch, wanted, rows, ids, weights, rest);
    sort_by_expert(rows, k, ids, weights, call.output.routing);
  };
  return make_offer("route", scratch, run);
}

}  // namespace moiety::reference
