// 16 lanes of f32 as 1, 2 or 4 vectors, and the functions that row kernels share. Compiled once a level.
#pragma once

#include <hwy/highway.h>

#include "core/blocks.h"
#include "simd/row_kernels.h"

namespace moiety::simd::MOIETY_LEVEL {

namespace hn = hwy::HWY_NAMESPACE;

using RowTag = hn::CappedTag<float, 16>;
using RowIntTag = hn::RebindToSigned<RowTag>;
using RowHalfTag = hn::Rebind<hwy::float16_t, RowTag>;
using RowVec = hn::Vec<RowTag>;
using RowMask = hn::Mask<RowTag>;
inline constexpr RowTag kRow;
inline constexpr RowIntTag kRowInt;
inline constexpr RowHalfTag kRowHalf;
inline constexpr int64_t kRowLanes = static_cast<int64_t>(hn::MaxLanes(kRow));
inline constexpr int kRowParts = static_cast<int>(16 / kRowLanes);
static_assert(kRowParts * kRowLanes == 16);

HWY_INLINE RowVec set(float x) { return hn::Set(kRow, x); }

// e^x to 2 eps; infinity from 88.73 up, denormals and 0 below -87.3; NaN stays NaN.
HWY_INLINE RowVec exp_row(RowVec x) {
  const RowVec bounded = hn::Min(hn::Max(x, set(-104.0f)), set(89.0f));
  const RowVec magic = set(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer in the low bits
  const RowVec shifted = hn::MulAdd(bounded, set(1.44269504f), magic);
  const RowVec n = hn::Sub(shifted, magic);
  RowVec r = hn::NegMulAdd(n, set(0.693359375f), bounded);  // ln 2 in two parts, the first times n is exact
  r = hn::NegMulAdd(n, set(-2.12194440e-4f), r);
  // (e^r - 1 - r) / r² on |r| <= ln2 / 2, least maximal error 5e-9
  RowVec p = hn::MulAdd(set(0.0013950468273833394f), r, set(0.008368891663849354f));
  p = hn::MulAdd(p, r, set(0.04166620597243309f));
  p = hn::MulAdd(p, r, set(0.166665181517601f));
  p = hn::MulAdd(p, r, set(0.5f));
  p = hn::Add(hn::MulAdd(hn::Mul(r, r), p, r), set(1.0f));
  // Times 2^n in two steps, so that neither factor leaves the normal range.
  const auto exponent = hn::Sub(hn::BitCast(kRowInt, shifted), hn::Set(kRowInt, 0x4B400000));
  const auto half = hn::ShiftRight<1>(exponent);
  const auto bias = hn::Set(kRowInt, 127);
  const RowVec first = hn::BitCast(kRow, hn::ShiftLeft<23>(hn::Add(half, bias)));
  // Far below, 0 at once: CPUs take their time where a product underflows, and masked logits are there.
  const RowVec second = hn::IfThenZeroElse(
      hn::Lt(x, set(-103.98f)), hn::BitCast(kRow, hn::ShiftLeft<23>(hn::Add(hn::Sub(exponent, half), bias))));
  return hn::IfThenElse(hn::IsNaN(x), x, hn::Mul(hn::Mul(p, first), second));
}

HWY_INLINE RowVec sigmoid_row(RowVec x) { return hn::Div(set(1.0f), hn::Add(set(1.0f), exp_row(hn::Neg(x)))); }

// tanh to 4 eps: its series below 1/4, (1 - e) / (1 + e) with e = exp(-2|x|) above.
HWY_INLINE RowVec tanh_row(RowVec x) {
  const RowVec a = hn::Abs(x), s = hn::Mul(x, x);
  RowVec p = hn::MulAdd(set(62.0f / 2835), s, set(-17.0f / 315));
  p = hn::MulAdd(p, s, set(2.0f / 15));
  p = hn::MulAdd(p, s, set(-1.0f / 3));
  const RowVec small = hn::MulAdd(hn::Mul(x, s), p, x);
  const RowVec e = exp_row(hn::Mul(a, set(-2.0f)));
  const RowVec large = hn::Div(hn::Sub(set(1.0f), e), hn::Add(set(1.0f), e));
  return hn::IfThenElse(hn::Lt(a, set(0.25f)), small, hn::CopySign(large, x));
}

// 16 lanes.
struct Lanes {
  RowVec v[kRowParts];
};

HWY_INLINE Lanes lanes_of(float x) {
  Lanes r;
  for (int p = 0; p < kRowParts; ++p) r.v[p] = set(x);
  return r;
}
HWY_INLINE Lanes load_lanes(const float* x) {
  Lanes r;
  for (int p = 0; p < kRowParts; ++p) r.v[p] = hn::LoadU(kRow, x + p * kRowLanes);
  return r;
}
HWY_INLINE void store_lanes(const Lanes& x, float* y) {
  for (int p = 0; p < kRowParts; ++p) hn::StoreU(x.v[p], kRow, y + p * kRowLanes);
}
// The first count (< 16) floats, then `fill`. Never reads further.
HWY_INLINE Lanes load_tail(const float* x, int64_t count, float fill) {
  HWY_ALIGN float copy[16];
  for (int64_t i = 0; i < 16; ++i) copy[i] = i < count ? x[i] : fill;
  return load_lanes(copy);
}
HWY_INLINE void store_tail(const Lanes& x, float* y, int64_t count) {
  HWY_ALIGN float copy[16];
  store_lanes(x, copy);
  for (int64_t i = 0; i < count; ++i) y[i] = copy[i];
}
// Without conversion instructions Highway 1.0.3 truncates and takes infinity for a number, so the codec is used.
#if defined(__F16C__) || defined(__aarch64__)
inline constexpr bool kNativeF16 = true;
#else
inline constexpr bool kNativeF16 = false;
#endif

HWY_INLINE Lanes load_f16(const uint8_t* x) {
  if constexpr (!kNativeF16) {
    HWY_ALIGN float values[16];
    for (int i = 0; i < 16; ++i) values[i] = moiety::load_f16(x + 2 * i);
    return load_lanes(values);
  }
  Lanes r;
  for (int p = 0; p < kRowParts; ++p) {
    const auto* at = reinterpret_cast<const hwy::float16_t*>(x + 2 * p * kRowLanes);
    r.v[p] = hn::PromoteTo(kRow, hn::LoadU(kRowHalf, at));
  }
  return r;
}

// The lanes folded in half twice: lane i of the result is (i + i+8) + (i+4 + i+12).
using QuadTag = hn::CappedTag<float, 4>;
inline constexpr QuadTag kQuad;
template <class L, int kParts = kRowParts>  // a template, so that only one arm is compiled
HWY_INLINE hn::Vec<QuadTag> fold_to_quad(const L& x) {
  if constexpr (kParts == 1) {
    const hn::Half<RowTag> eight;
    const auto sum = hn::Add(hn::LowerHalf(eight, x.v[0]), hn::UpperHalf(eight, x.v[0]));
    return hn::Add(hn::LowerHalf(kQuad, sum), hn::UpperHalf(kQuad, sum));
  } else if constexpr (kParts == 2) {
    const auto sum = hn::Add(x.v[0], x.v[1]);
    return hn::Add(hn::LowerHalf(kQuad, sum), hn::UpperHalf(kQuad, sum));
  } else {
    return hn::Add(hn::Add(x.v[0], x.v[2]), hn::Add(x.v[1], x.v[3]));
  }
}

HWY_INLINE float sum_lanes(const Lanes& x) {
  HWY_ALIGN float quad[4];
  hn::Store(fold_to_quad(x), kQuad, quad);
  return (quad[0] + quad[2]) + (quad[1] + quad[3]);
}
HWY_INLINE float max_lanes(const Lanes& x) {
  RowVec most = x.v[0];
  for (int p = 1; p < kRowParts; ++p) most = hn::Max(most, x.v[p]);
  return hn::GetLane(hn::MaxOfLanes(kRow, most));
}

// sqrt as the level's vectors compute it (correctly rounded), without the C library.
HWY_INLINE float sqrt_of(float x) { return hn::GetLane(hn::Sqrt(set(x))); }

// y[i] = f(x[i]) in vectors, the tail through a buffer.
template <class F>
HWY_INLINE void map_row(const float* x, int64_t count, float* y, const F& f) {
  int64_t i = 0;
  for (; i + kRowLanes <= count; i += kRowLanes) hn::StoreU(f(hn::LoadU(kRow, x + i)), kRow, y + i);
  if (i == count) return;
  HWY_ALIGN float copy[16] = {};
  for (int64_t j = i; j < count; ++j) copy[j - i] = x[j];
  hn::Store(f(hn::Load(kRow, copy)), kRow, copy);
  for (int64_t j = i; j < count; ++j) y[j] = copy[j - i];
}
template <class F>
HWY_INLINE void map_rows(const float* a, const float* b, int64_t count, float* y, const F& f) {
  int64_t i = 0;
  for (; i + kRowLanes <= count; i += kRowLanes)
    hn::StoreU(f(hn::LoadU(kRow, a + i), hn::LoadU(kRow, b + i)), kRow, y + i);
  if (i == count) return;
  HWY_ALIGN float first[16] = {}, second[16] = {};
  for (int64_t j = i; j < count; ++j) first[j - i] = a[j], second[j - i] = b[j];
  hn::Store(f(hn::Load(kRow, first), hn::Load(kRow, second)), kRow, first);
  for (int64_t j = i; j < count; ++j) y[j] = first[j - i];
}

// The tree sum of what accumulate(sum, chunk of 16, how many count) adds up; values past the end are 0.
template <class F>
HWY_INLINE float sum_row(const float* x, int64_t count, const F& accumulate) {
  Lanes sum = lanes_of(0);
  int64_t i = 0;
  for (; i + 16 <= count; i += 16) accumulate(sum, load_lanes(x + i), int64_t{16});
  if (i < count) accumulate(sum, load_tail(x + i, count - i, 0), count - i);
  return sum_lanes(sum);
}

}  // namespace moiety::simd::MOIETY_LEVEL
