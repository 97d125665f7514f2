// What the ways through a tile of attention share (rows_attention.cpp): the scratch and the cache's rows.
#pragma once

#include "simd/rows-inl.h"
#include "simd/rows_parts.h"

namespace moiety::simd::MOIETY_LEVEL {

inline constexpr int64_t kTile = kAttentionTile;
inline constexpr int64_t kStackFloats = 1024;  // of partial sums
inline constexpr float kMinusInf = -__builtin_inff();

HWY_INLINE int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
HWY_INLINE int64_t greatest(int64_t a, int64_t b) { return a > b ? a : b; }

// Queries [first, last) see positions [begin, end) of a tile.
struct Seen {
  int64_t first, last, begin, end;
};

// The block's scratch. padded: head_dim rounded up to 16; what is past head_dim is 0. stride: the queries and some
// absent ones that fill a vector.
struct Work {
  const AttentionBlock& block;
  int64_t queries, padded, chunks, stride;
  float* q;               // [queries][padded]; of a shared tile [padded in lane order][stride]
  float* sums;            // [queries][padded]
  float* rows;            // [kTile][padded], keys or values of a tile
  float* logits;          // [queries][kTile], of a shared tile [kTile][stride]; then the exponentials
  float *most, *total;    // [stride] running maximum and sum of exponentials
  int32_t *begin, *end;   // [stride] the positions of the tile that a query sees, ascending; end <= begin: none
  float* stack;

  // Room for vectors of queries: whole lines, an odd number of them, so that what is so far apart lies in different
  // sets of the caches.
  static int64_t stride_of(int64_t queries) { return (queries + 31) / 32 * 32 + 16; }
  static int64_t floats(int64_t queries, int64_t head_dim) {
    const int64_t padded = (head_dim + 15) / 16 * 16, stride = stride_of(queries);
    return stride * (padded + kTile + 4) + queries * padded + kTile * padded + kStackFloats;
  }
  explicit Work(const AttentionBlock& b) : block(b) {
    queries = int64_t{b.rows} * b.heads;
    padded = (b.head_dim + 15) / 16 * 16;
    chunks = padded / 16;
    stride = stride_of(queries);
    float* at = b.scratch;
    q = at, at += stride * padded;
    sums = at, at += queries * padded;
    rows = at, at += kTile * padded;
    logits = at, at += kTile * stride;
    stack = at, at += kStackFloats;
    most = at, at += stride;
    total = at, at += stride;
    begin = reinterpret_cast<int32_t*>(at), at += stride;
    end = reinterpret_cast<int32_t*>(at);
  }
  const float* query(int64_t i) const {
    return block.q + i / block.heads * block.row_stride + i % block.heads * block.head_dim;
  }
  static const uint8_t* row(const uint8_t* const* segments, int64_t bytes, int64_t position) {
    int segment = 0;
    int64_t begin = 0;
    for (int64_t end = kFirstSegment; position >= end; end *= 2) begin = end, ++segment;
    return segments[segment] + (position - begin) * bytes;
  }
  // Where the rows of a tile begin.
  const uint8_t* keys_of(int64_t tile) const { return row(block.key_segments, block.key_bytes, tile); }
  const uint8_t* values_of(int64_t tile) const { return row(block.value_segments, block.value_bytes, tile); }
  // The queries that see some of the tile, and what they see of it together.
  Seen seen() const {
    int64_t first = 0, last = queries;
    while (first < last && begin[first] >= end[first]) ++first;
    while (first < last && begin[last - 1] >= end[last - 1]) --last;
    return first < last ? Seen{first, last, begin[first], end[last - 1]} : Seen{0, 0, 0, 0};
  }
  // Sets begin and end.
  void look_at(int64_t tile) const {
    for (int64_t row = 0, i = 0; row < block.rows; ++row) {
      const int64_t position = block.position + row, start = block.window > 0 ? position - block.window + 1 : 0;
      const auto from = static_cast<int32_t>(least(greatest(start - tile, 0), kTile));
      const auto to = static_cast<int32_t>(greatest(least(position + 1 - tile, kTile), 0));
      for (int32_t head = 0; head < block.heads; ++head, ++i) begin[i] = from, end[i] = to;
    }
  }
};

// Chunk `chunk` of 16 values of a cache row.
HWY_INLINE Lanes load_chunk(const uint8_t* row, bool f16, int64_t chunk, int64_t head_dim) {
  const int64_t left = head_dim - 16 * chunk;
  if (left >= 16)
    return f16 ? load_f16(row + 32 * chunk) : load_lanes(reinterpret_cast<const float*>(row) + 16 * chunk);
  HWY_ALIGN uint8_t copy[64] = {};
  const size_t size = f16 ? 2 : 4;
  __builtin_memcpy(copy, row + 16 * static_cast<size_t>(chunk) * size, static_cast<size_t>(left) * size);
  return f16 ? load_f16(copy) : load_lanes(reinterpret_cast<const float*>(copy));
}

// Rows of a tile, those that somebody sees, become floats; others of a group of four 0. Keys and values take turns in
// one place that stays in the L1 cache.
inline void unpack_rows(const Work& w, const uint8_t* from, int64_t bytes, bool f16, const Seen& seen) noexcept {
  const int64_t whole = f16 ? w.block.head_dim / 16 : 0;
  for (int64_t p = seen.begin / 4 * 4; p < (seen.end + 3) / 4 * 4; ++p) {
    const uint8_t* row = from + p * bytes;
    float* to = w.rows + p * w.padded;
    const bool absent = p < seen.begin || p >= seen.end;
    for (int64_t c = 0; absent && c < w.chunks; ++c) store_lanes(lanes_of(0), to + 16 * c);
    if (absent) continue;
    for (int64_t c = 0; c < whole; ++c) store_lanes(load_f16(row + 32 * c), to + 16 * c);
    for (int64_t c = whole; c < w.chunks; ++c) store_lanes(load_chunk(row, f16, c, w.block.head_dim), to + 16 * c);
  }
}
inline void unpack_keys(const Work& w, int64_t tile, const Seen& seen) noexcept {
  unpack_rows(w, w.keys_of(tile), w.block.key_bytes, w.block.keys_f16, seen);
}
inline void unpack_values(const Work& w, int64_t tile, const Seen& seen) noexcept {
  unpack_rows(w, w.values_of(tile), w.block.value_bytes, w.block.values_f16, seen);
}

// Logits from dots: scaled, and the softcap.
HWY_INLINE RowVec capped(const AttentionBlock& b, RowVec logit) {
  const RowVec v = hn::Mul(logit, set(b.scale));
  return b.softcap > 0 ? hn::Mul(tanh_row(hn::Div(v, set(b.softcap))), set(b.softcap)) : v;
}

}  // namespace moiety::simd::MOIETY_LEVEL
