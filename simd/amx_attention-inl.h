// What attention on the tile unit works on (amx_attention.cpp): the scratch, and floats as sums of two bf16 in tiles.
#pragma once

#include <immintrin.h>

#include "simd/attention-inl.h"

namespace moiety::simd::MOIETY_LEVEL {

// A square is what a tile register holds, 16 rows of 16 pairs of bf16 or of 16 floats. They come in pairs, of the high
// parts and of the low ones.
inline constexpr int64_t kSide = 16, kSquareBytes = 1024, kPairBytes = 2 * kSquareBytes, kSquareFloats = 256;
inline constexpr int64_t kTogetherBytes = 256 << 10;  // of keys and as much of values, which stay in the L2 cache
inline constexpr float kLog2e = 1.44269504f;

// The scratch of a block: groups of 16 queries and some tiles of the cache. Each group goes through those tiles at once
// while it is in the L1 cache.
struct Squares {
  const AttentionBlock& block;
  int64_t queries, groups;
  int64_t steps, chunks;    // of 32 dims, of 16; those past head_dim are 0
  int64_t together;         // tiles that are there at a time
  std::byte* query_at;      // [group][step] pairs of squares [16 pairs of dims][query]
  float* sums;              // [group][chunk][query][dim]
  std::byte* keys;          // [tile][step][half] pairs of squares [position][16 pairs of dims]
  std::byte* values;        // [tile][chunk] pairs of squares [16 pairs of positions][dim]
  float* logits;            // [2][position][query], then exponentials, pairs of squares [query][16 pairs of positions]
  float *base, *total;      // [query] of the exponentials
  int32_t* positions;       // [query]

  static int64_t tiles_together(int64_t groups, int64_t steps) {
    return groups == 1 ? 2 : greatest(2, least(8, kTogetherBytes / (2 * steps * kPairBytes)));
  }
  static int64_t floats(int64_t queries, int64_t head_dim) {
    const int64_t groups = (queries + kSide - 1) / kSide, steps = (head_dim + 31) / 32;
    return groups * (1024 * steps + 48) + tiles_together(groups, steps) * 2048 * steps + 1024;
  }
  explicit Squares(const AttentionBlock& b)
      : block(b), queries(int64_t{b.rows} * b.heads), groups((queries + kSide - 1) / kSide),
        steps((int64_t{b.head_dim} + 31) / 32), chunks(2 * steps), together(tiles_together(groups, steps)) {
    float* at = b.scratch;
    const auto take = [&](int64_t count) noexcept { return at += count, at - count; };
    query_at = reinterpret_cast<std::byte*>(take(groups * steps * 512));
    sums = take(groups * steps * 512);
    keys = reinterpret_cast<std::byte*>(take(together * steps * 1024));
    values = reinterpret_cast<std::byte*>(take(together * steps * 1024));
    logits = take(1024);
    base = take(groups * kSide);
    total = take(groups * kSide);
    positions = reinterpret_cast<int32_t*>(take(groups * kSide));
  }
  std::byte* query_squares(int64_t group, int64_t step) const { return query_at + (group * steps + step) * kPairBytes; }
  const uint8_t* keys_of(int64_t tile) const { return Work::row(block.key_segments, block.key_bytes, tile); }
  const uint8_t* values_of(int64_t tile) const { return Work::row(block.value_segments, block.value_bytes, tile); }
  std::byte* key_squares(int64_t index) const { return keys + index * 2 * steps * kPairBytes; }
  std::byte* value_squares(int64_t index) const { return values + index * chunks * kPairBytes; }
  float* sums_of(int64_t group) const { return sums + group * chunks * kSquareFloats; }
  float* logits_of(int64_t turn) const { return logits + (turn & 1) * kTile * kSide; }
  const float* query(int64_t i) const {
    return block.q + i / block.heads * block.row_stride + i % block.heads * block.head_dim;
  }
};

// What queries at positions first .. last see of a tile; with first and last exchanged, what each of them sees.
struct Range {
  int64_t begin, end;
};
HWY_INLINE Range seen(const AttentionBlock& b, int64_t first, int64_t last, int64_t tile) {
  const int64_t start = b.window > 0 ? first - b.window + 1 : 0;
  return {greatest(start - tile, 0), least(last + 1 - tile, kTile)};
}

HWY_INLINE __m512 upper(__m512 x) {
  x = _mm512_castsi512_ps(_mm512_and_si512(_mm512_castps_si512(x), _mm512_set1_epi32(static_cast<int>(0xFFFF0000))));
  asm("" : "+v"(x));  // or clang makes of two of them a shuffle of words, which takes three steps
  return x;
}
// Half up. A NaN stays one unless all its upper bits are set.
HWY_INLINE __m512 rounded(__m512 x) {
  return upper(_mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(x), _mm512_set1_epi32(0x8000))));
}
// Pairs of bf16, a's first, of floats that are some.
HWY_INLINE __m512i paired(__m512 a, __m512 b) {
  return _mm512_or_si512(_mm512_castps_si512(b), _mm512_srli_epi32(_mm512_castps_si512(a), 16));
}
struct Split {
  __m512i high, low;
};
// Of f16 numbers; after one that is not finite `finite` is NaN.
HWY_INLINE Split split_exact(__m512 a, __m512 b, __m512& finite) {
  const __m512 high_a = upper(a), high_b = upper(b), low_a = _mm512_sub_ps(a, high_a), low_b = _mm512_sub_ps(b, high_b);
  finite = _mm512_add_ps(finite, _mm512_add_ps(low_a, low_b));
  return {paired(high_a, high_b), paired(low_a, low_b)};
}
HWY_INLINE Split split(__m512 a, __m512 b) {
  const __m512 high_a = rounded(a), high_b = rounded(b);
  return {paired(high_a, high_b), paired(rounded(_mm512_sub_ps(a, high_a)), rounded(_mm512_sub_ps(b, high_b)))};
}

// x[r]: [c] -> square[c]: [r].
HWY_INLINE void put_transposed(const __m512i (&x)[16], std::byte* square) {
  __m512i y[16], z[16];
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 2) {
    y[i] = _mm512_unpacklo_epi32(x[i], x[i + 1]);
    y[i + 1] = _mm512_unpackhi_epi32(x[i], x[i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {  // z[i + j]: columns j, 4 + j, 8 + j, 12 + j of rows i .. i + 3
    z[i] = _mm512_unpacklo_epi64(y[i], y[i + 2]);
    z[i + 1] = _mm512_unpackhi_epi64(y[i], y[i + 2]);
    z[i + 2] = _mm512_unpacklo_epi64(y[i + 1], y[i + 3]);
    z[i + 3] = _mm512_unpackhi_epi64(y[i + 1], y[i + 3]);
  }
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    const __m512i a = _mm512_shuffle_i32x4(z[j], z[4 + j], 0x88), b = _mm512_shuffle_i32x4(z[j], z[4 + j], 0xDD);
    const __m512i c = _mm512_shuffle_i32x4(z[8 + j], z[12 + j], 0x88);
    const __m512i d = _mm512_shuffle_i32x4(z[8 + j], z[12 + j], 0xDD);
    _mm512_store_si512(square + j * 64, _mm512_shuffle_i32x4(a, c, 0x88));
    _mm512_store_si512(square + (4 + j) * 64, _mm512_shuffle_i32x4(b, d, 0x88));
    _mm512_store_si512(square + (8 + j) * 64, _mm512_shuffle_i32x4(a, c, 0xDD));
    _mm512_store_si512(square + (12 + j) * 64, _mm512_shuffle_i32x4(b, d, 0xDD));
  }
}

HWY_INLINE __mmask16 left_of(int64_t left) {
  return static_cast<__mmask16>(left >= 16 ? 0xFFFF : left <= 0 ? 0 : (1 << left) - 1);
}

// What is computed from queries alone. Logits come out in units of log 2, or as they are where a softcap follows.
inline void begin(const Squares& w) noexcept {
  const AttentionBlock& b = w.block;
  const __m512 scale = _mm512_set1_ps(b.softcap > 0 ? b.scale : b.scale * kLog2e);
  const auto scaled = [&](__m512 x) noexcept {  // and a NaN of any payload becomes the usual one
    x = _mm512_mul_ps(x, scale);
    return _mm512_mask_mov_ps(x, _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q), _mm512_set1_ps(__builtin_nanf("")));
  };
  for (int64_t i = 0; i < w.groups * kSide; ++i) {
    const bool present = i < w.queries, sink = b.sinks && present;
    w.base[i] = sink ? b.sinks[i % b.heads] * kLog2e : kMinusInf;
    w.total[i] = sink ? 1 : 0;
    w.positions[i] = static_cast<int32_t>(present ? b.position + i / b.heads : -1);
  }
  for (int64_t i = 0; i < w.groups * w.chunks * kSide; ++i) _mm512_store_ps(w.sums + i * kSide, _mm512_setzero_ps());
  for (int64_t group = 0; group < w.groups; ++group)
    for (int64_t step = 0; step < w.steps; ++step) {
      __m512i high[16], low[16];
      const __mmask16 first = left_of(b.head_dim - 32 * step), last = left_of(b.head_dim - 32 * step - 16);
      for (int64_t i = 0; i < 16; ++i) {
        const bool present = group * kSide + i < w.queries;
        const float* row = w.query(present ? group * kSide + i : 0) + 32 * step;
        const Split s = split(scaled(_mm512_maskz_loadu_ps(first, row)), scaled(_mm512_maskz_loadu_ps(last, row + 16)));
        high[i] = s.high, low[i] = s.low;
      }
      put_transposed(high, w.query_squares(group, step));
      put_transposed(low, w.query_squares(group, step) + kSquareBytes);
    }
}

HWY_INLINE __m512 load_whole(const uint8_t* at) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(at)));
}
// The numbers of the mask. Of a row that is not there nothing is asked: where no page is yet, the CPU takes its time to
// find out that nothing was to be read (attention of a first token: 40 us against 17).
HWY_INLINE __m512 load_part(const uint8_t* at, __mmask16 mask) {
  return mask ? _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask, at)) : _mm512_setzero_ps();
}

HWY_INLINE void put(const Split& s, std::byte* squares, int64_t row) {
  _mm512_store_si512(squares + row * 64, s.high);
  _mm512_store_si512(squares + kSquareBytes + row * 64, s.low);
}

// Lines of the tile after next, in the order in which they lie. The caches' own fetching sees no stream in the reads,
// 16 rows of a step at a time (with this 66 % of the read bandwidth; without, or in the reads' order, 33 and 47).
HWY_INLINE void fetch_ahead(const uint8_t* tile, int64_t row_bytes, int64_t line) {
  const uintptr_t at = reinterpret_cast<uintptr_t>(tile) + static_cast<uintptr_t>(2 * kTile * row_bytes + 64 * line);
  __builtin_prefetch(reinterpret_cast<const void*>(at), 0, 2);
}

// Positions 16 * half .. of a tile that begins at `tile`, dims 32 * step ..: a pair of squares; those out of the range
// are 0. between() follows each of 16 parts.
template <class Between>
HWY_INLINE void put_keys(const Squares& w, const uint8_t* tile, int64_t half, int64_t step, const Range& range,
                         std::byte* to, const Between& between) {
  const int64_t bytes = w.block.key_bytes, left = w.block.head_dim - 32 * step, begin = half * kSide;
  const uint8_t* row = tile + begin * bytes + 64 * step;
  __m512 ignored = _mm512_setzero_ps();
  if (left >= 32 && range.begin <= begin && range.end >= begin + kSide) {
#pragma GCC unroll 4
    for (int p = 0; p < 16; ++p, row += bytes) {
      fetch_ahead(tile, bytes, (half * w.steps + step) * 16 + p);
      put(split_exact(load_whole(row), load_whole(row + 32), ignored), to, p);
      between();
    }
    return;
  }
  for (int64_t p = 0; p < kSide; ++p, row += bytes) {
    const bool present = begin + p >= range.begin && begin + p < range.end;
    const __m512 a = load_part(row, present ? left_of(left) : 0);
    const __m512 b = load_part(row + 32, present ? left_of(left - 16) : 0);
    put(split_exact(a, b, ignored), to, p);
    between();
  }
}

// Values of a tile, dims 16 * chunk .., in the same way. False where some are not finite.
template <class Between>
HWY_INLINE bool put_values(const Squares& w, const uint8_t* tile, int64_t chunk, const Range& range, std::byte* to,
                           const Between& between) {
  const int64_t bytes = w.block.value_bytes, left = w.block.head_dim - 16 * chunk;
  const uint8_t* row = tile + 32 * chunk;
  __m512 finite = _mm512_setzero_ps();
  if (left >= 16 && range.begin <= 0 && range.end >= kTile) {
#pragma GCC unroll 4
    for (int p = 0; p < 16; ++p, row += 2 * bytes) {
      fetch_ahead(tile, bytes, chunk * 16 + p);
      put(split_exact(load_whole(row), load_whole(row + bytes), finite), to, p);
      between();
    }
  } else {
    const __mmask16 dims = left_of(left);
    for (int64_t p = 0; p < kSide; ++p, row += 2 * bytes) {
      const bool first = 2 * p >= range.begin && 2 * p < range.end;
      const bool last = 2 * p + 1 >= range.begin && 2 * p + 1 < range.end;
      put(split_exact(load_part(row, first ? dims : 0), load_part(row + bytes, last ? dims : 0), finite), to, p);
      between();
    }
  }
  return _mm512_cmp_ps_mask(finite, finite, _CMP_UNORD_Q) == 0;
}

}  // namespace moiety::simd::MOIETY_LEVEL
