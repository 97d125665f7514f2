// GEMM of a quantised type's panels times int8 activations; the order of additions is in kernels.h.
#pragma once

#include "simd/int8-inl.h"

namespace moiety::simd::MOIETY_LEVEL {

// The integer sums of a block, by the vectors' dot products: for all 32 codes, for the first or the last 16 of them.
enum Half { kAll, kFirst, kLast };
template <class T, int kTokens>
struct VectorDots {
  const Int8Panel& panel;
  const Int8Tile& tile;
  int64_t t0, r0;

  HWY_INLINE VQ seed(int64_t at, Half which, int t) const {
    if constexpr (T::kZero == 0) return hn::Zero(di16);
    else return hn::ShiftLeft<hwy::FloorLog2(T::kZero)>(
          hn::Set(di16, tile.sums[(at * 4 + which) * kTileTokens + t0 + t]));
  }
  HWY_INLINE void dots(const uint8_t* w, const int32_t* codes, int from, int to, VQ (&sums)[kTokens]) const {
    for (int k4 = from; k4 < to; ++k4) {
      const auto weight = hn::LoadU(hn::Repartition<uint8_t, DI16>(), w + k4 * 64);
#pragma GCC unroll 12
      for (int t = 0; t < kTokens; ++t)
        sums[t] = dot4<T::kSmall>(di16, sums[t], weight,
                                  hn::BitCast(hn::Repartition<uint8_t, DI16>(), hn::Set(di16, codes[t * 8 + k4])));
    }
  }
  HWY_INLINE void sum(int64_t at, Half which, VQ (&sums)[kTokens]) const {
    const int32_t* codes = tile.codes + (at * kTileTokens + t0) * 8;
    const uint8_t* w = panel.codes + at * 512 + r0 * 4;
    for (int t = 0; t < kTokens; ++t) sums[t] = seed(at, which, t);
    if (which == kAll) {
#pragma GCC unroll 1
      for (int k4 = 0; k4 < 8; k4 += 2) dots(w, codes, k4, k4 + 2, sums);
    } else {
      dots(w, codes, which == kFirst ? 0 : 4, which == kFirst ? 4 : 8, sums);
    }
  }
};

// One vector of rows times kTokens tokens, from token t0 of the tile. Sub-scales times sums are integers below 2^24, exact
// in floats, whose products are cheaper.
template <class T, int kTokens, class Dots>
HWY_INLINE void gemm_tokens(const Int8Panel& panel, const Int8Tile& tile, int64_t blocks, int64_t t0, int64_t r0,
                            float* y, const Soon& soon, Dots&& products) noexcept {
  constexpr size_t kLanes = hn::MaxLanes(d16);
  HWY_ALIGN float stack[4][kTokens][kLanes];
  Spread fetch(soon, blocks);
  int depth = 0;
  int64_t at = 0;
  for (int lane_index = 0; lane_index < 8; ++lane_index) {
    const int lane = ((lane_index & 1) << 2) | (lane_index & 2) | ((lane_index & 4) >> 2);
    V16 acc[kTokens];
    for (int t = 0; t < kTokens; ++t) acc[t] = hn::Zero(d16);
    const int64_t end = at + (blocks - lane + 7) / 8;
    for (; at < end; ++at) {
      const float* scales = tile.scales + at * kTileTokens + t0;
      fetch.step();
      VQ sums[kTokens];
      V16 values[kTokens];
      if constexpr (T::kGroup16) {
        const auto sub = [&](int half) HWY_ATTR {
          return hn::ConvertTo(d16, hn::LoadU(di16, panel.sub + at * 32 + half * 16 + r0));
        };
        const V16 first = sub(0), last = sub(1);
        products.sum(at, kFirst, sums);
        for (int t = 0; t < kTokens; ++t) values[t] = hn::Mul(hn::ConvertTo(d16, sums[t]), first);
        products.sum(at, kLast, sums);
        for (int t = 0; t < kTokens; ++t) values[t] = hn::MulAdd(hn::ConvertTo(d16, sums[t]), last, values[t]);
      } else {
        products.sum(at, kAll, sums);
        for (int t = 0; t < kTokens; ++t) values[t] = hn::ConvertTo(d16, sums[t]);
      }
      const V16 ws = hn::LoadU(d16, panel.scales + at * 16 + r0);
      for (int t = 0; t < kTokens; ++t) acc[t] = hn::MulAdd(values[t], hn::Mul(ws, hn::Set(d16, scales[t])), acc[t]);
      if constexpr (T::kMin) {
        const V16 wm = hn::LoadU(d16, panel.mins + at * 16 + r0);
        for (int t = 0; t < kTokens; ++t) {
          if constexpr (T::kGroup16) {
            const VQ both = hn::Set(di16, tile.sums[(at * 4 + 3) * kTileTokens + t0 + t]);
            const VQ m = dot2(di16, hn::LoadU(di16, panel.sub_mins + at * 16 + r0), both);
            acc[t] = hn::NegMulAdd(hn::Mul(wm, hn::Set(d16, scales[t])), hn::ConvertTo(d16, m), acc[t]);
          } else {
            acc[t] = hn::NegMulAdd(wm, hn::Set(d16, tile.block_sums[at * kTileTokens + t0 + t]), acc[t]);
          }
        }
      }
    }
    for (int done = lane_index; done & 1; done >>= 1) {
      --depth;
      for (int t = 0; t < kTokens; ++t) acc[t] = hn::Add(hn::Load(d16, stack[depth][t]), acc[t]);
    }
    for (int t = 0; t < kTokens; ++t) hn::Store(acc[t], d16, stack[depth][t]);
    ++depth;
  }
  for (int t = 0; t < kTokens; ++t) hn::StoreU(hn::Load(d16, stack[0][t]), d16, y + (t0 + t) * 16 + r0);
}

template <class T, int kTokens>
HWY_NOINLINE void vector_gemm(const Int8Panel& panel, const Int8Tile& tile, int64_t blocks, int64_t t0, int64_t r0,
                              float* y, const Soon& soon) noexcept {
  gemm_tokens<T, kTokens>(panel, tile, blocks, t0, r0, y, soon, VectorDots<T, kTokens>{panel, tile, t0, r0});
}

template <class T>
void gemm_int8(const Int8Panel& panel, const Int8Tile& tile, int64_t k, int64_t tokens, float* y, Soon soon) noexcept {
  constexpr int kLanes = static_cast<int>(hn::MaxLanes(d16));
  constexpr int kMost = kLanes == 16 ? (T::kGroup16 ? 8 : 12) : 4;  // what the registers hold
  for (int64_t r = 0; r < 16; r += kLanes) {
    int64_t t = 0;
    while (t < tokens) {
      const int64_t left = tokens - t;
      if (kMost >= 12 && left > 8) {  // absent tokens are zero: more of them cost less than another call
        vector_gemm<T, kMost >= 12 ? 12 : 1>(panel, tile, k / 32, t, r, y, soon), t += 12;
      } else if (kMost >= 8 && left > 4) {
        vector_gemm<T, kMost >= 8 ? 8 : 1>(panel, tile, k / 32, t, r, y, soon), t += 8;
      } else if (left > 2) {
        vector_gemm<T, 4>(panel, tile, k / 32, t, r, y, soon), t += 4;
      } else if (left > 1) {
        vector_gemm<T, 2>(panel, tile, k / 32, t, r, y, soon), t += 2;
      } else {
        vector_gemm<T, 1>(panel, tile, k / 32, t, r, y, soon), t += 1;
      }
      soon = {};  // the first call has seen to it
    }
  }
}

template <class T>
constexpr Int8Kernels int8_kernels() {
  Int8Kernels kernels = {gemv_int8<T>, nullptr, unpack_int8<T>, gemm_int8<T>, nullptr, nullptr};
  if constexpr (kAcross == 4) kernels.gemv_pair = gemv_pair<T>;  // narrower vectors: not measured
  return kernels;
}

}  // namespace moiety::simd::MOIETY_LEVEL
