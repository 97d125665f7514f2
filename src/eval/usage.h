// What a trace says about the use of the experts: loads, their entropy, who is chosen together, how soon an expert
// comes back, how domains differ.
#pragma once

#include <vector>

#include "eval/trace.h"

namespace moiety::eval {

struct LayerUsage {
  std::vector<uint64_t> count;                   // [E] choices
  std::vector<std::vector<uint64_t>> by_domain;  // [domains][E]
  uint64_t choices = 0, dropped = 0;
  double entropy = 0;  // of the loads, a share of log E: 1 is balanced
  int unused = 0;      // experts that nobody chose
  // Tokens that chose both of two experts: [E, E], symmetric, the diagonal is 0.
  std::vector<uint64_t> together;
  // Other experts of the layer that were used since this one's last use: reuse[d] accesses came back after d others;
  // first_uses came for the first time. An LRU cache of n experts of the layer has sum(reuse[0..n)) hits.
  std::vector<uint64_t> reuse;
  uint64_t first_uses = 0;
  double mean_reuse() const;  // of those that came back; 0 if none did
  // Jensen-Shannon divergence of each domain's loads from those of all others, in bits, 0 to 1; empty for one domain.
  std::vector<double> domain_divergence;
};

std::vector<LayerUsage> expert_usage(const Trace& trace);

// Of two loads, in bits: 0 where they are alike, 1 where they share no expert, 0 if one is empty.
double jensen_shannon(const std::vector<uint64_t>& a, const std::vector<uint64_t>& b);

}  // namespace moiety::eval
