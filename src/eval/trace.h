// Traces: which experts each token of a text was sent to, in every layer that has a router, captured by the executor's
// observer while the text runs.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "eval/journal.h"
#include "runtime/scheduler.h"

namespace moiety::eval {

struct TracedLayer {
  std::string name;  // "layers.3"
  int experts = 0, top_k = 0;
  uint64_t expert_bytes = 0;  // weights of one expert, the largest
};

// Tokens in the order they ran.
struct Trace {
  std::vector<TracedLayer> layers;
  std::vector<std::string> domains;
  std::vector<int32_t> domain;   // [tokens]
  std::vector<int32_t> experts;  // [tokens, slots()]: layer by layer, best choice first; -1: dropped
  size_t slots() const;          // choices of a token over all layers
  size_t tokens() const { return domain.size(); }
  std::span<const int32_t> choices(size_t token) const { return std::span(experts).subspan(token * slots(), slots()); }
};

// One token as it is seen, before it is forgotten: weights[slots()] beside its experts.
struct TokenRoutes {
  size_t domain = 0;
  int position = 0;
  int32_t id = 0;
  std::span<const int32_t> experts;
  std::span<const float> weights;
};
using RoutesSink = std::function<void(const TokenRoutes&)>;

class Tracer {
 public:
  // Throws Error kUnsupported if the model has no routers.
  explicit Tracer(const Model& model);

  // Finished blocks are kept in the journal, and those that are in it already are not run again: the same calls of
  // run() give the same trace, and their sinks the same tokens. It must outlive the tracer.
  void set_journal(Journal& journal) { journal_ = &journal; }
  // One more observer of what runs; batch() is for it.
  void set_observer(Observer observer) { also_ = std::move(observer); }
  const Batch& batch() const { return scheduler_.batch(); }

  // Runs a text in blocks of at most `block` tokens, each from an empty session, and adds its routes to trace().
  // `done` is called after each step with the tokens that ran. Throws what Scheduler throws, and Error kFormat for a
  // broken journal; whole steps are kept.
  void run(std::span<const int32_t> ids, const std::string& domain, size_t block, const RoutesSink& sink = {},
           const std::function<void(size_t)>& done = {}, const CancelToken* cancel = nullptr);
  const Trace& trace() const { return trace_; }

 private:
  using Tokens = std::span<const int32_t>;
  void observe(int32_t node, const Operand& output);
  void run_block(Tokens text, size_t domain, size_t begin, const RoutesSink& sink,
                 const std::function<void(size_t)>& done, const CancelToken* cancel);
  void take(Tokens text, size_t domain, size_t begin, const RoutesSink& sink);
  std::vector<double> packed(size_t first, bool weights) const;
  void unpack(const std::vector<double>& piece, size_t tokens, bool weights, const std::string& key);

  const Model& model_;
  Session session_;
  Scheduler scheduler_;
  Trace trace_;
  std::vector<int> layer_of_;          // of a node; -1: no router
  std::vector<size_t> first_slot_;     // of a layer
  std::vector<int32_t> step_experts_;  // [rows of the step, slots]
  std::vector<float> step_weights_;
  Journal* journal_ = nullptr;
  size_t blocks_ = 0;                 // that run() has begun: their keys in the journal
  std::vector<float> block_weights_;  // for the journal, if a sink wants weights
  Observer also_;
};

}  // namespace moiety::eval
