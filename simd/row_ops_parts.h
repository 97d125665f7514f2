// Shared by the files of the row ops: a kernel made of callables, and how rows spread over threads.
#pragma once

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

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

template <class Scratch, class Run>
class RowKernel : public Kernel {
 public:
  RowKernel(std::string name, Scratch scratch, Run run)
      : name_(std::move(name)), scratch_(std::move(scratch)), run_(std::move(run)) {}
  std::string name() const override { return name_; }
  size_t scratch_bytes(int64_t rows, int workers) const override { return scratch_(rows, workers); }
  void run(const KernelCall& call) const noexcept override { run_(call); }

 private:
  std::string name_;
  Scratch scratch_;
  Run run_;
};

template <class Scratch, class Run>
Offer make_offer(std::string name, Scratch scratch, Run run) {
  return {std::make_unique<RowKernel<Scratch, Run>>(std::move(name), std::move(scratch), std::move(run)), {}};
}

inline float* row_of(const Tensor& tensor, int64_t row) { return reinterpret_cast<float*>(tensor.row(row)); }

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
  return make_offer(
      std::move(name), [](int64_t, int) { return size_t{0}; },
      [work, body = std::move(body)](const KernelCall& call) {
        for_rows(*call.threads, call.output.tensor.rows(), work, [&](int64_t row, int) { body(call, row); });
      });
}

// A small tensor (a bias, a norm's weight) as floats; empty if it is absent.
std::vector<float> decode_small(const Tensor& tensor);

}  // namespace moiety::simd
