// The SIMD backend: Highway kernels of one level, chosen at construction.
#pragma once

#include <string>

#include "graph/backend.h"
#include "simd/matmul.h"

namespace moiety {

class SimdBackend final : public Backend {
 public:
  // level: a name of simd/levels.h, or empty for the best that the CPU has. Throws Error as choose_level does.
  explicit SimdBackend(const std::string& level);
  std::string name() const override { return "simd"; }
  std::string target() const override { return kernels_.level; }
  Offer prepare(const Graph& graph, const Node& node, const PlanOptions& options) const override;
  void tune(const Graph& graph, const PlanOptions& options, double seconds, Tuning& tuning) override;
  Tuning tuning(const Graph& graph, const PlanOptions& options) const override;

 private:
  simd::Kernels kernels_;
  simd::GemmRows gemm_rows_;
};

}  // namespace moiety
