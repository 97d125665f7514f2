// What gates do, told from outside: an observer of the executor that sees logits and routings as they pass.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "graph/plan.h"

namespace moiety {

// The means that fairseq prints (fairseq_criterion.py, moe_logging_keys) of a gate and a gating group, or over many.
// Percentages are of the group's rows, pads too; top and bottom are the most and least chosen fifth of the experts.
struct GateStatistics {
  double overflow[2] = {};        // percentage of the first and second choices that were dropped
  double entropy = 0;             // of the gate's softmax, nats
  double balance_top[2] = {}, balance_bottom[2] = {};  // percentage of the choices that went there
  double unused[2] = {};          // experts that nobody chose
  double gate_loss = 0;  // E² * mean over experts of (mean gate * share of first choices): 1 when balanced
};

// One gate and one gating group. Arrays are [rows, k], a row's best choice first.
struct GateTrace {
  std::string node;      // "layers.1.route"
  int64_t rows = 0;
  int experts = 0, top_k = 0;
  int64_t capacity = 0;  // INT64_MAX: none
  const float* logits = nullptr;  // [rows, experts], valid during the call
  std::vector<int32_t> expert;    // what was chosen, dropped or not; -1: the row failed
  std::vector<int32_t> location;  // place in the expert's queue; -1: a masked pad, or taken by chance
  std::vector<float> weight;      // 0 where dropped
  std::vector<uint8_t> kept;
  GateStatistics statistics;
};

// Watches the gates that are plain top k of a softmax; other routes are passed over. Rows that a gate does not see (the
// last layer's, where no logits are wanted and GateOptions::every_row is off) are in no figure.
class GateTelemetry {
 public:
  using Sink = std::function<void(const GateTrace&)>;
  explicit GateTelemetry(Sink sink = {}) : sink_(std::move(sink)) {}

  // For the scheduler (or executor) that runs `batch`; both must outlive it.
  Observer observer(const Batch& batch);

  // Means over gates, then over groups; gate_loss is the sum over gates, its mean over groups weighed by their tokens.
  GateStatistics mean() const;
  int64_t groups() const { return groups_; }
  void clear() { *this = GateTelemetry(std::move(sink_)); }

 private:
  void observe(const Graph& graph, int32_t node, const Operand& output, const Batch& batch);
  void add(const GateTrace& trace, int64_t tokens, bool first_gate);

  Sink sink_;
  std::vector<float> logits_;  // of the node that feeds the next route
  int32_t logits_node_ = -1, first_route_ = -1;
  GateStatistics sums_;
  int64_t traces_ = 0, groups_ = 0;
  double tokens_ = 0, loss_ = 0;  // loss_: weighed by tokens
};

}  // namespace moiety
