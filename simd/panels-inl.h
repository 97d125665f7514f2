// Weights in panels (core/panels.h) times int8 activations: rows are lanes, so an output needs no sum across a vector
// and its codes no shuffle. The order of additions is that of kernels.h, hence the bits are those of rows.
#pragma once

#include <utility>

#include "core/panels.h"
#include "simd/types-inl.h"

namespace moiety::simd::MOIETY_LEVEL {

HWY_INLINE V16 halves_at(const uint8_t* at) {
  const hn::Rebind<uint16_t, D16> du;
  const hn::Rebind<hwy::float16_t, D16> dh;
  const auto bits = hn::LoadU(hn::Repartition<uint8_t, decltype(du)>(), at);
  return hn::PromoteTo(d16, hn::BitCast(dh, hn::BitCast(du, bits)));
}
// Bytes, one a row, as int32. N: uint8_t or int8_t.
template <class N>
HWY_INLINE VQ bytes_at(const uint8_t* at) {
  return hn::PromoteTo(di16, hn::LoadU(hn::Rebind<N, DI16>(), reinterpret_cast<const N*>(at)));
}

// Where a block's numbers lie, for row 0.
struct PanelBlock {
  const uint8_t *codes, *scales, *head;
};

// A type in panels: T's constants, codes<k4>(at): columns 4 * k4 .. 4 * k4 + 3 of the rows whose codes start at `at`,
// and scales of the rows from r0 on.
template <class T, DType type>
struct InPanels : T {
  static constexpr DType kType = type;
  static constexpr PanelForm kForm = panel_form(type);
  template <int k4>
  static HWY_INLINE VB nibbles(const uint8_t* at) {
    const VB x = hn::LoadU(db, at + k4 % 4 * 64);
    if constexpr (k4 < 4)
      return low_nibbles(x);
    else
      return high_nibbles(x);
  }
  // The bits of `mask`, moved up (or down) so many bits within their bytes.
  template <int up, uint8_t mask>
  static HWY_INLINE VB moved(VB x) {
    if constexpr (up > 0)
      return masked(shifted_left(x, up), mask);
    else if constexpr (up < 0)
      return masked(shifted_right(x, -up), mask);
    else
      return masked(x, mask);
  }
  static HWY_INLINE V16 scales(const PanelBlock& block, int64_t r0) { return halves_at(block.scales + 2 * r0); }
};
struct PanelsQ8_0 : InPanels<TypeQ8_0, DType::kQ8_0> {
  template <int k4>
  static HWY_INLINE VB codes(const uint8_t* at) {
    return hn::LoadU(db, at + k4 * 64);
  }
};
struct PanelsQ4_0 : InPanels<TypeQ4_0, DType::kQ4_0> {
  template <int k4>
  static HWY_INLINE VB codes(const uint8_t* at) {
    return nibbles<k4>(at);
  }
};
struct PanelsMXFP4 : InPanels<TypeMXFP4, DType::kMXFP4> {
  template <int k4>
  static HWY_INLINE VB codes(const uint8_t* at) {
    return lookup(nibbles<k4>(at), kMXFP4Values, kZero);
  }
  static HWY_INLINE V16 scales(const PanelBlock& block, int64_t r0) {
    return e8m0_halves(bytes_at<uint8_t>(block.scales + r0));
  }
};
template <class T, DType type>
struct KPanels : InPanels<T, type> {
  static HWY_INLINE V16 scaled(const uint8_t* scales, const uint8_t* factors) {
    return hn::Mul(hn::ConvertTo(d16, bytes_at<uint8_t>(scales)), halves_at(factors));
  }
  static HWY_INLINE V16 scales(const PanelBlock& block, int64_t r0) {
    return scaled(block.scales + r0, block.head + 2 * r0);
  }
  static HWY_INLINE V16 mins(const PanelBlock& block, int64_t r0) {
    return scaled(block.scales + 16 + r0, block.head + 32 + 2 * r0);
  }
};
struct PanelsQ4_K : KPanels<TypeQ4_K, DType::kQ4_K> {
  template <int k4>
  static HWY_INLINE VB codes(const uint8_t* at) {
    return nibbles<k4>(at);
  }
};
struct PanelsQ5_K : KPanels<TypeQ5_K, DType::kQ5_K> {
  template <int k4>
  static HWY_INLINE VB codes(const uint8_t* at) {
    return hn::Or(nibbles<k4>(at), moved<4 - k4, 0x10>(hn::LoadU(db, at + 256)));
  }
};
struct PanelsQ6_K : InPanels<TypeQ6_K, DType::kQ6_K> {
  template <int k4>
  static HWY_INLINE VB codes(const uint8_t* at) {
    return hn::Or(nibbles<k4>(at), moved<4 - k4 % 4 * 2, 0x30>(hn::LoadU(db, at + 256 + k4 / 4 * 64)));
  }
  static HWY_INLINE V16 scales(const PanelBlock& block, int64_t r0) { return halves_at(block.head + 2 * r0); }
  static HWY_INLINE VQ sub(const PanelBlock& block, int half, int64_t r0) {
    return bytes_at<int8_t>(block.scales + 16 * half + r0);
  }
};

// What a block of activations gives: dword(k4, token), seed<zero>(half, token), minus zero times the sum of a half's
// codes (2: of all 32), scale, block_sum.
struct RowActs {
  const Int8Row& x;
  int64_t padded;
  struct Block {
    const int8_t* codes;
    int32_t first, last;
    float factor;
    HWY_INLINE int32_t dword(int k4, int) const {
      int32_t four;
      __builtin_memcpy(&four, codes + k4 / 4 * 128 + k4 % 4 * 4, 4);
      return four;
    }
    template <int zero>
    HWY_INLINE VQ seed(int half, int) const {
      return hn::Set(di16, -zero * (half == 0 ? first : half == 1 ? last : first + last));
    }
    HWY_INLINE float scale(int) const { return factor; }
    HWY_INLINE float block_sum(int) const { return factor * static_cast<float>(first + last); }
  };
  HWY_INLINE Block block(int64_t, int64_t lane, int64_t step) const {
    const int64_t b = 8 * step + lane;
    return {x.codes + 256 * step + 16 * lane, x.sums[b], x.sums[padded + b], x.scales[b]};
  }
};
struct TileActs {
  const Int8Tile& tile;
  int64_t t0;
  struct Block {
    const int32_t *codes, *sums;
    const float *scales, *block_sums;
    HWY_INLINE int32_t dword(int k4, int t) const { return codes[t * 8 + k4]; }
    template <int zero>
    HWY_INLINE VQ seed(int half, int t) const {
      if constexpr (zero == 0)
        return hn::Zero(di16);
      else
        return hn::ShiftLeft<hwy::FloorLog2(zero)>(hn::Set(di16, sums[(half == 2 ? 0 : half + 1) * kTileTokens + t]));
    }
    HWY_INLINE float scale(int t) const { return scales[t]; }
    HWY_INLINE float block_sum(int t) const { return block_sums[t]; }
  };
  HWY_INLINE Block block(int64_t at, int64_t, int64_t) const {
    return {tile.codes + (at * kTileTokens + t0) * 8, tile.sums + at * 4 * kTileTokens + t0,
            tile.scales + at * kTileTokens + t0, tile.block_sums + at * kTileTokens + t0};
  }
};

inline constexpr int64_t kVectorRows = static_cast<int64_t>(hn::MaxLanes(d16));

// The functions below are inlined into one, and hold no lambda: its captures would keep the sums in memory.

// Adds the products of columns 4 * k4 .. 4 * k4 + 3.
template <class P, int k4, int kTokens, int kVecs, class Block, class Fetch>
HWY_INLINE void panel_dword(const uint8_t* codes, const Block& x, VQ (&sums)[kTokens][kVecs], Fetch& fetch) {
  fetch.template dword<k4>();
#pragma GCC unroll 4
  for (int v = 0; v < kVecs; ++v) {
    const VB weight = P::template codes<k4>(codes + v * kVectorRows * 4);
#pragma GCC unroll 12
    for (int t = 0; t < kTokens; ++t)
      sums[t][v] = dot4<P::kSmall>(di16, sums[t][v], weight, hn::BitCast(db, hn::Set(di16, x.dword(k4, t))));
  }
}
template <class P, int kFrom, int kTokens, int kVecs, class Block, class Fetch, int... i>
HWY_INLINE void panel_dwords(const uint8_t* codes, const Block& x, VQ (&sums)[kTokens][kVecs], Fetch& fetch,
                             std::integer_sequence<int, i...>) {
  (panel_dword<P, kFrom + i>(codes, x, sums, fetch), ...);
}
// The integer sums of columns [16 half, 16 half + 16), or of all 32 for half 2: kVecs vectors of rows a token.
template <class P, int half, int kTokens, int kVecs, class Block, class Fetch>
HWY_INLINE void panel_dots(const uint8_t* codes, const Block& x, VQ (&sums)[kTokens][kVecs], Fetch& fetch) {
#pragma GCC unroll 12
  for (int t = 0; t < kTokens; ++t) {
    const VQ seed = x.template seed<P::kZero>(half, t);
#pragma GCC unroll 4
    for (int v = 0; v < kVecs; ++v) sums[t][v] = seed;
  }
  panel_dwords<P, half == 1 ? 4 : 0>(codes, x, sums, fetch, std::make_integer_sequence < int, half == 2 ? 8 : 4 > ());
}

// Adds a block to kTokens sums of kVecs vectors of rows, from row r0 on. Sub-scales as in gemm_tokens.
template <class P, int kTokens, int kVecs, class Block, class Fetch>
HWY_INLINE void panel_block(const PanelBlock& w, const Block& x, int64_t r0, V16 (&acc)[kTokens][kVecs],
                            Fetch& fetch) {
  VQ sums[kTokens][kVecs];
  V16 values[kTokens][kVecs];
  const uint8_t* codes = w.codes + r0 * 4;
  if constexpr (P::kGroup16) {
    panel_dots<P, 0>(codes, x, sums, fetch);
#pragma GCC unroll 4
    for (int v = 0; v < kVecs; ++v) {
      const V16 sub = hn::ConvertTo(d16, P::sub(w, 0, r0 + v * kVectorRows));
#pragma GCC unroll 12
      for (int t = 0; t < kTokens; ++t) values[t][v] = hn::Mul(hn::ConvertTo(d16, sums[t][v]), sub);
    }
    panel_dots<P, 1>(codes, x, sums, fetch);
#pragma GCC unroll 4
    for (int v = 0; v < kVecs; ++v) {
      const V16 sub = hn::ConvertTo(d16, P::sub(w, 1, r0 + v * kVectorRows));
#pragma GCC unroll 12
      for (int t = 0; t < kTokens; ++t)
        values[t][v] = hn::MulAdd(hn::ConvertTo(d16, sums[t][v]), sub, values[t][v]);
    }
  } else {
    panel_dots<P, 2>(codes, x, sums, fetch);
#pragma GCC unroll 4
    for (int v = 0; v < kVecs; ++v) {
#pragma GCC unroll 12
      for (int t = 0; t < kTokens; ++t) values[t][v] = hn::ConvertTo(d16, sums[t][v]);
    }
  }
#pragma GCC unroll 4
  for (int v = 0; v < kVecs; ++v) {
    const V16 ws = P::scales(w, r0 + v * kVectorRows);
#pragma GCC unroll 12
    for (int t = 0; t < kTokens; ++t)
      acc[t][v] = hn::MulAdd(values[t][v], hn::Mul(ws, hn::Set(d16, x.scale(t))), acc[t][v]);
    if constexpr (P::kMin) {
      const V16 wm = P::mins(w, r0 + v * kVectorRows);
#pragma GCC unroll 12
      for (int t = 0; t < kTokens; ++t) acc[t][v] = hn::NegMulAdd(wm, hn::Set(d16, x.block_sum(t)), acc[t][v]);
    }
  }
}

HWY_INLINE int64_t lane_at(int index) { return ((index & 1) << 2) | (index & 2) | ((index & 4) >> 2); }

// y[t][r0..] for kTokens tokens and kVecs vectors of rows. fetch.block() is called once a block,
// fetch.dword<k4>() at its columns from 4 * k4 on.
template <class P, int kTokens, int kVecs, class Acts, class Fetch>
HWY_INLINE void panel_tokens(const uint8_t* panel, int64_t k, const Acts& acts, int64_t r0, float* y, Fetch& fetch) {
  HWY_ALIGN float stack[4][kTokens][kVecs][kVectorRows];
  const PanelParts parts = panel_parts(P::kType, k);
  PanelBlock w{panel, panel + parts.scales, panel + parts.head};
  const int64_t blocks = k / 32;
  int depth = 0;
  for (int64_t index = 0, place = 0; index < 8; ++index) {
    const int64_t lane = lane_at(static_cast<int>(index)), end = place + (blocks - lane + 7) / 8;
    V16 acc[kTokens][kVecs];
    for (int t = 0; t < kTokens; ++t) {
      for (int v = 0; v < kVecs; ++v) acc[t][v] = hn::Zero(d16);
    }
    w.head = panel + parts.head;
    for (int64_t step = 0; place < end; ++place, ++step) {
      fetch.block();
      panel_block<P>(w, acts.block(place, lane, step), r0, acc, fetch);
      w.codes += P::kForm.codes, w.scales += P::kForm.scales, w.head += P::kForm.head;
    }
    for (int64_t done = index; done & 1; done >>= 1) {
      --depth;
      for (int t = 0; t < kTokens; ++t) {
        for (int v = 0; v < kVecs; ++v) acc[t][v] = hn::Add(hn::Load(d16, stack[depth][t][v]), acc[t][v]);
      }
    }
    for (int t = 0; t < kTokens; ++t) {
      for (int v = 0; v < kVecs; ++v) hn::Store(acc[t][v], d16, stack[depth][t][v]);
    }
    ++depth;
  }
  for (int t = 0; t < kTokens; ++t) {
    for (int v = 0; v < kVecs; ++v)
      hn::StoreU(hn::Load(d16, stack[0][t][v]), d16, y + t * kPanelRows + r0 + v * kVectorRows);
  }
}

// A GEMV's prefetching: in the order of addresses, whatever lies there.
template <class P>
struct FetchAhead {
  Ahead ahead;
  static constexpr int64_t kBytes = P::kForm.codes + P::kForm.scales;
  HWY_INLINE void block() { ahead.turn(); }
  template <int k4>
  HWY_INLINE void dword() {
    ahead.template fetch<(k4 + 1) * kBytes / 8 - k4 * kBytes / 8>();
  }
};
struct FetchSoon {
  Spread spread;
  HWY_INLINE void block() { spread.step(); }
  template <int>
  HWY_INLINE void dword() {}
};

template <class P>
void panel_gemv(const uint8_t* panels, int64_t rows, int64_t k, const Int8Row& x, float* y,
                const uint8_t* next) noexcept {
  const int64_t bytes = panel_parts(P::kType, k).bytes;
  FetchAhead<P> fetch{{panels, (rows + kPanelRows - 1) / kPanelRows * bytes, next}};
  const RowActs acts{x, (k / 32 + 7) / 8 * 8};
  for (int64_t r = 0; r < rows; r += kPanelRows, panels += bytes) {
    HWY_ALIGN float out[kPanelRows];
    panel_tokens<P, 1, kParts16>(panels, k, acts, 0, out, fetch);
    __builtin_memcpy(y + r, out, static_cast<size_t>(rows - r < kPanelRows ? rows - r : kPanelRows) * 4);
  }
  fetch.ahead.done();
}

template <class P, int kTokens>
HWY_NOINLINE void panel_gemm_tokens(const uint8_t* panel, int64_t k, const Int8Tile& tile, int64_t t0, int64_t r0,
                                    float* y, const Soon& soon) noexcept {
  FetchSoon fetch{{soon, k / 32}};
  panel_tokens<P, kTokens, 1>(panel, k, TileActs{tile, t0}, r0, y + t0 * kPanelRows, fetch);
}

template <class P>
void panel_gemm(const uint8_t* panel, const Int8Tile& tile, int64_t k, int64_t tokens, float* y, Soon soon) noexcept {
  constexpr int kMost = kVectorRows == 16 ? (P::kGroup16 ? 8 : 12) : 4;  // what the registers hold
  for (int64_t r = 0; r < kPanelRows; r += kVectorRows) {
    for (int64_t t = 0; t < tokens;) {
      const int64_t left = tokens - t;
      if (kMost >= 12 && left > 8) {  // absent tokens are zero
        panel_gemm_tokens<P, kMost >= 12 ? 12 : 1>(panel, k, tile, t, r, y, soon), t += 12;
      } else if (kMost >= 8 && left > 4) {
        panel_gemm_tokens<P, kMost >= 8 ? 8 : 1>(panel, k, tile, t, r, y, soon), t += 8;
      } else if (left > 2) {
        panel_gemm_tokens<P, 4>(panel, k, tile, t, r, y, soon), t += 4;
      } else {
        panel_gemm_tokens<P, 2>(panel, k, tile, t, r, y, soon), t += 2;
      }
      soon = {};  // the first call has seen to it
    }
  }
}

template <class P, int... k4>
HWY_INLINE void unpack_codes(const uint8_t* codes, uint8_t* to, std::integer_sequence<int, k4...>) {
  (hn::StoreU(P::template codes<k4>(codes), db, to + k4 * 64), ...);
}

template <class P>
void panel_unpack(const uint8_t* panel, int64_t k, const Int8Panel& out) noexcept {
  const PanelParts parts = panel_parts(P::kType, k);
  PanelBlock w{panel, panel + parts.scales, panel + parts.head};
  const int64_t blocks = k / 32;
  for (int64_t index = 0, place = 0; index < 8; ++index) {
    const int64_t end = place + (blocks - lane_at(static_cast<int>(index)) + 7) / 8;
    w.head = panel + parts.head;
    for (; place < end; ++place) {
      for (int64_t r = 0; r < kPanelRows; r += kVectorRows) {
        unpack_codes<P>(w.codes + r * 4, out.codes + place * 512 + r * 4, std::make_integer_sequence<int, 8>());
        hn::StoreU(P::scales(w, r), d16, out.scales + place * 16 + r);
        if constexpr (P::kMin) hn::StoreU(P::mins(w, r), d16, out.mins + place * 16 + r);
        if constexpr (P::kGroup16) {
          for (int half = 0; half < 2; ++half)
            hn::StoreU(P::sub(w, half, r), di16, out.sub + place * 32 + half * 16 + r);
        }
      }
      w.codes += P::kForm.codes, w.scales += P::kForm.scales, w.head += P::kForm.head;
    }
  }
}

}  // namespace moiety::simd::MOIETY_LEVEL
