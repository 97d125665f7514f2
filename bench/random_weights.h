// Random weights for measuring speed: they repeat a pool of random blocks of each type. The embeddings are scaled up,
// as otherwise the routing of random weights collapses on few experts and prefill looks faster than it is.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <random>
#include <span>
#include <vector>

#include "core/dtype.h"

namespace moiety::bench {

enum class Fill : uint8_t { kOnes, kSmall, kEmbedding };

// The same weights from the same calls, in every run.
class RandomWeights {
 public:
  // Gives `count` values of the type to `put`, in pieces. kOnes: of a type that core/blocks.h encodes.
  void write(DType type, Fill fill, int64_t count, const std::function<void(std::span<const std::byte>)>& put);

 private:
  std::map<std::pair<DType, Fill>, std::vector<std::byte>> pool_;
  std::mt19937 rng_{20260923};
};

}  // namespace moiety::bench
