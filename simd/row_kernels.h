// The row kernels of one SIMD level: everything but matrix products. A call computes one row (or one head's block of
// queries) and each result depends on that row alone, so rows may be spread and batched freely. Sums have 16 lanes,
// element i in lane i % 16, then a fixed tree, halves first. Pointers need no alignment but where it is said.
#pragma once

#include <cstddef>
#include <cstdint>

namespace moiety::simd {

enum class RowActivation : uint8_t { kSilu, kGelu, kGeluTanh, kRelu, kSwigluOai };

inline constexpr int64_t kFirstSegment = 512;  // of KvCache: [0, 512), [512, 1024), [1024, 2048) and so on
inline constexpr int kMaxSegments = 24;

// Queries of one kv head: `rows` consecutive positions of one session times the `heads` query heads that read it.
struct AttentionBlock {
  const float* q;          // query (row, head) at q + row * row_stride + head * head_dim
  float* y;                // the same places
  int64_t row_stride;
  int32_t rows, heads, head_dim;
  // Position p, in segment s = bit_width(p / kFirstSegment), at key_segments[s] + (p - the segment's begin) * key_bytes.
  const uint8_t *key_segments[kMaxSegments], *value_segments[kMaxSegments];
  int64_t key_bytes, value_bytes;
  bool keys_f16, values_f16;
  int64_t position;        // of the first row
  float scale, softcap;    // softcap 0: none
  int64_t window;          // 0: none
  const float* sinks;      // [heads] or null
  float* scratch;          // attention_floats(rows * heads, head_dim), aligned to 64 bytes
};
inline constexpr int64_t kAttentionTile = 32;  // positions
inline constexpr int64_t kMaxQueries = 512;    // rows * heads of a block

struct RowKernels {
  // y = x / sqrt(mean(x²) + eps) * weight
  void (*rms_norm)(const float* x, const float* weight, float eps, int64_t cols, float* y) noexcept;
  // y = (x - mean) / sqrt(var + eps) * weight + bias; bias may be null
  void (*layer_norm)(const float* x, const float* weight, const float* bias, float eps, int64_t cols,
                     float* y) noexcept;
  void (*scale)(const float* x, float factor, int64_t count, float* y) noexcept;
  void (*clamp)(const float* x, float limit, int64_t count, float* y) noexcept;
  void (*add)(const float* a, const float* b, float scale, int64_t count, float* y) noexcept;  // a + scale * b
  void (*act)(RowActivation kind, const float* x, int64_t count, float* y) noexcept;
  void (*glu)(RowActivation kind, float limit, float alpha, const float* gate, const float* up, int64_t count,
              float* y) noexcept;
  // cosines and sines, times magnitude, of position * frequencies[i], i < pairs. All three arrays have room for
  // padded_pairs(pairs) values.
  void (*rope_table)(double position, const double* frequencies, double magnitude, int64_t pairs, float* cosines,
                     float* sines) noexcept;
  // Rotates one head; pairs (i, i + pairs), or (2i, 2i + 1) when interleaved; the rest is copied.
  void (*rope)(const float* x, const float* cosines, const float* sines, int64_t pairs, bool interleaved,
               int64_t head_dim, float* y) noexcept;
  void (*softmax)(const float* x, int64_t count, float* y) noexcept;
  void (*sigmoid)(const float* x, int64_t count, float* y) noexcept;
  void (*to_f16)(const float* x, int64_t count, uint16_t* y) noexcept;  // to nearest even
  // y = x + bias (or null) for rows that lie so many floats apart; x and its rows are aligned to 64 bytes. past_caches:
  // y goes to memory where alignment permits, as more is written than the caches hold; visible to all at return.
  void (*put_rows)(const float* x, int64_t x_stride, const float* bias, int64_t rows, int64_t cols, bool past_caches,
                   float* y, int64_t y_stride) noexcept;
  void (*attention)(const AttentionBlock& block) noexcept;
  int64_t (*attention_floats)(int64_t queries, int64_t head_dim) noexcept;  // of scratch
};

constexpr int64_t padded_pairs(int64_t pairs) { return (pairs + 7) / 8 * 8; }

}  // namespace moiety::simd
