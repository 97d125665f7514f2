// Shared by the files of the row ops: what they need of their context, and how rows spread over threads.
#pragma once

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "graph/function_kernel.h"
#include "simd/prepare.h"

namespace moiety::simd {

// What a row op needs of its context; `kernels` and `level` belong to the backend.
struct RowContext {
  explicit RowContext(const Context& context)
      : kernels(context.matmul.kernels().rows), level(context.matmul.kernels().level), graph(context.graph),
        node(context.node) {}
  const RowKernels& kernels;
  const char* level;
  const Graph& graph;
  const Node& node;
  int64_t input_cols(size_t i) const { return graph.node(node.inputs[i]).cols; }
  bool wanted() const { return node.extent == Extent::kWanted; }
  std::string name(const char* op) const { return std::string(op) + ", " + level; }
};

// body(row, worker) for each row. work: roughly the floats that one row handles; a step below kSerialWork does not
// wake the pool, which costs more than a decode step's small ops.
inline constexpr int64_t kSerialWork = 1 << 15;

template <class Body>
void for_rows(Threads& threads, int64_t rows, int64_t work, const Body& body) {
  if (threads.size() == 1 || rows * work < kSerialWork) {
    for (int64_t row = 0; row < rows; ++row) body(row, 0);
    return;
  }
  const int64_t chunk = std::max<int64_t>(1, kSerialWork / 4 / std::max<int64_t>(1, work));
  const auto task = [&](int64_t index, int worker) {
    for (int64_t row = index * chunk; row < std::min(rows, (index + 1) * chunk); ++row) body(row, worker);
  };
  threads.run((rows + chunk - 1) / chunk, task);
}

// A kernel that computes each row alone: body(call, row).
template <class Body>
Offer row_offer(std::string name, int64_t work, Body body) {
  return make_offer(std::move(name), [work, body = std::move(body)](const KernelCall& call) {
    for_rows(*call.threads, call.output.tensor.rows(), work, [&](int64_t row, int) { body(call, row); });
  });
}

// A small tensor (a bias, a norm's weight) as floats; empty if it is absent.
std::vector<float> decode_small(const Tensor& tensor);

}  // namespace moiety::simd
