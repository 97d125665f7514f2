// Backend: offers a kernel for a node, or refuses with a reason.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/cancel.h"
#include "core/threads.h"
#include "graph/batch.h"
#include "graph/graph.h"
#include "graph/memory.h"

namespace moiety {

enum class ActivationPrecision : uint8_t { kAuto, kF32 };

// An operand while running: rows (tensor) or a routing.
struct Operand {
  Tensor tensor;
  Routing routing;
};

struct KernelCall {
  Batch* batch = nullptr;
  const Operand* inputs = nullptr;  // as many as the node has
  Operand output;
  std::byte* scratch = nullptr;  // scratch_bytes() of it, aligned to kAlignment
  Threads* threads = nullptr;
  int32_t node = -1;
  // Experts run in parts where memory does not hold all of a step's: each call has the routing of some, in ascending
  // order. The first one begins the sums, the last one completes the output; scratch stays as it is in between.
  bool first = true, last = true;
};

// A kernel belongs to one node of one plan; run() is called by one thread at a time and spreads over call.threads.
// Operands and scratch lie in the memory of the kernel's backend; the batch is the host's.
class Kernel {
 public:
  virtual ~Kernel() = default;
  virtual std::string name() const = 0;  // what `explain` prints: "gemm/gemv q4_0 x q8 avx512_vnni"
  // Scratch for a step of at most `rows` rows on `workers` threads.
  virtual size_t scratch_bytes(int64_t rows, int workers) const {
    (void)rows, (void)workers;
    return 0;
  }
  virtual void run(const KernelCall& call) const noexcept = 0;
};

struct Offer {
  std::unique_ptr<Kernel> kernel;  // or
  std::string reason;              // why not
};

inline Offer refuse(std::string reason) { return {nullptr, std::move(reason)}; }

struct PlanOptions {
  int64_t max_rows = 512;  // the bucket: kernels may be specialised for it
  int64_t min_rows = 1;
  ActivationPrecision activations = ActivationPrecision::kAuto;
  DType key_type = DType::kF16, value_type = DType::kF16;
};

// Numbers that kernels choose by and that are measured, by kernel: "q4_0 x int8" -> from how many rows of a group it is a
// GEMM. They change the time of a result and none of its bits.
using Tuning = std::map<std::string, int>;
inline constexpr int kMostTuned = 1000;  // each is 1 to it

class Backend {
 public:
  virtual ~Backend() = default;
  virtual std::string name() const = 0;    // "simd"
  virtual std::string target() const = 0;  // "avx512_vnni", "eigen"
  virtual Offer prepare(const Graph& graph, const Node& node, const PlanOptions& options) const = 0;
  // Before prepare(): takes from `tuning` what the graph's kernels choose by; what is absent there is measured, and added,
  // until `seconds` have passed.
  virtual void tune(const Graph& graph, const PlanOptions& options, double seconds, Tuning& tuning) {
    (void)graph, (void)options, (void)seconds, (void)tuning;
  }
  // What is in force for the graph's kernels, measured or not.
  virtual Tuning tuning(const Graph& graph, const PlanOptions& options) const {
    (void)graph, (void)options;
    return {};
  }
  virtual Memory* memory() const { return nullptr; }  // null: the host's; it lives as long as the backend
};

}  // namespace moiety
