// f32, f16 and bf16 weights times f32 activations, and bf16 dot products; the order of additions is in kernels.h.
#include "core/blocks.h"
#include "simd/float-inl.h"
#include "simd/level.h"

namespace moiety::simd::MOIETY_LEVEL {
namespace {

// Some rows times kTokens of x, which share the loads of the weights as the rows share those of x.
template <class L, int kRows, int kTokens>
HWY_INLINE void row_dots(const uint8_t* const (&row)[kRows], int64_t rows, int64_t k, const float* const* x, float* y,
                         int64_t stride, Ahead& ahead, bool fetch) {
  const int64_t whole = k / 16 * 16, tail = k - whole;
  F16Lanes acc[kRows][kTokens];
  for (auto& of_row : acc)
    for (F16Lanes& lanes : of_row)
      for (V16& v : lanes.v) v = hn::Zero(d16);
  for (int64_t at = 0; at < whole; at += 16) {
    for (int p = 0; p < kParts16; ++p) {
      const int64_t part = at + p * static_cast<int64_t>(kStep);
      V16 xs[kTokens];
      for (int t = 0; t < kTokens; ++t) xs[t] = hn::LoadU(d16, x[t] + part);
      for (int i = 0; i < kRows; ++i) {
        if (fetch) ahead.fetch<static_cast<int64_t>(kStep) * L::kBytes>();
        const V16 w = L::load(row[i] + part * L::kBytes);
        for (int t = 0; t < kTokens; ++t) acc[i][t].v[p] = hn::MulAdd(w, xs[t], acc[i][t].v[p]);
      }
    }
    if (fetch) ahead.turn();
  }
  for (int i = 0; i < kRows && i < rows; ++i) {
    HWY_ALIGN uint8_t w_tail[16 * 4] = {};
    __builtin_memcpy(w_tail, row[i] + whole * L::kBytes, static_cast<size_t>(tail * L::kBytes));
    for (int t = 0; t < kTokens; ++t) {
      HWY_ALIGN float lanes[16] = {};
      __builtin_memcpy(lanes, x[t] + whole, static_cast<size_t>(tail) * 4);
      for (int p = 0; p < kParts16; ++p) {
        const size_t part = static_cast<size_t>(p) * kStep;
        if (tail)
          acc[i][t].v[p] = hn::MulAdd(L::load(w_tail + part * L::kBytes), hn::Load(d16, lanes + part), acc[i][t].v[p]);
        hn::Store(acc[i][t].v[p], d16, lanes + part);
      }
      y[t * stride + i] = tree_sum(lanes, 16);
    }
  }
}

template <class L>
void gemv(const uint8_t* weights, int64_t row_bytes, int64_t rows, int64_t k, const float* const* x, int64_t tokens,
          float* y, int64_t stride, const uint8_t* next) noexcept {
  constexpr int kRows = 4, kMost = kParts16 == 1 ? 4 : kParts16 == 2 ? 2 : 1, kSome = kMost > 1 ? 2 : 1;
  Ahead ahead(weights, rows * row_bytes, next);
  for (int64_t r = 0; r < rows; r += kRows) {
    const uint8_t* row[kRows];
    for (int i = 0; i < kRows; ++i) row[i] = weights + (r + i < rows ? r + i : rows - 1) * row_bytes;
    int64_t t = 0;
    for (; t + kMost <= tokens; t += kMost)
      row_dots<L, kRows, kMost>(row, rows - r, k, x + t, y + t * stride + r, stride, ahead, t == 0);
    for (; t + kSome <= tokens; t += kSome)
      row_dots<L, kRows, kSome>(row, rows - r, k, x + t, y + t * stride + r, stride, ahead, t == 0);
    for (; t < tokens; ++t)
      row_dots<L, kRows, 1>(row, rows - r, k, x + t, y + t * stride + r, stride, ahead, t == 0);
  }
  ahead.done();
}

// The dwords 0..15 of 16 rows go to column lines: dword i of row r to panel[(starts[i] + step) * 16 + r], for i <
// count.
HWY_INLINE void put_columns(const uint8_t* const* rows, const LaneStarts16& starts, int64_t step, int64_t count,
                            uint32_t* panel) {
  const hn::FixedTag<uint8_t, 16> db;
  const hn::FixedTag<uint32_t, 4> d;
  const hn::FixedTag<uint64_t, 2> dl;
  const auto low = [&](auto a, auto b) {
    return hn::BitCast(d, hn::InterleaveLower(dl, hn::BitCast(dl, a), hn::BitCast(dl, b)));
  };
  const auto high = [&](auto a, auto b) {
    return hn::BitCast(d, hn::InterleaveUpper(dl, hn::BitCast(dl, a), hn::BitCast(dl, b)));
  };
  for (int64_t column = 0; column < count; column += 4) {
    uint32_t* to[4];
    for (int64_t i = 0; i < 4; ++i) to[i] = panel + (starts.start[column + i] + step) * 16;
    for (int r = 0; r < 16; r += 4) {
      const auto at = [&](int i) { return hn::BitCast(d, hn::LoadU(db, rows[r + i] + column * 4)); };
      const auto a = at(0), b = at(1), c = at(2), e = at(3);
      const auto ab0 = hn::InterleaveLower(d, a, b), ab1 = hn::InterleaveUpper(d, a, b);
      const auto ce0 = hn::InterleaveLower(d, c, e), ce1 = hn::InterleaveUpper(d, c, e);
      hn::StoreU(low(ab0, ce0), d, to[0] + r);
      if (column + 1 < count) hn::StoreU(high(ab0, ce0), d, to[1] + r);
      if (column + 2 < count) hn::StoreU(low(ab1, ce1), d, to[2] + r);
      if (column + 3 < count) hn::StoreU(high(ab1, ce1), d, to[3] + r);
    }
  }
}

// Outputs of absent rows repeat the last one.
template <class L>
void unpack(const uint8_t* weights, int64_t row_bytes, int64_t rows, int64_t k, float* panel) noexcept {
  const LaneStarts16 lane_starts(k);
  HWY_ALIGN float values[16][16];
  const uint8_t* decoded[16];
  for (int64_t r = 0; r < 16; ++r) decoded[r] = reinterpret_cast<const uint8_t*>(values[r]);
  for (int64_t at = 0; at < k; at += 16) {
    const int64_t count = k - at < 16 ? k - at : 16;
    for (int64_t r = 0; r < 16; ++r) {
      HWY_ALIGN uint8_t w[16 * 4] = {};
      const uint8_t* source = weights + (r < rows ? r : rows - 1) * row_bytes + at * L::kBytes;
      if (count < 16) {
        __builtin_memcpy(w, source, static_cast<size_t>(count * L::kBytes));
        source = w;
      }
      for (int p = 0; p < kParts16; ++p) {
        const size_t part = static_cast<size_t>(p) * kStep;
        hn::Store(L::load(source + part * L::kBytes), d16, values[r] + part);
      }
    }
    put_columns(decoded, lane_starts, at / 16, count, reinterpret_cast<uint32_t*>(panel));
  }
}

void pack_f32(const float* const* rows, int64_t tokens, int64_t k, float* tile) noexcept {
  lane_order<16>(k, [&](int64_t item, int64_t at) {
    for (int64_t t = 0; t < kTileTokens; ++t) tile[at * kTileTokens + t] = t < tokens ? rows[t][item] : 0;
  });
}

template <int kTokens>
HWY_NOINLINE void gemm_f32_tokens(const float* panel, const float* tile, int64_t k, int64_t t0, int64_t r0,
                                  const GemmOut& out, const Soon& soon) {
  gemm_tokens<kTokens>(k, t0, r0, out, soon, [&](int64_t at, V16* acc) HWY_ATTR {
    const V16 w = hn::LoadU(d16, panel + at * 16 + r0);
#pragma GCC unroll 12
    for (int t = 0; t < kTokens; ++t) acc[t] = hn::MulAdd(w, hn::Set(d16, tile[at * kTileTokens + t0 + t]), acc[t]);
  });
}

void gemm_f32(const float* panel, const float* tile, int64_t k, const GemmOut& out, Soon soon) noexcept {
  for (int64_t r = 0; r < 16; r += static_cast<int64_t>(kStep)) {
    for (int64_t t = 0; t < out.tokens;) {
      const int64_t left = out.tokens - t;
      if (left > 8) {  // absent tokens are zero: more of them cost less than another call
        gemm_f32_tokens<12>(panel, tile, k, t, r, out, soon), t += 12;
      } else if (left > 1) {
        gemm_f32_tokens<4>(panel, tile, k, t, r, out, soon), t += 4;
      } else {
        gemm_f32_tokens<1>(panel, tile, k, t, r, out, soon), t += 1;
      }
      soon = {};  // the first call has seen to it
    }
  }
}

#if defined(__AVX512BF16__)

void round_bf16(const float* x, int64_t k, uint16_t* y) noexcept {
  for (int64_t i = 0; i < k; ++i) y[i] = f32_to_bf16(x[i]);
}

void gemv_bf16(const uint8_t* weights, int64_t row_bytes, int64_t rows, int64_t k, const uint16_t* x, float* y,
               const uint8_t* next) noexcept {
  constexpr int kRows = 4;
  Ahead ahead(weights, rows * row_bytes, next);
  const int64_t whole = k / 32 * 32;
  const auto tail_mask = static_cast<__mmask32>((uint64_t{1} << (k - whole)) - 1);
  for (int64_t r = 0; r < rows; r += kRows) {
    const uint8_t* row[kRows];
    __m512 acc[kRows];
    for (int i = 0; i < kRows; ++i) {
      row[i] = weights + (r + i < rows ? r + i : rows - 1) * row_bytes;
      acc[i] = _mm512_setzero_ps();
    }
    for (int64_t at = 0; at < whole; at += 32) {
      const __m512i xs = _mm512_loadu_si512(x + at);
      for (int i = 0; i < kRows; ++i) {
        ahead.fetch<64>();
        acc[i] = dot2(acc[i], _mm512_loadu_si512(row[i] + at * 2), xs);
      }
      ahead.turn();
    }
    if (tail_mask) {
      const __m512i xs = _mm512_maskz_loadu_epi16(tail_mask, x + whole);
      for (int i = 0; i < kRows; ++i)
        acc[i] = dot2(acc[i], _mm512_maskz_loadu_epi16(tail_mask, row[i] + whole * 2), xs);
    }
    for (int i = 0; i < kRows && r + i < rows; ++i) {
      HWY_ALIGN float lanes[16];
      _mm512_store_ps(lanes, acc[i]);
      y[r + i] = tree_sum(lanes, 16);
    }
  }
  ahead.done();
}

void unpack_bf16(const uint8_t* weights, int64_t row_bytes, int64_t rows, int64_t k, uint32_t* panel) noexcept {
  const int64_t pairs = (k + 1) / 2, whole = k / 32;  // steps of 16 pairs
  const LaneStarts16 lane_starts(pairs);
  const uint8_t* row[16];
  for (int64_t r = 0; r < 16; ++r) row[r] = weights + (r < rows ? r : rows - 1) * row_bytes;
  for (int64_t step = 0; step < whole; ++step) {
    put_columns(row, lane_starts, step, 16, panel);
    for (auto& at : row) at += 64;
  }
  if (k % 32 == 0) return;
  HWY_ALIGN uint8_t tail[16][64] = {};
  for (int64_t r = 0; r < 16; ++r) {
    __builtin_memcpy(tail[r], row[r], static_cast<size_t>(k % 32 * 2));
    row[r] = tail[r];
  }
  put_columns(row, lane_starts, whole, pairs - whole * 16, panel);
}

void pack_bf16(const uint16_t* const* rows, int64_t tokens, int64_t k, uint32_t* tile) noexcept {
  lane_order<16>((k + 1) / 2, [&](int64_t pair, int64_t at) {
    for (int64_t t = 0; t < kTileTokens; ++t) {
      uint32_t two = 0;
      if (t < tokens) __builtin_memcpy(&two, rows[t] + 2 * pair, 2 * pair + 2 <= k ? 4 : 2);
      tile[at * kTileTokens + t] = two;
    }
  });
}

template <int kTokens>
HWY_NOINLINE void gemm_bf16_tokens(const uint32_t* panel, const uint32_t* tile, int64_t pairs, int64_t t0,
                                   const GemmOut& out, const Soon& soon) {
  gemm_tokens<kTokens>(pairs, t0, 0, out, soon, [&](int64_t at, V16* acc) HWY_ATTR {
    const __m512i w = _mm512_loadu_si512(panel + at * 16);
#pragma GCC unroll 12
    for (int t = 0; t < kTokens; ++t) {
      acc[t].raw = dot2(acc[t].raw, w, _mm512_set1_epi32(static_cast<int>(tile[at * kTileTokens + t0 + t])));
    }
  });
}

void gemm_bf16(const uint32_t* panel, const uint32_t* tile, int64_t k, const GemmOut& out, Soon soon) noexcept {
  const int64_t pairs = (k + 1) / 2;
  for (int64_t t = 0; t < out.tokens;) {
    const int64_t left = out.tokens - t;
    if (left > 8) {  // absent tokens are zero: more of them cost less than another call
      gemm_bf16_tokens<12>(panel, tile, pairs, t, out, soon), t += 12;
    } else if (left > 1) {
      gemm_bf16_tokens<4>(panel, tile, pairs, t, out, soon), t += 4;
    } else {
      gemm_bf16_tokens<1>(panel, tile, pairs, t, out, soon), t += 1;
    }
    soon = {};  // the first call has seen to it
  }
}

#endif

}  // namespace

void fill_float(Kernels& table) noexcept {
  table.f32 = {gemv<LoadF32>, unpack<LoadF32>};
  table.f16 = {gemv<LoadF16>, unpack<LoadF16>};
  table.bf16 = {gemv<LoadBF16>, unpack<LoadBF16>};
  table.pack_f32 = pack_f32;
  table.gemm_f32 = gemm_f32;
#if defined(__AVX512BF16__)
  table.bf16_dot = {round_bf16, gemv_bf16, unpack_bf16, pack_bf16, gemm_bf16, {}};
#endif
}

}  // namespace moiety::simd::MOIETY_LEVEL
