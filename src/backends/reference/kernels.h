// Inside the reference backend: one offer() an op, so that a forgotten op does not compile.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include <Eigen/Core>

#include "graph/function_kernel.h"
#include "graph/ops.h"

namespace moiety::reference {

using Vector = Eigen::Map<Eigen::VectorXd>;
using ConstVector = Eigen::Map<const Eigen::VectorXd>;

struct Context {
  const Graph& graph;
  const Node& node;
  const PlanOptions& options;
  int64_t input_cols(size_t i) const { return graph.node(node.inputs[i]).cols; }
  bool wanted() const { return node.extent == Extent::kWanted; }
};

Offer offer(const Embedding& op, const Context& context);
Offer offer(const RmsNorm& op, const Context& context);
Offer offer(const LayerNorm& op, const Context& context);
Offer offer(const Linear& op, const Context& context);
Offer offer(const Clamp& op, const Context& context);
Offer offer(const Scale& op, const Context& context);
Offer offer(const Add& op, const Context& context);
Offer offer(const Act& op, const Context& context);
Offer offer(const Glu& op, const Context& context);
Offer offer(const Rope& op, const Context& context);
Offer offer(const AddSinusoid& op, const Context& context);
Offer offer(const KvStore& op, const Context& context);
Offer offer(const Attention& op, const Context& context);
Offer offer(const Route& op, const Context& context);
Offer offer(const Experts& op, const Context& context);
Offer offer(const SelectRows& op, const Context& context);

// A kernel that computes each row alone: body(call, row), spread over the threads.
template <class Body>
Offer row_offer(std::string name, Body body) {
  return make_offer(std::move(name), [body = std::move(body)](const KernelCall& call) {
    const auto task = [&](int64_t row, int) { body(call, row); };
    call.threads->run(call.output.tensor.rows(), task);
  });
}

// A small tensor (a bias, a norm's weight) as doubles; empty if it is absent.
std::vector<double> decode_all(const Tensor& tensor);

// Row `row` of a weight as doubles; `floats` and `out` hold cols() values.
void decode_row(const Tensor& weight, int64_t row, float* floats, double* out) noexcept;

// x or gate through the activation; `up` enters as the ops' contract says (1 where there is none).
double activate(Activation kind, double x) noexcept;
double gated(Activation kind, double limit, double alpha, double gate, double up) noexcept;

}  // namespace moiety::reference
