// What kernels of float weights share; the order of additions is in kernels.h.
#pragma once

#include "simd/base-inl.h"

#if defined(__AVX512BF16__)
#include <immintrin.h>
#endif

namespace moiety::simd::MOIETY_LEVEL {

struct F16Lanes {
  V16 v[kParts16];
};  // 16 floats
constexpr size_t kStep = hn::MaxLanes(d16);

struct LoadF32 {
  static constexpr int64_t kBytes = 4;
  static HWY_INLINE V16 load(const uint8_t* at) {
    return hn::BitCast(d16, hn::LoadU(hn::Repartition<uint8_t, D16>(), at));
  }
};
struct LoadF16 {
  static constexpr int64_t kBytes = 2;
  static HWY_INLINE V16 load(const uint8_t* at) {
    const hn::Rebind<uint16_t, D16> du;
    const hn::Rebind<hwy::float16_t, D16> dh;
    return hn::PromoteTo(d16,
                         hn::BitCast(dh, hn::BitCast(du, hn::LoadU(hn::Repartition<uint8_t, decltype(du)>(), at))));
  }
};
struct LoadBF16 {
  static constexpr int64_t kBytes = 2;
  static HWY_INLINE V16 load(const uint8_t* at) {
    const hn::Rebind<uint16_t, D16> du;
    const hn::Rebind<uint32_t, D16> dw;
    const auto bits = hn::BitCast(du, hn::LoadU(hn::Repartition<uint8_t, decltype(du)>(), at));
    return hn::BitCast(d16, hn::ShiftLeft<16>(hn::PromoteTo(dw, bits)));
  }
};

// Position of k in lane order.
struct LaneStarts16 {
  int64_t start[16];
  explicit LaneStarts16(int64_t count) {
    int64_t position = 0;
    for (int v = 0; v < 16; ++v) {
      const int lane = (v & 1) << 3 | (v & 2) << 1 | (v & 4) >> 1 | (v & 8) >> 3;
      start[lane] = position;
      position += (count - lane + 15) / 16;
    }
  }
};

// The GEMM of a lane-ordered panel and tile: `items` steps, each one multiply-add of kTokens sums.
template <int kTokens, class Step>
HWY_INLINE void gemm_tokens(int64_t items, int64_t t0, int64_t r0, const GemmOut& out, const Soon& soon, const Step& step) {
  HWY_ALIGN float stack[5][kTokens][kStep];
  Spread fetch(soon, 16);
  int depth = 0;
  int64_t at = 0;
  for (int v = 0; v < 16; ++v) {
    const int lane = (v & 1) << 3 | (v & 2) << 1 | (v & 4) >> 1 | (v & 8) >> 3;
    V16 acc[kTokens];
    fetch.step();
    for (int t = 0; t < kTokens; ++t) acc[t] = hn::Zero(d16);
    const int64_t end = at + (items - lane + 15) / 16;
    for (; at < end; ++at) step(at, acc);
    for (int done = v; done & 1; done >>= 1) {
      --depth;
      for (int t = 0; t < kTokens; ++t) acc[t] = hn::Add(hn::Load(d16, stack[depth][t]), acc[t]);
    }
    for (int t = 0; t < kTokens; ++t) hn::Store(acc[t], d16, stack[depth][t]);
    ++depth;
  }
  for (int t = 0; t < kTokens; ++t) put(out, t0 + t, r0, hn::Load(d16, stack[0][t]));
}

#if defined(__AVX512BF16__)
HWY_INLINE __m512 dot2(__m512 sum, __m512i a, __m512i b) {
  return _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(a), reinterpret_cast<__m512bh>(b));
}
#endif

}  // namespace moiety::simd::MOIETY_LEVEL
