// The KV cache and attention.
#include <cmath>

#include "backends/reference/kernels.h"
#include "core/blocks.h"
#include "graph/routing.h"

namespace moiety::reference {

Offer offer(const KvStore& op, const Context& context) {
  const int heads = context.graph.state.kv_heads, head_dim = context.graph.state.head_dim;
  const int64_t cols = int64_t{heads} * head_dim;
  if (context.input_cols(0) != cols || context.input_cols(1) != cols)
    return refuse("kv_store: keys or values do not fit the cache");
  return make_offer("kv_store", [layer = op.layer, heads, head_dim](const KernelCall& call) {
    const auto put = [&](const Tensor& rows, int64_t row, int head, DType type, std::byte* to) {
      const float* from = row_of(rows, row) + head * head_dim;
      for (int i = 0; i < head_dim; ++i) {
        if (type == DType::kF16) store_u16(to + 2 * i, f32_to_f16(from[i]));
        else std::copy_n(from + i, 1, reinterpret_cast<float*>(to) + i);
      }
    };
    for (const Span& span : call.batch->spans) {
      if (span.pad) continue;
      const KvCache& cache = *span.cache;
      for (int32_t i = 0; i < span.count; ++i) {
        const int64_t position = span.position + i;
        for (int head = 0; head < heads; ++head) {
          put(call.inputs[0].tensor, span.row + i, head, cache.key_type(),
              cache.keys(layer, head, position));
          put(call.inputs[1].tensor, span.row + i, head, cache.value_type(),
              cache.values(layer, head, position));
        }
      }
    }
  });
}

namespace {

// One query head at one position. key, value: head_dim doubles of scratch.
struct Query {
  const Attention& op;
  const KvCache& cache;
  int head;
  int64_t position;
  const float* q;
  float* y;
};

double load(const std::byte* row, DType type, int i) {
  return static_cast<double>(type == DType::kF16 ? load_f16(row + 2 * i) : reinterpret_cast<const float*>(row)[i]);
}

void attend(const Query& query, const std::vector<double>& sinks, double* sums) {
  const Attention& op = query.op;
  const int kv_head = query.head / (op.heads / op.kv_heads);
  const int64_t first = op.window > 0 ? std::max<int64_t>(0, query.position - op.window + 1) : 0;
  // Online softmax: sums and total are relative to the greatest logit so far.
  double greatest = sinks.empty() ? -INFINITY : sinks[static_cast<size_t>(query.head)];
  double total = sinks.empty() ? 0 : 1;
  std::fill(sums, sums + op.head_dim, 0.0);
  for (int64_t s = first; s <= query.position; ++s) {
    const std::byte* key = query.cache.keys(op.layer, kv_head, s);
    const std::byte* value = query.cache.values(op.layer, kv_head, s);
    double logit = 0;
    for (int i = 0; i < op.head_dim; ++i) logit += query.q[i] * load(key, query.cache.key_type(), i);
    logit *= op.scale;
    if (op.softcap > 0) logit = op.softcap * std::tanh(logit / op.softcap);
    if (logit > greatest) {
      const double shrink = std::exp(greatest - logit);
      total *= shrink;
      for (int i = 0; i < op.head_dim; ++i) sums[i] *= shrink;
      greatest = logit;
    }
    const double weight = std::exp(logit - greatest);
    total += weight;
    for (int i = 0; i < op.head_dim; ++i) sums[i] += weight * load(value, query.cache.value_type(), i);
  }
  for (int i = 0; i < op.head_dim; ++i) query.y[i] = static_cast<float>(sums[i] / total);
}

const Span& span_of(const Batch& batch, int32_t row) {
  size_t i = 0;
  while (row >= batch.spans[i].row + batch.spans[i].count) ++i;
  return batch.spans[i];
}

}  // namespace

Offer offer(const Attention& op, const Context& context) {
  if (std::string why = attention_misfit(context.graph, context.node, op); !why.empty()) return refuse(std::move(why));
  const auto scratch = [op](int64_t, int workers) {
    return static_cast<size_t>(workers) * static_cast<size_t>(op.head_dim) * sizeof(double);
  };
  const auto run = [op, sinks = decode_all(op.sinks), wanted = context.wanted()](const KernelCall& call) {
    const auto task = [&](int64_t index, int worker) {
      const int64_t row = index / op.heads;
      const int head = static_cast<int>(index % op.heads);
      const int32_t token = token_row(*call.batch, wanted, row);
      const Span& span = span_of(*call.batch, token);
      attend({op, *span.cache, head, span.position + (token - span.row),
              row_of(call.inputs[0].tensor, row) + int64_t{head} * op.head_dim,
              row_of(call.output.tensor, row) + int64_t{head} * op.head_dim},
             sinks, reinterpret_cast<double*>(call.scratch) + int64_t{worker} * op.head_dim);
    };
    call.threads->run(call.output.tensor.rows() * op.heads, task);
  };
  return make_offer("attention", scratch, run);
}

}  // namespace moiety::reference
