// What a model holds and what a token costs, by the part of the model, counted over its graph (node_cost in graph.h).
#pragma once

#include <array>
#include <vector>

#include "graph/graph.h"

namespace moiety {

enum class CostClass : uint8_t { kAttention, kFfn, kExperts, kRouter, kHead, kEmbedding, kNorms, kOther };
inline constexpr size_t kCostClasses = 8;
const char* cost_class_name(CostClass part);  // "attention", "dense ffn", ..

// The part that each node belongs to: an op of its own (experts, route, norms), or what a linear layer feeds.
std::vector<CostClass> cost_classes(const Graph& graph);

struct PartCost {
  double parameters = 0;      // a tensor that two nodes share counts once, with the first: a tied head has none
  double active = 0;          // of those, what one token uses: k of E experts; of an embedding that is no head, a row
  double stored_bytes = 0;    // of the parameters
  double bytes = 0, flops = 0;  // that one token reads and computes
  PartCost& operator+=(const PartCost& other);
};

struct ModelCost {
  std::array<PartCost, kCostClasses> parts;
  PartCost total;
  const PartCost& operator[](CostClass part) const { return parts[static_cast<size_t>(part)]; }
};

// One token after `context` tokens.
ModelCost model_cost(const Graph& graph, int64_t context);

// Floating-point operations of training on one token in sequences of `context` tokens, by the rule of Narayanan et al.
// (arXiv 2104.04473) that Artetxe et al. (arXiv 2112.10684) use: the products of a layer are done four times (forward,
// again for checkpointing, twice backward), those of the head three times; routers, norms and biases do not count.
// vocabulary: rows of the head that count, 0: all.
// The table of Artetxe et al. comes out with any vocabulary from 49,891 to 50,211, not with the 51,200 rows of their
// matrices (0.37 ZFLOPs for 0.36, 17.13 for 17.12, 32.68 for 32.67).
inline constexpr int64_t kPaperVocabulary = 50000;
double training_flops(const Graph& graph, int64_t context, int64_t vocabulary = 0);

}  // namespace moiety
