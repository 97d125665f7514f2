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

// Calls body(entry, entries) for a group's entries, as many together as there is room for `count` outputs of each.
template <class Body>
inline void for_entries(const Step::Group& group, int64_t count, const Body& body) noexcept {
  const auto most = static_cast<int32_t>(std::clamp<int64_t>(kFewOutputs / count, 1, kTileTokens));
  for (int32_t done = 0; done < group.count; done += most)
    body(group.first + done, std::min(most, group.count - done));
}

// Calls body(first tile, first entry, tokens, span) for a group's tiles, as many together as kManyOutputs has room for:
// the outputs of 4 panels, or of one if the tokens are many.
template <class Body>
inline void for_batches(const Step::Group& group, const Body& body) noexcept {
  constexpr int64_t kWide = kManyOutputs / kChunk / kTileTokens * kTileTokens;
  const int64_t span = group.count <= kWide ? kChunk : kPanelRows;
  const auto most = static_cast<int32_t>(kManyOutputs / span / kTileTokens * kTileTokens);
  for (int32_t done = 0; done < group.count; done += most)
    body(group.tile + done / kTileTokens, group.first + done, std::min(most, group.count - done), span);
}

}  // namespace moiety::simd
