// Unpacking with 512-bit vectors: the bytes of 16 rows are turned as they lie in the file, [row][4 bytes], and the codes
// are made of them afterwards. A nibble then travels with its neighbour: 8 shuffles a block of Q4_0 instead of 32.
#pragma once

#include "simd/types-inl.h"

namespace moiety::simd::MOIETY_LEVEL {

// The codes of a group of 8 blocks, kTogether of them at a time. Shared is what all of them need. codes(turned, shared,
// part, put): turned(offset, out) gives 16 bytes at an offset into the group as 4 vectors; put(block, k4, codes) takes
// columns 4 * k4 .. 4 * k4 + 3 of a block of the part, as T::codes has them.
template <class T>
struct Turned {
  static constexpr bool kHas = false;  // unpacked row by row
  static constexpr int kTogether = 8;
  struct Shared {};
};

// 16 bytes of each of 16 rows, `stride` bytes apart, to [row][4 bytes].
struct TurnRows {
  const uint8_t* first;
  int64_t stride;
#if defined(__AVX512BW__)
  HWY_INLINE void operator()(size_t offset, VB out[4]) const {
    VQ rows[4], columns[4];
    const uint8_t* at = first + offset;
#pragma GCC unroll 4
    for (int r = 0; r < 4; ++r, at += stride)
      rows[r] = VQ{four_pieces(at, at + 4 * stride, at + 8 * stride, at + 12 * stride)};
    transpose(di16, rows[0], rows[1], rows[2], rows[3], columns);
    for (int i = 0; i < 4; ++i) out[i] = hn::BitCast(db, columns[i]);
  }
#endif
};

#if defined(__AVX512BW__)

// A bit field of `mask` bits that starts at bit `from`, moved to start at bit `to`.
HWY_INLINE VB field(VB x, int from, int to, uint8_t mask) {
  const auto moved = static_cast<uint8_t>(mask << to);
  return masked(from == to ? x : from > to ? shifted_right(x, from - to) : shifted_left(x, to - from), moved);
}

struct NothingShared {
  HWY_INLINE explicit NothingShared(const TurnRows&) {}
};
// 32 bytes of each row.
struct ShareHigh {
  VB high[2][4];
  HWY_INLINE ShareHigh(const TurnRows& turned, size_t offset) {
    for (size_t half = 0; half < 2; ++half) turned(offset + half * 16, high[half]);
  }
};

// Blocks of 16 bytes of nibbles, `stride` bytes apart; T::value makes the code of a nibble.
template <class T, size_t first, size_t stride>
struct TurnedNibbles {
  static constexpr bool kHas = true;
  static constexpr int kTogether = 1;
  using Shared = NothingShared;
  template <class Put>
  static HWY_INLINE void codes(const TurnRows& turned, const Shared&, int part, const Put& put) {
    VB x[4];
    turned(first + static_cast<size_t>(part) * stride, x);
    for (int i = 0; i < 4; ++i) {
      put(0, i, T::value(low_nibbles(x[i])));
      put(0, 4 + i, T::value(high_nibbles(x[i])));
    }
  }
};
struct AsItIs {
  static HWY_INLINE VB value(VB x) { return x; }
};
struct InIQ4 {
  static HWY_INLINE VB value(VB x) { return lookup(x, kIQ4Values, TypeIQ4_NL::kZero); }
};
struct InMXFP4 {
  static HWY_INLINE VB value(VB x) { return lookup(x, kMXFP4Values, TypeMXFP4::kZero); }
};
template <>
struct Turned<TypeQ4_0> : TurnedNibbles<AsItIs, offsetof(BlockQ4_0, q), sizeof(BlockQ4_0)> {};
template <>
struct Turned<TypeQ4_1> : TurnedNibbles<AsItIs, offsetof(BlockQ4_1, q), sizeof(BlockQ4_1)> {};
template <>
struct Turned<TypeIQ4_NL> : TurnedNibbles<InIQ4, offsetof(BlockIQ4_NL, q), sizeof(BlockIQ4_NL)> {};
template <>
struct Turned<TypeMXFP4> : TurnedNibbles<InMXFP4, offsetof(BlockMXFP4, q), sizeof(BlockMXFP4)> {};
template <>
struct Turned<TypeIQ4_XS> : TurnedNibbles<InIQ4, offsetof(BlockIQ4_XS, q), 16> {};

template <>
struct Turned<TypeQ8_0> {
  static constexpr bool kHas = true;
  static constexpr int kTogether = 1;
  using Shared = NothingShared;
  template <class Put>
  static HWY_INLINE void codes(const TurnRows& turned, const Shared&, int part, const Put& put) {
    for (int half = 0; half < 2; ++half) {
      VB x[4];
      const size_t at = static_cast<size_t>(part) * sizeof(BlockQ8_0) + offsetof(BlockQ8_0, q);
      turned(at + static_cast<size_t>(half) * 16, x);
      for (int i = 0; i < 4; ++i) put(0, half * 4 + i, hn::Xor(x[i], hn::Set(db, 128)));
    }
  }
};

template <>
struct Turned<TypeQ4_K> {
  static constexpr bool kHas = true;
  static constexpr int kTogether = 2;
  using Shared = NothingShared;
  template <class Put>
  static HWY_INLINE void codes(const TurnRows& turned, const Shared&, int part, const Put& put) {
    for (int half = 0; half < 2; ++half) {
      VB x[4];
      turned(offsetof(BlockQ4_K, q) + static_cast<size_t>(part) * 32 + static_cast<size_t>(half) * 16, x);
      for (int i = 0; i < 4; ++i) {
        put(0, half * 4 + i, low_nibbles(x[i]));
        put(1, half * 4 + i, high_nibbles(x[i]));
      }
    }
  }
};
template <>
struct Turned<TypeQ5_K> {
  static constexpr bool kHas = true;
  static constexpr int kTogether = 2;
  struct Shared : ShareHigh {
    HWY_INLINE explicit Shared(const TurnRows& turned) : ShareHigh(turned, offsetof(BlockQ5_K, high)) {}
  };
  template <class Put>
  static HWY_INLINE void codes(const TurnRows& turned, const Shared& shared, int part, const Put& put) {
    for (int half = 0; half < 2; ++half) {
      VB x[4];
      turned(offsetof(BlockQ5_K, q) + static_cast<size_t>(part) * 32 + static_cast<size_t>(half) * 16, x);
      for (int i = 0; i < 4; ++i) {
        const VB high = shared.high[half][i];
        put(0, half * 4 + i, hn::Or(low_nibbles(x[i]), field(high, 2 * part, 4, 1)));
        put(1, half * 4 + i, hn::Or(high_nibbles(x[i]), field(high, 2 * part + 1, 4, 1)));
      }
    }
  }
};
template <>
struct Turned<TypeQ6_K> {
  static constexpr bool kHas = true;
  static constexpr int kTogether = 4;
  using Shared = NothingShared;
  template <class Put>
  static HWY_INLINE void codes(const TurnRows& turned, const Shared&, int part, const Put& put) {
    for (int half = 0; half < 2; ++half) {
      const auto at = static_cast<size_t>(half) * 16;
      VB high[4], x[4];
      turned(offsetof(BlockQ6_K, high) + static_cast<size_t>(part) * 32 + at, high);
      for (int odd = 0; odd < 2; ++odd) {
        turned(offsetof(BlockQ6_K, low) + static_cast<size_t>(part) * 64 + static_cast<size_t>(odd) * 32 + at, x);
        for (int i = 0; i < 4; ++i) {
          put(odd, half * 4 + i, hn::Or(low_nibbles(x[i]), field(high[i], 2 * odd, 4, 3)));
          put(2 + odd, half * 4 + i, hn::Or(high_nibbles(x[i]), field(high[i], 4 + 2 * odd, 4, 3)));
        }
      }
    }
  }
};
template <>
struct Turned<TypeQ2_K> {
  static constexpr bool kHas = true;
  static constexpr int kTogether = 4;
  using Shared = NothingShared;
  template <class Put>
  static HWY_INLINE void codes(const TurnRows& turned, const Shared&, int part, const Put& put) {
    for (int half = 0; half < 2; ++half) {
      VB x[4];
      turned(offsetof(BlockQ2_K, q) + static_cast<size_t>(part) * 32 + static_cast<size_t>(half) * 16, x);
      for (int b = 0; b < 4; ++b)
        for (int i = 0; i < 4; ++i) put(b, half * 4 + i, field(x[i], 2 * b, 0, 3));
    }
  }
};
template <>
struct Turned<TypeQ3_K> {
  static constexpr bool kHas = true;
  static constexpr int kTogether = 4;
  struct Shared : ShareHigh {
    HWY_INLINE explicit Shared(const TurnRows& turned) : ShareHigh(turned, offsetof(BlockQ3_K, high)) {}
  };
  template <class Put>
  static HWY_INLINE void codes(const TurnRows& turned, const Shared& shared, int part, const Put& put) {
    for (int half = 0; half < 2; ++half) {
      VB x[4];
      turned(offsetof(BlockQ3_K, q) + static_cast<size_t>(part) * 32 + static_cast<size_t>(half) * 16, x);
      for (int b = 0; b < 4; ++b)
        for (int i = 0; i < 4; ++i)
          put(b, half * 4 + i, hn::Or(field(x[i], 2 * b, 0, 3), field(shared.high[half][i], 4 * part + b, 2, 1)));
    }
  }
};

#endif

}  // namespace moiety::simd::MOIETY_LEVEL
