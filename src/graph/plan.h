// Plan: a kernel for each node and its place in the arena, for steps of up to max_rows rows. Executor: runs it.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "graph/backend.h"

namespace moiety {

// Copies the value of a node between memories (indices of Plan::memories), one of which is the host's.
struct Transfer {
  int32_t node = -1;
  int from = 0, to = 0;
  size_t from_offset = 0, to_offset = 0;
};

struct PlannedNode {
  const Backend* backend = nullptr;
  std::unique_ptr<Kernel> kernel;
  std::string refusals;                   // "cuda: ..; onednn: .." : what the backends before said
  int memory = 0;                         // of the kernel's operands
  size_t offset = 0;                      // of the output in the arena of that memory
  std::array<size_t, 3> input_offsets{};  // of the inputs there
  std::vector<Transfer> transfers;        // before the kernel runs
};

class Plan {
 public:
  // Asks the backends in order for each node. Throws Error kUnsupported with every reason if all refuse.
  Plan(const Graph& graph, const std::vector<const Backend*>& backends, const PlanOptions& options, int workers);

  const Graph& graph() const { return *graph_; }
  const PlanOptions& options() const { return options_; }
  const std::vector<PlannedNode>& nodes() const { return nodes_; }
  const std::vector<Transfer>& last_transfers() const { return last_transfers_; }  // bring the logits to the host
  size_t logits_offset() const { return logits_offset_; }                          // in the host's arena

  struct Arena {
    Memory* memory = nullptr;  // null: the host's, always the first
    size_t bytes = 0;          // values, then scratch
    size_t scratch_offset = 0;
  };
  const std::vector<Arena>& arenas() const { return arenas_; }
  size_t arena_bytes() const;  // of all

 private:
  int memory_index(Memory* memory);
  void place(int workers);
  const Graph* graph_;
  PlanOptions options_;
  std::vector<PlannedNode> nodes_;
  std::vector<Transfer> last_transfers_;
  std::vector<Arena> arenas_;
  size_t logits_offset_ = 0;
};

// Bytes of a node's value for a step of `rows` rows.
size_t value_bytes(const Node& node, int64_t rows);

// Called after each node with its output (f32 rows, or the routing), in the host's memory; it may change the values.
using Observer = std::function<void(const Graph&, int32_t node, const Operand& output)>;

// Runs one batch through a plan; returns the logits [N,V] (valid until the next run). Polls `cancel` before each node
// and throws Error kCancelled; kIo if experts have to be read and can't. A row that failed is told in batch.status; the
// others are untouched by it.
class Executor {
 public:
  explicit Executor(Threads& threads) : threads_(threads) {}
  ~Executor();
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;
  // The plans' backends must outlive the executor.
  Tensor run(const Plan& plan, Batch& batch, const CancelToken* cancel = nullptr, const Observer* observer = nullptr);
  size_t arena_bytes() const;

 private:
  struct Arena {
    Memory* memory = nullptr;
    size_t size = 0;
    std::byte* data = nullptr;
    Buffer host;
  };
  std::vector<std::byte*> arenas_of(const Plan& plan);
  void run_in_parts(const Kernel& kernel, KernelCall& call, const ExpertBank& bank, Operand& routing,
                    const CancelToken* cancel);
  void observe(const Observer& observer, const Plan& plan, size_t node, const Operand& output, int64_t rows);

  Threads& threads_;
  std::vector<Arena> arenas_;
  struct {
    std::vector<int32_t> experts, offsets;
  } part_;  // of a step's experts
};

}  // namespace moiety
