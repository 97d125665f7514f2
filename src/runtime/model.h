// Model: weights, graph, plans, threads. Immutable after construction, shared by any number of sessions and schedulers.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "graph/plan.h"
#include "models/registry.h"
#include "runtime/memory_budget.h"

namespace moiety {

class Tokenizer;

struct ModelOptions {
  std::vector<std::string> backends{};  // in order, the first must run something; empty: the default list
  std::string vocabulary{};             // a folder with a fairseq model's dict.txt, encoder.json, vocab.bpe; may be empty
  std::string simd{};                   // a SIMD level's name; empty: the best that the CPU has
  std::string thread_pool = "team";
  int threads = 0;         // 0: default_threads()
  int context = 0;         // tokens of a session; 0: the model's own (LongRoPE: its original one)
  int64_t max_rows = 512;  // rows of one step (-ub)
  ActivationPrecision activations = ActivationPrecision::kAuto;
  std::optional<DType> key_type{}, value_type{};  // f32 or f16; absent: f16, f32 when activations are f32
  GateOptions gate{};
  // Bytes below which the resident memory of the process stays while one session runs, what it holds already included
  // (runtime/memory_budget.h); 0: no limit, weights are used where they are mapped.
  uint64_t ram = 0;
  // Where the times of kernels that were measured on this CPU are kept (runtime/tune_file.h); empty: nothing is measured,
  // and kernels are chosen by numbers that are usual. Under a budget what is known is used and nothing is measured.
  std::filesystem::path tune_file{};
  bool plan_only = false;  // to ask for memory() only: nothing of the weights is read, and no step may run
  // Told what part of the load is done, 0 to 1; false cancels it (Error kCancelled). May be empty.
  std::function<bool(float)> progress{};
  const CancelToken* cancel = nullptr;
};

// What a loader has read of a model before any backend is asked.
struct ModelSource {
  Config config;
  WeightStore store;
  std::shared_ptr<const Tokenizer> tokenizer;  // may be absent
  std::string name;                            // file or folder name
  std::string format;                          // "safetensors", "gguf"
  std::vector<std::string> warnings;
};

struct MemoryUse {
  size_t mapped = 0, copied = 0, repacked = 0;  // weights
  size_t expert_cache = 0;                      // under a budget: what holds experts; 0: no budget
  size_t kv_session = 0;                        // reserved for each session; pages are touched on use
  size_t arena = 0;                             // of each scheduler
};

struct ExplainRow {
  std::string node, op, backend, kernel;
  std::string refusals;  // of the backends asked before
  double weight_bytes = 0, flops = 0;
};

// From how many rows of a group on a kernel is a GEMM.
struct TunedRow {
  std::string backend, kernel;
  int rows = 0;
  bool measured = false;
};

class Model {
 public:
  // Throws Error: a bad option, a missing or misshapen tensor, a node that no backend runs.
  Model(ModelSource source, std::vector<std::unique_ptr<Backend>> backends, const ModelOptions& options);
  ~Model();
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;

  const Config& config() const { return source_.config; }
  const WeightStore& store() const { return source_.store; }
  const Graph& graph() const { return graph_; }
  const std::shared_ptr<const Tokenizer>& tokenizer() const { return source_.tokenizer; }  // null if it has none
  const std::vector<int32_t>& stop_ids() const { return source_.config.stop_ids; }         // each ends a text
  const std::string& name() const { return source_.name; }
  const std::string& format() const { return source_.format; }
  const std::vector<std::string>& warnings() const { return source_.warnings; }
  int context() const { return context_; }
  int64_t max_rows() const { return max_rows_; }
  // True if what is submitted together has to run in one step: gates with capacities look at all of it.
  bool whole_groups() const { return whole_groups_; }
  const PlanOptions& plan_options() const { return plan_options_; }
  Threads& threads() const { return *threads_; }
  std::vector<const Backend*> backends() const;

  // The plan of the smallest bucket that holds `rows` rows (at most max_rows()).
  const Plan& plan(int64_t rows) const;
  // Steps of one model run one at a time: the pool and the kernels are shared. Schedulers hold this while they run one.
  std::mutex& step_mutex() const { return step_mutex_; }

  MemoryUse memory() const;
  const ExpertCache* expert_cache() const { return expert_cache_.get(); }  // null: no budget, or no experts
  std::map<std::string, size_t> bytes_by_type() const;  // "q4_0" -> bytes of weights
  int64_t parameters() const;                           // values of all weights
  int64_t active_parameters() const;                    // of those that one token uses (graph/cost.h)
  // What a step of `tokens` rows at context length `context` runs, node by node.
  std::vector<ExplainRow> explain(int64_t tokens, int64_t context) const;
  std::vector<TunedRow> tuning() const;
  // Lines for people: SIMD target, threads, backends, types, memory by class.
  std::string effective_configuration() const;

 private:
  void expect_used(const Backend& backend) const;
  void tune(const ModelOptions& options);

  ModelSource source_;
  std::unique_ptr<MemoryBudget> budget_;  // null: no limit
  Banks banks_;
  std::unique_ptr<ExpertCache> expert_cache_;
  std::vector<std::unique_ptr<Backend>> backends_;
  std::unique_ptr<Threads> threads_;
  int context_ = 0;
  int64_t max_rows_ = 0;
  bool whole_groups_ = false;
  std::string gate_;  // the gate's options for people; empty: it has none
  PlanOptions plan_options_;
  std::map<const Backend*, Tuning> measured_;
  Graph graph_;
  std::vector<std::unique_ptr<Plan>> plans_;  // buckets ascending
  mutable std::mutex step_mutex_;
};

}  // namespace moiety
