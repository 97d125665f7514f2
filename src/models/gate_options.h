// GateOptions: how the gates of fairseq's MoE models are run. What these choose is said at Route in graph/ops.h.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "graph/ops.h"

namespace moiety {

enum class SecondExpert : uint8_t { kAll, kRandom, kSampling };  // fairseq's moe_second_expert_policy

struct GateOptions {
  Capacity capacity = Capacity::kNone;  // kNone: nodrop; kTwiceMean: as in training; kFraction
  double fraction = 0;                  // of the group's rows, for kFraction
  SecondExpert second = SecondExpert::kAll;
  std::optional<bool> normalise_before;  // the weights before dropping; absent: as the model's configuration says
  bool batch_prioritised = false;        // the best gates take their places first
  bool pad_mask = false;                 // pads take no places
  uint64_t seed = 0;                     // of kRandom and kSampling
  bool every_row = false;                // gates see the rows, too, after which nobody wants logits: for telemetry

  // True if routes can differ from plain top 2 of each row.
  bool changes_routes() const { return capacity != Capacity::kNone || second != SecondExpert::kAll || pad_mask; }
};

// "nodrop", "train" or "frac=0.05" into capacity and fraction; "all", "random" or "sampling" into second. A fraction of
// 1 or more can't drop and is nodrop. "before" or "after" into normalise_before. All throw Error kInvalidArgument.
void parse_gate(std::string_view text, GateOptions& options);
void parse_second_expert(std::string_view text, GateOptions& options);
void parse_normalise(std::string_view text, GateOptions& options);

std::string describe(const GateOptions& options);  // "frac=0.05, second expert all, ..." for people

}  // namespace moiety
