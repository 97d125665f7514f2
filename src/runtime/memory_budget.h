// A memory budget: the resident memory of the process stays below it while one session runs. Weights that every token
// uses are read into memory, experts share what is left (weights/expert_cache.h); nothing of a mapping stays resident.
#pragma once

#include <memory>
#include <unordered_map>
#include <vector>

#include "models/registry.h"
#include "weights/expert_cache.h"

namespace moiety {

class MemoryBudget {
 public:
  // Counts what the process holds now. The files' pages are given back before.
  MemoryBudget(uint64_t bytes, const WeightStore& store);

  // Reads the weights outside of expert banks and lets the graph's ops point to the copies, which live as long as this.
  // With plan_only they are counted, not read. Throws Error kOutOfMemory where they alone exceed the budget.
  void hold_dense_weights(Graph& graph, bool plan_only);

  // The cache for what the rest of the budget holds, or null without experts. Throws Error kOutOfMemory saying where the
  // budget goes if that is less than an expert.
  std::unique_ptr<ExpertCache> expert_cache(Banks& banks, size_t session_bytes, size_t arena_bytes) const;

  uint64_t bytes() const { return bytes_; }
  size_t dense_bytes() const { return dense_bytes_; }

 private:
  [[noreturn]] void too_small(size_t session_bytes, size_t arena_bytes, size_t expert_bytes) const;
  uint64_t bytes_;
  const WeightStore& store_;
  size_t held_ = 0;  // by the process at the start
  size_t dense_bytes_ = 0;
  std::vector<Buffer> copies_;
};

}  // namespace moiety
