#include "backends/reference/reference.h"

#include <cmath>

#include "backends/reference/kernels.h"
#include "core/panels.h"

namespace moiety {

Offer ReferenceBackend::prepare(const Graph& graph, const Node& node, const PlanOptions& options) const {
  const reference::Context context{graph, node, options};
  return std::visit([&](const auto& op) { return reference::offer(op, context); }, node.op);
}

namespace reference {

std::vector<double> decode_all(const Tensor& tensor) {
  if (!tensor) return {};
  const auto cols = static_cast<size_t>(tensor.cols());
  std::vector<float> floats(cols);
  std::vector<double> out(static_cast<size_t>(tensor.elements()));
  for (int64_t row = 0; row < tensor.rows(); ++row)
    decode_row(tensor, row, floats.data(), out.data() + static_cast<size_t>(row) * cols);
  return out;
}

void decode_row(const Tensor& weight, int64_t row, float* floats, double* out) noexcept {
  moiety::decode_row(weight, row, floats);
  for (int64_t i = 0; i < weight.cols(); ++i) out[i] = static_cast<double>(floats[i]);
}

double activate(Activation kind, double x) noexcept {
  constexpr double kSqrt2OverPi = 0.79788456080286535588;
  switch (kind) {
    case Activation::kSilu: return x / (1 + std::exp(-x));
    case Activation::kGelu: return 0.5 * x * std::erfc(-x * M_SQRT1_2);
    case Activation::kGeluTanh: return 0.5 * x * (1 + std::tanh(kSqrt2OverPi * (x + 0.044715 * x * x * x)));
    case Activation::kRelu: return x < 0 ? 0 : x;
    case Activation::kSwigluOai: break;  // needs an alpha and an up: gated()
  }
  return NAN;
}

double gated(Activation kind, double limit, double alpha, double gate, double up) noexcept {
  if (limit > 0) {  // written so that NaN passes through
    gate = gate > limit ? limit : gate;
    up = up > limit ? limit : up < -limit ? -limit : up;
  }
  if (kind == Activation::kSwigluOai) return gate / (1 + std::exp(-alpha * gate)) * (up + 1);
  return activate(kind, gate) * up;
}

}  // namespace reference
}  // namespace moiety
