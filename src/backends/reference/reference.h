// The reference backend: what every op means, plain and in double. It is total, never optimised, and keeps activations
// exact whatever ActivationPrecision says. Eigen stays in this folder.
#pragma once

#include "graph/backend.h"

namespace moiety {

class ReferenceBackend : public Backend {
 public:
  std::string name() const override { return "reference"; }
  std::string target() const override { return "eigen"; }
  Offer prepare(const Graph& graph, const Node& node, const PlanOptions& options) const override;
};

}  // namespace moiety
