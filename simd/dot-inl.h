// Integer dot products: sum[i] += the 4 products of unsigned bytes a[4i..] and signed bytes b[4i..], exact in int32.
// The only raw intrinsics of the project: Highway 1.0.3 has no such operation.
// kSmall promises a <= 128, so that a pair of products fits 16 bits and maddubs can't saturate (|b| <= 127).
#pragma once

#include "simd/base-inl.h"

#if HWY_ARCH_X86
#include <immintrin.h>
#endif

namespace moiety::simd::MOIETY_LEVEL {

#if HWY_ARCH_X86 && HWY_TARGET != HWY_EMU128

#if defined(__AVX512F__)
template <bool kSmall>
HWY_INLINE __m512i dot4(__m512i sum, __m512i a, __m512i b) {
#if defined(__AVX512VNNI__)
  return _mm512_dpbusd_epi32(sum, a, b);
#else
  if constexpr (kSmall) {
    return _mm512_add_epi32(sum, _mm512_madd_epi16(_mm512_maddubs_epi16(a, b), _mm512_set1_epi16(1)));
  } else {
    const __m512i even =
        _mm512_madd_epi16(_mm512_and_si512(a, _mm512_set1_epi16(255)), _mm512_srai_epi16(_mm512_slli_epi16(b, 8), 8));
    const __m512i odd = _mm512_madd_epi16(_mm512_srli_epi16(a, 8), _mm512_srai_epi16(b, 8));
    return _mm512_add_epi32(sum, _mm512_add_epi32(even, odd));
  }
#endif
}
#endif

#if defined(__AVX2__)
template <bool kSmall>
HWY_INLINE __m256i dot4(__m256i sum, __m256i a, __m256i b) {
#if defined(__AVX512VNNI__)
  return _mm256_dpbusd_epi32(sum, a, b);
#elif defined(__AVXVNNI__)
  return _mm256_dpbusd_avx_epi32(sum, a, b);
#else
  if constexpr (kSmall) {
    return _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(a, b), _mm256_set1_epi16(1)));
  } else {
    const __m256i even =
        _mm256_madd_epi16(_mm256_and_si256(a, _mm256_set1_epi16(255)), _mm256_srai_epi16(_mm256_slli_epi16(b, 8), 8));
    const __m256i odd = _mm256_madd_epi16(_mm256_srli_epi16(a, 8), _mm256_srai_epi16(b, 8));
    return _mm256_add_epi32(sum, _mm256_add_epi32(even, odd));
  }
#endif
}
#else
template <bool kSmall>
HWY_INLINE __m128i dot4(__m128i sum, __m128i a, __m128i b) {
  if constexpr (kSmall) {
    return _mm_add_epi32(sum, _mm_madd_epi16(_mm_maddubs_epi16(a, b), _mm_set1_epi16(1)));
  } else {
    const __m128i even = _mm_madd_epi16(_mm_and_si128(a, _mm_set1_epi16(255)), _mm_srai_epi16(_mm_slli_epi16(b, 8), 8));
    const __m128i odd = _mm_madd_epi16(_mm_srli_epi16(a, 8), _mm_srai_epi16(b, 8));
    return _mm_add_epi32(sum, _mm_add_epi32(even, odd));
  }
}
#endif

template <bool kSmall, class D, class VSum, class VA, class VB>
HWY_INLINE VSum dot4(D, VSum sum, VA a, VB b) {
  return VSum{dot4<kSmall>(sum.raw, a.raw, b.raw)};
}

#else  // any other target, from the 32-bit lanes

template <bool kSmall, class D, class VSum, class VA, class VB>
HWY_INLINE VSum dot4(D d, VSum sum, VA a, VB b) {
  const hn::RebindToUnsigned<D> du;
  const auto ua = hn::BitCast(du, a);
  const auto sb = hn::BitCast(d, b);
  const auto mask = hn::Set(du, 255u);
  const auto product = [&](auto a_byte, auto b_byte) { return hn::Mul(hn::BitCast(d, a_byte), b_byte); };
  const auto first = product(hn::And(ua, mask), hn::ShiftRight<24>(hn::ShiftLeft<24>(sb)));
  const auto second = product(hn::And(hn::ShiftRight<8>(ua), mask), hn::ShiftRight<24>(hn::ShiftLeft<16>(sb)));
  const auto third = product(hn::And(hn::ShiftRight<16>(ua), mask), hn::ShiftRight<24>(hn::ShiftLeft<8>(sb)));
  const auto fourth = product(hn::ShiftRight<24>(ua), hn::ShiftRight<24>(sb));
  return hn::Add(sum, hn::Add(hn::Add(first, second), hn::Add(third, fourth)));
}

#endif

}  // namespace moiety::simd::MOIETY_LEVEL
