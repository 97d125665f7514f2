#include "simd/backend.h"

#include "simd/levels.h"
#include "simd/prepare.h"

namespace moiety {

SimdBackend::SimdBackend(const std::string& level)
    : kernels_(simd::choose_level(cpu_info().features, level).kernels()) {}

Offer SimdBackend::prepare(const Graph& graph, const Node& node, const PlanOptions& options) const {
  const simd::Context context{graph, node, options, simd::Matmul(kernels_, options.activations)};
  return std::visit([&](const auto& op) { return simd::prepare(op, context); }, node.op);
}

}  // namespace moiety
