// A step of the experts: its groups, and how its work is cut into tasks.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "simd/kernels.h"
#include "simd/matmul.h"

namespace moiety::simd {

// Outputs that are activated or combined together: 4 panels. A task has more, as each jump to another place of the
// weights costs time, if each worker still has `share` of them.
inline constexpr int64_t kChunk = 64, kMostChunk = 512;
inline constexpr int64_t kFewOutputs = 4 * kMostChunk;  // floats: outputs of a few tokens
inline constexpr int64_t kManyOutputs = 8 * kMostChunk;  // floats: the same of a group's tiles
inline int64_t task_chunk(int64_t outputs, int64_t groups, int workers, int64_t share, int64_t most) {
  most = std::clamp<int64_t>(outputs * groups / (share * workers), kChunk, most);
  const int64_t pieces = (outputs + most - 1) / most;
  return (outputs + pieces * kPanelRows - 1) / (pieces * kPanelRows) * kPanelRows;
}

// One step's groups and where their data lies in the scratch.
struct Step {
  struct Group {
    int32_t expert, first, count;  // entries [first, first + count) of the routing
    int32_t tile;                  // its first packed tile; -1: too small, it runs as GEMVs
    // Its tiles, or all of it.
    int32_t parts() const { return tile < 0 ? 1 : (count + kTileTokens - 1) / kTileTokens; }
    int32_t count_of(int32_t part) const {
      return tile < 0 ? count : std::min(kTileTokens, count - part * kTileTokens);
    }
  };
  // How far a group's hidden rows are: tasks that still write them, parts that somebody has begun to prepare, prepared.
  struct Progress {
    std::atomic<int32_t> writing, begun, prepared;
  };
  std::byte *prepared[kForms], *tiles[kForms];                // of x: rows, then tiles of the groups
  std::byte *hidden_prepared[kForms], *hidden_tiles[kForms];  // of hidden, a row for each entry
  float* hidden;                                              // [n, F]
  std::byte* panels;
  Group* groups;
  Progress* progress;
  int64_t group_count, tile_count;
};

}  // namespace moiety::simd
