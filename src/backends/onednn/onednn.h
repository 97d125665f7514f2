// The oneDNN backend: dense f32 and bf16 matrix products of at least kMinRows rows. Optional, and used only when named:
// its order of additions is the library's own, so its bits depend on how a prompt is cut. dnnl stays in this folder.
#pragma once

#include <memory>

#include "graph/backend.h"

namespace moiety {

class OneDnnBackend : public Backend {
 public:
  static constexpr int64_t kMinRows = 16;

  OneDnnBackend();  // throws Error kUnsupported if the library gives no CPU engine
  ~OneDnnBackend() override;
  std::string name() const override { return "onednn"; }
  std::string target() const override;  // the library's version and what it finds in the CPU
  Offer prepare(const Graph& graph, const Node& node, const PlanOptions& options) const override;

 private:
  struct Engine;
  std::unique_ptr<Engine> engine_;
};

}  // namespace moiety
