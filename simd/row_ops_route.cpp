#include "graph/routing.h"
#include "simd/row_ops_parts.h"

namespace moiety::simd {

Offer prepare(const Route& op, const Context& from) {
  const RowContext context(from);
  if (std::string why = route_refusal(op, context.wanted()); !why.empty()) return refuse(std::move(why));
  if (context.input_cols(0) != op.experts) return refuse("route: a logit for each expert is needed");
  const int64_t k = route_choices(op);
  // Scratch: ids and weights of all rows, what settling needs, then scores and keys of a row for each worker.
  const size_t worker_floats = align_up(2 * static_cast<size_t>(op.experts), 16);
  const auto choices = [k](int64_t rows) { return align_up(static_cast<size_t>(rows * k) * sizeof(float), kAlignment); };
  const auto scratch = [=](int64_t rows, int workers) {
    return 2 * choices(rows) + settle_bytes(op, rows) + static_cast<size_t>(workers) * worker_floats * sizeof(float);
  };
  const auto run = [=, &kernels = context.kernels, bias = decode_small(op.selection_bias),
                    wanted = context.wanted()](const KernelCall& call) {
    const int64_t rows = call.inputs[0].tensor.rows();
    auto* ids = reinterpret_cast<int32_t*>(call.scratch);
    auto* weights = reinterpret_cast<float*>(call.scratch + choices(rows));
    std::byte* rest = call.scratch + 2 * choices(rows);
    auto* workers = reinterpret_cast<float*>(rest + settle_bytes(op, rows));
    for_rows(*call.threads, rows, 8 * op.experts, [&](int64_t row, int worker) {
      const float* logits = row_of(call.inputs[0].tensor, row);
      const int32_t token = token_row(*call.batch, wanted, row);
      if (!all_finite(logits, op.experts)) {
        std::fill(ids + row * k, ids + (row + 1) * k, -1);
        RowStatus& status = call.batch->status[static_cast<size_t>(token)];
        if (status.failed_node < 0) status.failed_node = call.node;
        return;
      }
      float* scores = workers + static_cast<size_t>(worker) * worker_floats;
      if (op.score == Score::kSoftmax) kernels.softmax(logits, op.experts, scores);
      else if (op.score == Score::kSigmoid) kernels.sigmoid(logits, op.experts, scores);
      else std::copy(logits, logits + op.experts, scores);
      choose_experts(op, bias.empty() ? nullptr : bias.data(), logits, scores, RowRandom(op, *call.batch, token),
                     scores + op.experts, ids + row * k, weights + row * k);
    });
    if (may_drop(op)) settle_choices(op, *call.batch, wanted, rows, ids, weights, rest);
    sort_by_expert(rows, static_cast<int>(k), ids, weights, call.output.routing);
  };
  return make_offer(context.name("route"), scratch, run);
}

}  // namespace moiety::simd
