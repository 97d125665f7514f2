#include "simd/rows-inl.h"
#include "simd/rows_parts.h"

namespace moiety::simd::MOIETY_LEVEL {
namespace {

using WideTag = hn::CappedTag<double, 8>;
using WideIntTag = hn::RebindToSigned<WideTag>;
using WideVec = hn::Vec<WideTag>;
constexpr WideTag kWide;
constexpr WideIntTag kWideInt;
constexpr hn::Rebind<float, WideTag> kNarrow;

HWY_INLINE WideVec wide(double x) { return hn::Set(kWide, x); }

// Sine and cosine of |angle| < 2^30 to 1e-9: angles are large (position x frequency), so they are reduced in double.
HWY_INLINE void sine_cosine(WideVec angle, WideVec& sine, WideVec& cosine) {
  const WideVec magic = wide(6755399441055744.0);  // 1.5 * 2^52: adding it rounds to an integer in the low bits
  const WideVec shifted = hn::MulAdd(angle, wide(0.63661977236758134308), magic);
  const WideVec n = hn::Sub(shifted, magic);
  WideVec r = hn::NegMulAdd(n, wide(1.57079632673412561417), angle);  // pi/2 in two parts
  r = hn::NegMulAdd(n, wide(6.07710050650619224932e-11), r);
  const WideVec s = hn::Mul(r, r);
  WideVec p = hn::MulAdd(wide(1.0 / 362880), s, wide(-1.0 / 5040));
  p = hn::MulAdd(p, s, wide(1.0 / 120));
  p = hn::MulAdd(p, s, wide(-1.0 / 6));
  const WideVec sine_r = hn::MulAdd(hn::Mul(r, s), p, r);
  WideVec q = hn::MulAdd(wide(-1.0 / 3628800), s, wide(1.0 / 40320));
  q = hn::MulAdd(q, s, wide(-1.0 / 720));
  q = hn::MulAdd(q, s, wide(1.0 / 24));
  q = hn::MulAdd(q, s, wide(-0.5));
  const WideVec cosine_r = hn::MulAdd(q, s, wide(1.0));
  // The quadrant: odd ones swap, bit 1 (of n, of n + 1) is the sign.
  const auto quadrant = hn::BitCast(kWideInt, shifted);
  const auto one = hn::Set(kWideInt, 1);
  const auto odd = hn::RebindMask(kWide, hn::Eq(hn::And(quadrant, one), one));
  const auto two = hn::Set(kWideInt, 2);
  const auto sign = [&](auto bits) { return hn::BitCast(kWide, hn::ShiftLeft<62>(hn::And(bits, two))); };
  sine = hn::Xor(hn::IfThenElse(odd, cosine_r, sine_r), sign(quadrant));
  cosine = hn::Xor(hn::IfThenElse(odd, sine_r, cosine_r), sign(hn::Add(quadrant, one)));
}

}  // namespace

void rope_table(double position, const double* frequencies, double magnitude, int64_t pairs, float* cosines,
                float* sines) noexcept {
  constexpr auto kStep = static_cast<int64_t>(hn::MaxLanes(kWide));
  for (int64_t i = 0; i < pairs; i += kStep) {
    WideVec sine, cosine;
    sine_cosine(hn::Mul(wide(position), hn::LoadU(kWide, frequencies + i)), sine, cosine);
    hn::StoreU(hn::DemoteTo(kNarrow, hn::Mul(cosine, wide(magnitude))), kNarrow, cosines + i);
    hn::StoreU(hn::DemoteTo(kNarrow, hn::Mul(sine, wide(magnitude))), kNarrow, sines + i);
  }
}

void rope_head(const float* x, const float* cosines, const float* sines, int64_t pairs, bool interleaved,
               int64_t head_dim, float* y) noexcept {
  int64_t i = 0;
  for (; i + kRowLanes <= pairs; i += kRowLanes) {
    const RowVec c = hn::LoadU(kRow, cosines + i), s = hn::LoadU(kRow, sines + i);
    RowVec a, b;
    if (interleaved) {
      hn::LoadInterleaved2(kRow, x + 2 * i, a, b);
    } else {
      a = hn::LoadU(kRow, x + i);
      b = hn::LoadU(kRow, x + i + pairs);
    }
    const RowVec first = hn::NegMulAdd(b, s, hn::Mul(a, c));
    const RowVec second = hn::MulAdd(a, s, hn::Mul(b, c));
    if (interleaved) {
      hn::StoreInterleaved2(first, second, kRow, y + 2 * i);
    } else {
      hn::StoreU(first, kRow, y + i);
      hn::StoreU(second, kRow, y + i + pairs);
    }
  }
  for (; i < pairs; ++i) {
    const int64_t first = interleaved ? 2 * i : i, second = interleaved ? 2 * i + 1 : i + pairs;
    const float a = x[first], b = x[second];
    y[first] = a * cosines[i] - b * sines[i];
    y[second] = b * cosines[i] + a * sines[i];
  }
  if (2 * pairs < head_dim)
    __builtin_memcpy(y + 2 * pairs, x + 2 * pairs, static_cast<size_t>(head_dim - 2 * pairs) * sizeof(float));
}

}  // namespace moiety::simd::MOIETY_LEVEL
