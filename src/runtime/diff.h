// diff: two models over the same weights (other backends, another SIMD level), node by node on the same tokens.
// Each node of the right model is fed the left model's values, so an error shows at the node that makes it and nowhere
// behind it; a second, free run compares the logits from end to end.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "runtime/scheduler.h"

namespace moiety {

struct DiffOptions {
  // Largest |right - left| of a node that passes, as a share of its largest |left|. 0: 1e-4 where activations are f32,
  // 5e-2 where one side rounds them.
  double tolerance = 0;
  double route_margin = 1e-5;  // a flipped route passes if its logits are closer than this share of the largest
  // Changes an output of the right model before it is compared; tests plant errors with it.
  std::function<void(const Graph&, int32_t node, const Operand& output)> tamper;
};

struct NodeDiff {
  std::string name, op, left, right;  // kernels: "simd: gemv q4_0"
  double error = 0;                   // max |right - left| / max |left|; NaN if anything is not finite on one side
  double nmse = 0;
  int64_t position = -1, column = -1;  // of the worst element
  float left_value = 0, right_value = 0;
  int flips = 0;        // routes with another set of experts
  bool beyond = false;  // of the tolerances
};

struct RouteFlip {
  std::string node;
  int position = 0;
  std::vector<int> left, right;  // the experts that only one side chose
  double margin = 0;             // largest gap between an exchanged pair's left logits / largest |logit|
};

struct DiffReport {
  std::vector<NodeDiff> nodes;  // in execution order; those without an output (kv_store) are left out
  int first_divergence = -1;    // index into nodes; -1: none beyond the tolerances
  std::vector<RouteFlip> flips;
  double logits_error = 0;  // of the free run: max |right - left| / max |left|
  double mean_kl = 0;       // of right's distribution from left's, nats
  double same_top = 0;      // share of positions with the same best token
  double tolerance = 0;     // the one that was used
};

// Throws Error kInvalidArgument if the graphs differ or the tokens do not fit.
DiffReport diff_models(const Model& left, const Model& right, std::span<const int32_t> tokens,
                       const DiffOptions& options = {}, const CancelToken* cancel = nullptr);

}  // namespace moiety
