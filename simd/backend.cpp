#include "simd/backend.h"

#include "simd/levels.h"
#include "simd/prepare.h"
#include "simd/tune.h"

namespace moiety {

SimdBackend::SimdBackend(const std::string& level)
    : kernels_(simd::choose_level(cpu_info().features, level).kernels()) {}

Offer SimdBackend::prepare(const Graph& graph, const Node& node, const PlanOptions& options) const {
  const simd::Context context{graph, node, options, simd::Matmul(kernels_, options.activations, &gemm_rows_)};
  return std::visit([&](const auto& op) { return simd::prepare(op, context); }, node.op);
}

void SimdBackend::tune(const Graph& graph, const PlanOptions& options, double seconds, Tuning& tuning) {
  const simd::Matmul matmul(kernels_, options.activations);
  simd::tune(graph, matmul, seconds, tuning);
  for (const Tensor& weight : simd::weight_kinds(graph)) {
    const auto known = tuning.find(matmul.name(weight));
    if (known == tuning.end() || known->second < 1 || known->second > kMostTuned) continue;
    gemm_rows_.at[static_cast<int>(weight.dtype)][static_cast<int>(weight.layout)]
                 [static_cast<int>(matmul.form(weight.dtype))] = static_cast<uint16_t>(known->second);
  }
}

Tuning SimdBackend::tuning(const Graph& graph, const PlanOptions& options) const {
  const simd::Matmul matmul(kernels_, options.activations, &gemm_rows_);
  Tuning tuning;
  for (const Tensor& weight : simd::weight_kinds(graph)) tuning[matmul.name(weight)] = static_cast<int>(matmul.gemm_rows(weight));
  return tuning;
}

}  // namespace moiety
