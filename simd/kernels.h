// The kernels of one SIMD level, as a table. Kernels take raw pointers, are noexcept and allocate nothing.
//
// Written order of additions: an output is the sum of L lanes, each a chain of fused multiply-adds in ascending order;
// at its end a fixed tree adds the lanes, halves first: ((0+4)+(2+6)) + ((1+5)+(3+7)).
//   quantised weights x int8: L = 8, an item is a block of 32: block b goes to lane b % 8. Its sum is an exact int32.
//   float weights:            L = 16, an item is one k (bf16 dot products: a pair of k), k goes to lane k % 16.
// A GEMV holds the lanes in a vector. A GEMM holds one sum an output, and so visits the items lane by lane, in the
// bit-reversed order of lanes that lets a small stack of partial sums follow the tree. Both give the same bits.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/dtype.h"
#include "core/tensor.h"
#include "simd/row_kernels.h"

namespace moiety::simd {

using moiety::kPanelRows;               // weight rows that a GEMM works on together
inline constexpr int kTileTokens = 12;  // tokens of a packed activation tile

// One row quantised to int8, a scale for each block of 32: x[k] ~ scale * code. Padded with zeros to whole groups of 8
// blocks, P of them; in a group lie first the first 16 codes of each block, then the last 16 (int8_place).
struct Int8Row {
  const int8_t* codes;  // [P/8][2][8][16]
  const float* scales;  // [P]
  const int32_t* sums;  // [2][P], of each block's first 16 codes, of its last 16
};
inline constexpr int64_t int8_padded(int64_t k) { return (k + 255) / 256 * 256; }
inline constexpr int64_t int8_place(int64_t block, int half) { return block / 8 * 256 + half * 128 + block % 8 * 16; }

// A tile of up to kTileTokens rows, blocks in lane order (lane_order below). Absent tokens are zero.
struct Int8Tile {
  int64_t width;      // tile_width(tokens)
  int32_t* codes;     // [K/32][width][8]: 4 codes each
  float* scales;      // [K/32][width]
  float* block_sums;  // [K/32][width]: the sum of a block's codes times its scale
  int32_t* sums[4];   // [K/32][width]: -kSumsTimes times the sums of a block's codes, of its first and of its last 16;
                      // the latter two as they are, in 16 bits each
};
// Tiles of one width, `bytes` apart.
struct Int8Tiles {
  Int8Tile first;
  int64_t count = 1, bytes = 0;
  Int8Tile at(int64_t i) const {
    Int8Tile tile = first;
    const int64_t words = i * bytes / 4;
    tile.codes += words, tile.scales += words, tile.block_sums += words;
    for (int32_t*& sums : tile.sums) sums += words;
    return tile;
  }
};
// Tokens that a tile has room for: as many as a kernel takes at once.
constexpr int64_t tile_width(int64_t tokens) { return tokens > 8 ? 12 : tokens > 4 ? 8 : tokens > 2 ? 4 : 2; }
static_assert(tile_width(kTileTokens) == kTileTokens);
inline constexpr int kSumsTimes = 8;  // the zero point of q4_0

// Lanes of the sums: all, or those of one half of the tree of additions, as half a panel and half a tile fit the L1
// cache where the whole does not.
enum class Lanes : uint8_t { kAll, kFirst, kLast };
// Their blocks in lane order, and their places in the order of lanes.
struct LaneBlocks {
  int64_t begin, end;
  int first, last;
  constexpr LaneBlocks(Lanes lanes, int64_t blocks)
      : begin(lanes == Lanes::kLast ? (blocks + 1) / 2 : 0), end(lanes == Lanes::kFirst ? (blocks + 1) / 2 : blocks),
        first(lanes == Lanes::kLast ? 4 : 0), last(lanes == Lanes::kFirst ? 4 : 8) {}
};

// kPanelRows weight rows, unpacked, P = K/32 blocks in lane order and a spare one. What a type does not use stays
// unwritten. Halves share the memory of the codes, the first one is unpacked first: with it come the scales, of rows
// also those of the last one.
struct Int8Panel {
  uint8_t* codes;     // [blocks of `lanes` + 1][8][16 rows][4], value + zero point of the type
  float* scales;      // [P+1][16]
  float* mins;        // [P+1][16], to be subtracted times the sum of the block
  int32_t* sub;       // [P+1][2][16] integer scales of the two halves (types with groups of 16)
  int32_t* sub_mins;  // [P+1][16], those of both halves in 16 bits each
  Lanes lanes = Lanes::kAll;
};
inline constexpr size_t kPanelBlockBytes = 512 + 64 * 5;  // of an Int8Panel, a block of 32

// Where a GEMM puts its outputs: y[t * stride + r] for t < tokens <= kTileTokens and all rows of the panel; those of
// absent rows are unspecified.
struct GemmOut {
  float* y;
  int64_t stride, tokens;
};

// Bytes that the caller reads soon: a GEMM fetches them into the L2 cache while it multiplies, as the unpacking of the
// next panel would wait for memory.
struct Soon {
  const uint8_t* at = nullptr;
  int64_t bytes = 0;
  // Part i of n.
  Soon part(int64_t i, int64_t n) const { return {at + bytes * i / n, bytes * (i + 1) / n - bytes * i / n}; }
};

struct Int8Kernels {
  // y[r] = dot(row r of the weights, x) for r < rows. next: what the caller reads afterwards, to be prefetched; null:
  // what lies behind the rows; `weights`: nothing is, as the caches have them.
  void (*gemv)(const uint8_t* weights, int64_t row_bytes, int64_t rows, int64_t k, const Int8Row& x, float* y,
               const uint8_t* next) noexcept;
  // rows <= kPanelRows. Of all GEMMs: tile.width is tile_width(out.tokens). With a panel's first half they put to y, with
  // its last one they add.
  void (*unpack)(const uint8_t* weights, int64_t row_bytes, int64_t rows, int64_t k, const Int8Panel& panel) noexcept;
  void (*gemm)(const Int8Panel& panel, const Int8Tile& tile, int64_t k, const GemmOut& out, Soon soon) noexcept;
  // Both for one tile: what is unpacked of the rows stays in registers or in the L1 cache.
  void (*gemm_rows)(const uint8_t* weights, int64_t row_bytes, int64_t rows, int64_t k, const Int8Tile& tile,
                    const GemmOut& out, Soon soon) noexcept;
  int gemm_from;  // from so many tokens on gemm_rows is usually faster than GEMVs
  bool halves;    // unpack and unpack_signed know halves
  // The same for a matrix unit, whose panels hold signed codes, less the zero point; null where there is none. The GEMMs
  // stand between begin_signed, which says how wide a tile there may be besides full ones, and Kernels::end_signed.
  void (*unpack_signed)(const uint8_t* weights, int64_t row_bytes, int64_t rows, int64_t k, const Int8Panel& panel) noexcept;
  void (*begin_signed)(int64_t width) noexcept;
  void (*gemm_signed)(const Int8Panel& panel, const Int8Tiles& tiles, int64_t k, const GemmOut& out, Soon soon) noexcept;
};

// Weights in panels (core/panels.h). The bits are those of the same weights in rows.
struct PanelKernels {
  // As Int8Kernels::gemv; `panels` is where the panel of row 0 begins.
  void (*gemv)(const uint8_t* panels, int64_t rows, int64_t k, const Int8Row& x, float* y, const uint8_t* next) noexcept;
  void (*unpack)(const uint8_t* panel, int64_t k, const Int8Panel& out) noexcept;         // halves too
  void (*unpack_signed)(const uint8_t* panel, int64_t k, const Int8Panel& out) noexcept;  // or null
  // As Int8Kernels::gemm, without unpacking: for one tile.
  void (*gemm)(const uint8_t* panel, const Int8Tile& tile, int64_t k, const GemmOut& out, Soon soon) noexcept;
};

struct FloatKernels {
  // y[t * stride + r] = dot(row r of the weights, x[t]) for r < rows, t < tokens; next as in Int8Kernels::gemv.
  void (*gemv)(const uint8_t* weights, int64_t row_bytes, int64_t rows, int64_t k, const float* const* x, int64_t tokens,
               float* y, int64_t stride, const uint8_t* next) noexcept;
  // panel: f32 [K in lane order][16]
  void (*unpack)(const uint8_t* weights, int64_t row_bytes, int64_t rows, int64_t k, float* panel) noexcept;
};

struct FloatPanelKernels {
  void (*gemv)(const uint8_t* panels, int64_t rows, int64_t k, const float* x, float* y, const uint8_t* next) noexcept;
  void (*unpack)(const uint8_t* panel, int64_t k, float* out) noexcept;  // as FloatKernels::unpack
  // gemm_f32 without unpacking, for one tile; null: it does not pay.
  void (*gemm)(const uint8_t* panel, const float* tile, int64_t k, const GemmOut& out, Soon soon) noexcept;
};

// bf16 x bf16 with the CPU's dot product; null where there is none. Panels and tiles hold pairs of bf16.
struct Bf16Kernels {
  void (*round)(const float* x, int64_t k, uint16_t* y) noexcept;
  void (*gemv)(const uint8_t* weights, int64_t row_bytes, int64_t rows, int64_t k, const uint16_t* x, float* y,
               const uint8_t* next) noexcept;
  void (*unpack)(const uint8_t* weights, int64_t row_bytes, int64_t rows, int64_t k, uint32_t* panel) noexcept;
  void (*pack)(const uint16_t* const* rows, int64_t tokens, int64_t k, uint32_t* tile) noexcept;
  void (*gemm)(const uint32_t* panel, const uint32_t* tile, int64_t k, const GemmOut& out, Soon soon) noexcept;
  // Of weights in panels, which are what unpack() gives.
  void (*gemv_panels)(const uint8_t* panels, int64_t rows, int64_t k, const uint16_t* x, float* y,
                      const uint8_t* next) noexcept;
};

struct Kernels {
  const char* level;
  void (*quantise)(const float* x, int64_t k, int8_t* codes, float* scales, int32_t* sums) noexcept;
  void (*pack_int8)(const Int8Row* rows, int64_t tokens, int64_t k, const Int8Tile& tile) noexcept;
  Int8Kernels int8[kDTypeCount];  // null entries for f32, f16, bf16, i32
  void (*end_signed)() noexcept;
  PanelKernels panels[kDTypeCount];  // of the quantised types that have panels
  FloatKernels f32, f16, bf16;
  FloatPanelKernels f16_panels, bf16_panels;
  void (*pack_f32)(const float* const* rows, int64_t tokens, int64_t k, float* tile) noexcept;  // [K in lane order][12]
  void (*gemm_f32)(const float* panel, const float* tile, int64_t k, const GemmOut& out, Soon soon) noexcept;
  Bf16Kernels bf16_dot;
  RowKernels rows;
};

// Calls visit(item, position) for items 0..count-1 in the order that a GEMM adds them.
template <int kLanes, class Visit>
inline void lane_order(int64_t count, const Visit& visit) {
  int64_t position = 0;
  for (int v = 0; v < kLanes; ++v) {
    int lane = 0;
    for (int bit = 1, mirror = kLanes / 2; mirror; bit *= 2, mirror /= 2) lane |= v & bit ? mirror : 0;
    for (int64_t item = lane; item < count; item += kLanes) visit(item, position++);
  }
}

}  // namespace moiety::simd
