// Integer operations that Highway 1.0.3 does not have, in raw intrinsics; so are bf16 dot products (float-inl.h, float.cpp)
// and the tile unit (amx.cpp).
#pragma once

#include "simd/base-inl.h"

#if HWY_ARCH_X86
#include <immintrin.h>
#endif

namespace moiety::simd::MOIETY_LEVEL {

// dot4: sum[i] += the 4 products of unsigned bytes a[4i..] and signed bytes b[4i..], exact in int32.
// kSmall promises a <= 128, so that a pair of products fits 16 bits and maddubs can't saturate (|b| <= 127).
// dot2: sum[i] += the 2 products of int16 pairs.
// pack: int32 that fit to int16; in each 128 bits the 4 of a, then the 4 of b.
// four_pieces: 16 bytes of each. take_words: 16-bit words of a (0..31) and b (32..63).
// even_lanes, odd_lanes: 128-bit lanes 0 and 2, 1 and 3 of a, b.

#if HWY_ARCH_X86 && HWY_TARGET != HWY_EMU128
inline constexpr bool kHasPack = true;

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
HWY_INLINE __m512i dot2(__m512i sum, __m512i a, __m512i b) {
#if defined(__AVX512VNNI__)
  return _mm512_dpwssd_epi32(sum, a, b);
#else
  return _mm512_add_epi32(sum, _mm512_madd_epi16(a, b));
#endif
}
HWY_INLINE __m512i dot2(__m512i a, __m512i b) { return _mm512_madd_epi16(a, b); }
HWY_INLINE __m512i pack(__m512i a, __m512i b) { return _mm512_packs_epi32(a, b); }

template <class V>
HWY_INLINE V take_words(V a, V b, const uint16_t* index) {
  return V{_mm512_permutex2var_epi16(a.raw, _mm512_load_si512(index), b.raw)};
}
template <int lanes, class V>
HWY_INLINE V two_lanes(V a, V b) {
  const hn::DFromV<V> d;
  const auto bits = [](V x) HWY_ATTR { return hn::BitCast(di16, x).raw; };
  return hn::BitCast(d, hn::Vec<DI16>{_mm512_shuffle_i64x2(bits(a), bits(b), lanes)});
}
HWY_INLINE __m512i four_pieces(const uint8_t* a, const uint8_t* b, const uint8_t* c, const uint8_t* d) {
  const auto piece = [](const uint8_t* at) HWY_ATTR { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(at)); };
  __m512i x = _mm512_inserti32x4(_mm512_castsi128_si512(piece(a)), piece(b), 1);
  x = _mm512_inserti32x4(x, piece(c), 2);
  return _mm512_inserti32x4(x, piece(d), 3);
}
template <class V>
HWY_INLINE V even_lanes(V a, V b) {
  return two_lanes<0x88>(a, b);
}
template <class V>
HWY_INLINE V odd_lanes(V a, V b) {
  return two_lanes<0xdd>(a, b);
}
#endif

#if defined(__AVX2__)
template <bool kSmall>
HWY_INLINE __m256i dot4(__m256i sum, __m256i a, __m256i b) {
#if defined(__AVXVNNI__)
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
HWY_INLINE __m256i dot2(__m256i sum, __m256i a, __m256i b) {
#if defined(__AVXVNNI__)
  return _mm256_dpwssd_avx_epi32(sum, a, b);
#else
  return _mm256_add_epi32(sum, _mm256_madd_epi16(a, b));
#endif
}
HWY_INLINE __m256i dot2(__m256i a, __m256i b) { return _mm256_madd_epi16(a, b); }
HWY_INLINE __m256i pack(__m256i a, __m256i b) { return _mm256_packs_epi32(a, b); }
#endif

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
HWY_INLINE __m128i dot2(__m128i sum, __m128i a, __m128i b) { return _mm_add_epi32(sum, _mm_madd_epi16(a, b)); }
HWY_INLINE __m128i dot2(__m128i a, __m128i b) { return _mm_madd_epi16(a, b); }
HWY_INLINE __m128i pack(__m128i a, __m128i b) { return _mm_packs_epi32(a, b); }

template <bool kSmall, class D, class VSum, class VA, class VB>
HWY_INLINE VSum dot4(D, VSum sum, VA a, VB b) {
  return VSum{dot4<kSmall>(sum.raw, a.raw, b.raw)};
}
template <class D, class V>
HWY_INLINE V dot2(D, V sum, V a, V b) {
  return V{dot2(sum.raw, a.raw, b.raw)};
}
template <class D, class V>
HWY_INLINE V dot2(D, V a, V b) {
  return V{dot2(a.raw, b.raw)};
}
template <class D, class V>
HWY_INLINE V pack(D, V a, V b) {
  return V{pack(a.raw, b.raw)};
}

#else  // any other target, from the 32-bit lanes
inline constexpr bool kHasPack = false;

template <bool kSmall, class D, class VSum, class VA, class VB>
MOIETY_STEP VSum dot4(D d, VSum sum, VA a, VB b) {
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
template <class D, class V>
MOIETY_STEP V dot2(D, V a, V b) {
  const auto low = [](V x) { return hn::ShiftRight<16>(hn::ShiftLeft<16>(x)); };
  return hn::Add(hn::Mul(low(a), low(b)), hn::Mul(hn::ShiftRight<16>(a), hn::ShiftRight<16>(b)));
}
template <class D, class V>
MOIETY_STEP V dot2(D d, V sum, V a, V b) {
  return hn::Add(sum, dot2(d, a, b));
}

#endif

}  // namespace moiety::simd::MOIETY_LEVEL
