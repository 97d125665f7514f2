// What the int8 kernels must know of each quantised type, here alone: how to get one block's 32 codes as unsigned bytes
// (value + kZero), and the scales of 8 consecutive blocks. kGroup16: integer sub-scales for each half of a block.
// kMin: a minimum is subtracted. kBlocks: blocks of 32 in one of the type's own blocks.
#pragma once

#include "core/blocks.h"
#include "simd/base-inl.h"

namespace moiety::simd::MOIETY_LEVEL {

// The scales of 8 blocks; for types with groups of 16, ws is the common factor and sub the integer scales of the
// halves.
struct Scales {
  F8 ws, wm;
  I8 sub[2], sub_mins[2];
};

template <class F>
HWY_INLINE Codes codes(const F& part) {
  Codes r;
  for (int p = 0; p < kParts; ++p) r.v[p] = part(p);
  return r;
}
HWY_INLINE Codes bytes32(const uint8_t* at) {
  return codes([&](int p) { return hn::LoadU(d8, at + static_cast<size_t>(p) * hn::MaxLanes(d8)); });
}
// 16 bytes to 32 nibbles: low ones first.
HWY_INLINE Codes halves(const uint8_t* at) {
  const hn::FixedTag<uint8_t, 16> dh;
  const auto packed = hn::LoadU(dh, at);
  const auto put = [](auto& parts, auto low, auto high) HWY_ATTR {  // generic, so that only one arm is compiled
    if constexpr (sizeof(parts) == sizeof(parts[0])) {
      parts[0] = hn::Combine(d8, high, low);
    } else {
      parts[0] = low;
      parts[1] = high;
    }
  };
  Codes r;
  put(r.v, hn::And(packed, hn::Set(dh, 15)), hn::ShiftRight<4>(packed));
  return r;
}
// (byte >> shift) & mask for shift 0..7.
HWY_INLINE Codes bits(const Codes& x, int shift, uint8_t mask) {
  const hn::Repartition<uint16_t, D8> dw;
  return codes([&](int p) {
    const auto shifted = hn::ShiftRightSame(hn::BitCast(dw, x.v[p]), shift);
    return hn::And(hn::BitCast(d8, shifted), hn::Set(d8, mask));
  });
}
HWY_INLINE Codes or_shifted(const Codes& low, const Codes& high, int shift) {
  const hn::Repartition<uint16_t, D8> dw;
  return codes(
      [&](int p) { return hn::Or(low.v[p], hn::BitCast(d8, hn::ShiftLeftSame(hn::BitCast(dw, high.v[p]), shift))); });
}
// table[code] for codes below 16, plus zero.
HWY_INLINE Codes lookup(const Codes& x, const int8_t* table, int zero) {
  HWY_ALIGN uint8_t shifted[16];
  for (int i = 0; i < 16; ++i) shifted[i] = static_cast<uint8_t>(table[i] + zero);
  const auto entries = hn::LoadDup128(d8, shifted);
  return codes([&](int p) { return hn::TableLookupBytes(entries, x.v[p]); });
}
// Bit i of a 32-bit word becomes 16 in byte i.
HWY_INLINE Codes fifth_bits(const uint8_t* word) {
  HWY_ALIGN static constexpr uint8_t kByte[32] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1,
                                                  2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3};
  HWY_ALIGN static constexpr uint8_t kBit[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
  const hn::Repartition<uint32_t, D8> dw;
  const auto all = hn::BitCast(d8, hn::Set(dw, load_u32(word)));
  const auto bit = hn::LoadDup128(d8, kBit);
  return codes([&](int p) {
    const auto spread = hn::TableLookupBytes(all, hn::LoadU(d8, kByte + static_cast<size_t>(p) * hn::MaxLanes(d8)));
    return hn::And(hn::VecFromMask(d8, hn::Eq(hn::And(spread, bit), bit)), hn::Set(d8, 16));
  });
}

// 8 fp16 numbers, `stride` bytes apart.
HWY_INLINE F8 halves_to_f8(const uint8_t* at, size_t stride) {
  const auto word = [&](int i) { return static_cast<uint64_t>(load_u16(at + static_cast<size_t>(i) * stride)); };
  HWY_ALIGN const uint64_t pair[2] = {word(0) | word(1) << 16 | word(2) << 32 | word(3) << 48,
                                      word(4) | word(5) << 16 | word(6) << 32 | word(7) << 48};
  const hn::Rebind<hwy::float16_t, DF> dh;
  const hn::Rebind<uint16_t, DF> du;
  return f8([&](int p) {
    return hn::PromoteTo(
        df, hn::BitCast(dh, hn::LoadU(du, reinterpret_cast<const uint16_t*>(pair) + 4 * p * (kParts - 1))));
  });
}
HWY_INLINE I8 bytes_to_i8(const uint8_t* at) {
  const hn::Rebind<uint8_t, DI> db;
  return i8([&](int p) { return hn::PromoteTo(di, hn::LoadU(db, at + static_cast<size_t>(p) * kPart)); });
}
// 16 signed bytes: those at even places to even, those at odd places to odd.
HWY_INLINE void split_i8(const int8_t* at, I8& even, I8& odd) {
  const hn::Rebind<int16_t, DI> dw;
  const auto part = [&](int p) {
    return hn::LoadU(dw, reinterpret_cast<const int16_t*>(at) + static_cast<size_t>(p) * kPart);
  };
  even = i8([&](int p) { return hn::PromoteTo(di, hn::ShiftRight<8>(hn::ShiftLeft<8>(part(p)))); });
  odd = i8([&](int p) { return hn::PromoteTo(di, hn::ShiftRight<8>(part(p))); });
}
// 8 bytes of a word, lowest first.
HWY_INLINE I8 word_to_i8(uint64_t word) {
  HWY_ALIGN uint8_t bytes[8];
  __builtin_memcpy(bytes, &word, 8);
  return bytes_to_i8(bytes);
}
// 16 signed bytes of two words, split as split_i8 does.
HWY_INLINE void split_words(uint64_t low, uint64_t high, I8& even, I8& odd) {
  HWY_ALIGN const uint64_t words[2] = {low, high};
  split_i8(reinterpret_cast<const int8_t*>(words), even, odd);
}
constexpr uint64_t kEachByte = 0x0101010101010101u;
HWY_INLINE uint64_t load_u64(const void* at) {
  return load_u32(at) | static_cast<uint64_t>(load_u32(static_cast<const uint8_t*>(at) + 4)) << 32;
}
// Each byte (0..127) less 32.
HWY_INLINE uint64_t less_32(uint64_t bytes) {
  return ((bytes | 0x80 * kEachByte) - 0x20 * kEachByte) ^ 0x80 * kEachByte;
}

// An fp16 number by the CPU's own conversion where there is one.
HWY_INLINE float half_at(const uint8_t* at) {
#if defined(__F16C__)
  const hn::FixedTag<float, 4> d;
  const hn::Rebind<uint16_t, decltype(d)> du;
  return hn::GetLane(
      hn::PromoteTo(d, hn::BitCast(hn::Rebind<hwy::float16_t, decltype(d)>(), hn::Set(du, load_u16(at)))));
#else
  return load_f16(at);
#endif
}
HWY_INLINE F8 times(const I8& x, float factor) {
  return f8([&](int p) { return hn::Mul(hn::ConvertTo(df, x.v[p]), hn::Set(df, factor)); });
}

struct Plain {  // a scale for each block of 32
  static constexpr int kBlocks = 1;
  static constexpr bool kGroup16 = false, kMin = false;
};
struct TypeQ8_0 : Plain {
  using Block = BlockQ8_0;
  static constexpr int kZero = 128;
  static constexpr bool kSmall = false;
  static HWY_INLINE Codes unpack(const Block& block, int) {
    const Codes x = bytes32(reinterpret_cast<const uint8_t*>(block.q));
    return codes([&](int p) { return hn::Xor(x.v[p], hn::Set(d8, 128)); });
  }
  static HWY_INLINE void scales(const Block* b, Scales& s) { s.ws = halves_to_f8(b->d, sizeof(Block)); }
};
struct TypeQ4_0 : Plain {
  using Block = BlockQ4_0;
  static constexpr int kZero = 8;
  static constexpr bool kSmall = true;
  static HWY_INLINE Codes unpack(const Block& block, int) { return halves(block.q); }
  static HWY_INLINE void scales(const Block* b, Scales& s) { s.ws = halves_to_f8(b->d, sizeof(Block)); }
};
struct TypeQ5_0 : Plain {
  using Block = BlockQ5_0;
  static constexpr int kZero = 16;
  static constexpr bool kSmall = true;
  static HWY_INLINE Codes unpack(const Block& block, int) {
    return or_shifted(halves(block.q), fifth_bits(block.high), 0);
  }
  static HWY_INLINE void scales(const Block* b, Scales& s) { s.ws = halves_to_f8(b->d, sizeof(Block)); }
};
struct TypeIQ4_NL : Plain {
  using Block = BlockIQ4_NL;
  static constexpr int kZero = 128;
  static constexpr bool kSmall = false;
  static HWY_INLINE Codes unpack(const Block& block, int) { return lookup(halves(block.q), kIQ4Values, kZero); }
  static HWY_INLINE void scales(const Block* b, Scales& s) { s.ws = halves_to_f8(b->d, sizeof(Block)); }
};
struct TypeMXFP4 : Plain {
  using Block = BlockMXFP4;
  static constexpr int kZero = 12;
  static constexpr bool kSmall = true;
  static HWY_INLINE Codes unpack(const Block& block, int) { return lookup(halves(block.q), kMXFP4Values, kZero); }
  static HWY_INLINE void scales(const Block* b, Scales& s) {
    uint64_t exponents = 0;
    for (int i = 0; i < 8; ++i) exponents |= static_cast<uint64_t>(b[i].e) << (8 * i);
    const I8 e = word_to_i8(exponents);
    s.ws = f8([&](int p) {  // e8m0_half
      const VI normal = hn::ShiftLeft<23>(hn::Sub(e.v[p], hn::Set(di, 1)));
      const VI one = hn::IfThenElse(hn::Eq(e.v[p], hn::Set(di, 1)), hn::Set(di, 0x00400000), normal);
      return hn::BitCast(df, hn::IfThenElse(hn::Eq(e.v[p], hn::Zero(di)), hn::Set(di, 0x00200000), one));
    });
  }
};
struct WithMin : Plain {
  static constexpr bool kMin = true;
  static constexpr int kZero = 0;
  static constexpr bool kSmall = true;
};
template <class B>
HWY_INLINE void scales_and_minima(const B* b, Scales& s) {
  s.ws = halves_to_f8(b->d, sizeof(B));
  const F8 m = halves_to_f8(b->m, sizeof(B));
  s.wm = f8([&](int p) { return hn::Neg(m.v[p]); });
}
struct TypeQ4_1 : WithMin {
  using Block = BlockQ4_1;
  static HWY_INLINE Codes unpack(const Block& block, int) { return halves(block.q); }
  static HWY_INLINE void scales(const Block* b, Scales& s) { scales_and_minima(b, s); }
};
struct TypeQ5_1 : WithMin {
  using Block = BlockQ5_1;
  static HWY_INLINE Codes unpack(const Block& block, int) {
    return or_shifted(halves(block.q), fifth_bits(block.high), 0);
  }
  static HWY_INLINE void scales(const Block* b, Scales& s) { scales_and_minima(b, s); }
};

template <class B>
HWY_INLINE void k_scales(const B* b, Scales& s) {
  HWY_ALIGN uint8_t scale[8], min[8];
  const uint32_t low = load_u32(b->scales), mid = load_u32(b->scales + 4), high = load_u32(b->scales + 8);
  const uint32_t words[4] = {low & 0x3f3f3f3fu, (high & 0x0f0f0f0fu) | ((low >> 6) & 0x03030303u) << 4,
                             mid & 0x3f3f3f3fu, ((high >> 4) & 0x0f0f0f0fu) | ((mid >> 6) & 0x03030303u) << 4};
  __builtin_memcpy(scale, words, 8);
  __builtin_memcpy(min, words + 2, 8);
  s.ws = times(bytes_to_i8(scale), half_at(b->d));
  s.wm = times(bytes_to_i8(min), half_at(b->dmin));
}
struct TypeQ4_K : WithMin {
  using Block = BlockQ4_K;
  static constexpr int kBlocks = 8;
  static HWY_INLINE Codes unpack(const Block& block, int i) {
    return bits(bytes32(block.q + 32 * (i / 2)), 4 * (i % 2), 15);
  }
  static HWY_INLINE void scales(const Block* b, Scales& s) { k_scales(b, s); }
};
struct TypeQ5_K : WithMin {
  using Block = BlockQ5_K;
  static constexpr int kBlocks = 8;
  static HWY_INLINE Codes unpack(const Block& block, int i) {
    return or_shifted(bits(bytes32(block.q + 32 * (i / 2)), 4 * (i % 2), 15), bits(bytes32(block.high), i, 1), 4);
  }
  static HWY_INLINE void scales(const Block* b, Scales& s) { k_scales(b, s); }
};
struct TypeIQ4_XS : Plain {
  using Block = BlockIQ4_XS;
  static constexpr int kBlocks = 8, kZero = 128;
  static constexpr bool kSmall = false;
  static HWY_INLINE Codes unpack(const Block& block, int i) {
    return lookup(halves(block.q + 16 * i), kIQ4Values, kZero);
  }
  static HWY_INLINE void scales(const Block* b, Scales& s) {
    uint64_t low = load_u32(b->scales_low), high = load_u16(b->scales_high);
    low = (low | low << 16) & 0x0000ffff0000ffffu;  // each nibble to its byte
    low = (low | low << 8) & 0x00ff00ff00ff00ffu;
    low = (low | low << 4) & 0x0f0f0f0f0f0f0f0fu;
    high = (high | high << 24) & 0x000000ff000000ffu;  // each pair of bits
    high = (high | high << 12) & 0x000f000f000f000fu;
    high = (high | high << 6) & 0x0303030303030303u;
    const I8 scale = word_to_i8(low | high << 4);
    s.ws = times(i8([&](int p) { return hn::Sub(scale.v[p], hn::Set(di, 32)); }), half_at(b->d));
  }
};
struct Grouped {
  static constexpr int kBlocks = 8;
  static constexpr bool kGroup16 = true, kMin = false, kSmall = true;
};
struct TypeQ6_K : Grouped {
  using Block = BlockQ6_K;
  static constexpr int kZero = 32;
  static HWY_INLINE Codes unpack(const Block& block, int i) {
    const int half = i / 4, s = i % 4;
    const Codes low = bits(bytes32(block.low + 64 * half + 32 * (s % 2)), s < 2 ? 0 : 4, 15);
    return or_shifted(low, bits(bytes32(block.high + 32 * half), 2 * s, 3), 4);
  }
  static HWY_INLINE void scales(const Block* b, Scales& s) {
    split_i8(b->scales, s.sub[0], s.sub[1]);
    const float d = half_at(b->d);
    s.ws = f8([&](int) { return hn::Set(df, d); });
  }
};
struct TypeQ3_K : Grouped {
  using Block = BlockQ3_K;
  static constexpr int kZero = 4;
  static HWY_INLINE Codes unpack(const Block& block, int i) {
    const Codes low = bits(bytes32(block.q + 32 * (i / 4)), 2 * (i % 4), 3);
    return or_shifted(low, bits(bytes32(block.high), i, 1), 2);
  }
  static HWY_INLINE void scales(const Block* b, Scales& s) {
    const uint64_t low = load_u64(b->scales), high = load_u32(b->scales + 8);
    const auto two = [&](int shift) { return (high >> shift) & 0x03030303u; };
    split_words(less_32((low & 15 * kEachByte) | (two(0) | two(2) << 32) << 4),
                less_32((low >> 4 & 15 * kEachByte) | (two(4) | two(6) << 32) << 4), s.sub[0], s.sub[1]);
    const float d = half_at(b->d);
    s.ws = f8([&](int) { return hn::Set(df, d); });
  }
};
struct TypeQ2_K : Grouped {
  using Block = BlockQ2_K;
  static constexpr int kZero = 0;
  static constexpr bool kMin = true;
  static HWY_INLINE Codes unpack(const Block& block, int i) {
    return bits(bytes32(block.q + 32 * (i / 4)), 2 * (i % 4), 3);
  }
  static HWY_INLINE void scales(const Block* b, Scales& s) {
    const uint64_t a = load_u64(b->scales), c = load_u64(b->scales + 8), mask = 15 * kEachByte;
    split_words(a & mask, c & mask, s.sub[0], s.sub[1]);
    split_words(a >> 4 & mask, c >> 4 & mask, s.sub_mins[0], s.sub_mins[1]);
    const float d = half_at(b->d), dmin = half_at(b->dmin);
    s.ws = f8([&](int) { return hn::Set(df, d); });
    s.wm = f8([&](int) { return hn::Set(df, dmin); });
  }
};

}  // namespace moiety::simd::MOIETY_LEVEL
