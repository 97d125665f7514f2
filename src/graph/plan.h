// Plan: a kernel for each node and its place in the arena, for steps of up to max_rows rows. Executor: runs it.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "graph/backend.h"

namespace moiety {

struct PlannedNode {
  const Backend* backend = nullptr;
  std::unique_ptr<Kernel> kernel;
  std::string refusals;    // "cuda: ..; onednn: .." : what the backends before said
  size_t offset = 0;       // of the output in the arena
};

class Plan {
 public:
  // Asks the backends in order for each node. Throws Error kUnsupported with every reason if all refuse.
  Plan(const Graph& graph, const std::vector<const Backend*>& backends, const PlanOptions& options, int workers);

  const Graph& graph() const { return *graph_; }
  const PlanOptions& options() const { return options_; }
  const std::vector<PlannedNode>& nodes() const { return nodes_; }
  size_t arena_bytes() const { return arena_bytes_; }      // outputs, then scratch
  size_t scratch_offset() const { return scratch_offset_; }

 private:
  void place_outputs(int workers);
  const Graph* graph_;
  PlanOptions options_;
  std::vector<PlannedNode> nodes_;
  size_t scratch_offset_ = 0, arena_bytes_ = 0;
};

// Called after each node with its output (f32 rows, or the routing).
using Observer = std::function<void(const Graph&, int32_t node, const Operand& output)>;

// Runs one batch through a plan; returns the logits [N,V] (valid until the next run). Polls `cancel` before each node
// and throws Error kCancelled. A row that failed is told in batch.status; the others are untouched by it.
class Executor {
 public:
  explicit Executor(Threads& threads) : threads_(threads) {}
  Tensor run(const Plan& plan, Batch& batch, const CancelToken* cancel = nullptr, const Observer* observer = nullptr);
  size_t arena_bytes() const { return arena_.size(); }

 private:
  Threads& threads_;
  Buffer arena_;
};

}  // namespace moiety
