// What the int8 kernels must know of each quantised type, here alone: a slice's codes as unsigned bytes (value +
// kZero), and the scales of a group of 8 blocks for 4 rows. kGroup16: integer sub-scales for each half of a block.
// kMin: a minimum is subtracted. kBlocks: blocks of 32 in one of the type's own blocks. kSmall: codes below 128.
#pragma once

#include "simd/quad-inl.h"

namespace moiety::simd::MOIETY_LEVEL {

template <class B>
HWY_INLINE const B& block_at(const uint8_t* group) {
  return *reinterpret_cast<const B*>(group);
}

// ---- blocks of 32 with a scale each ----------------------------------------------------------------------------

template <class B, int zero, bool small>
struct Plain {
  using Block = B;
  static constexpr int kBlocks = 1, kZero = zero;
  static constexpr bool kGroup16 = false, kMin = false, kSmall = small;
  static HWY_INLINE const uint8_t* first_block(const uint8_t* group, int slice) {
    return group + static_cast<size_t>(slice * kAcross) * sizeof(B);
  }
  // 16 bytes at `offset` of each block of the slice.
  static HWY_INLINE VB pieces(const uint8_t* group, int slice, size_t offset) {
    return strided(db, first_block(group, slice) + offset, sizeof(B));
  }
  static MOIETY_STEP Halves nibbles(const uint8_t* group, int slice) {
    const VB x = pieces(group, slice, offsetof(B, q));
    return {low_nibbles(x), high_nibbles(x)};
  }
  static MOIETY_STEP void scales(const QuadRows& rows, GroupScales& s) {
    strided_halves(rows, offsetof(B, d), sizeof(B), s.ws);
  }
};
struct TypeQ8_0 : Plain<BlockQ8_0, 128, false> {
  static MOIETY_STEP Halves codes(const uint8_t* group, int slice) {
    const VB flip = hn::Set(db, 128);
    return {hn::Xor(pieces(group, slice, offsetof(Block, q)), flip),
            hn::Xor(pieces(group, slice, offsetof(Block, q) + 16), flip)};
  }
};
struct TypeQ4_0 : Plain<BlockQ4_0, 8, true> {
  static MOIETY_STEP Halves codes(const uint8_t* group, int slice) { return nibbles(group, slice); }
};
struct TypeIQ4_NL : Plain<BlockIQ4_NL, 128, false> {
  static MOIETY_STEP Halves codes(const uint8_t* group, int slice) {
    const Halves x = nibbles(group, slice);
    return {lookup(x.first, kIQ4Values, kZero), lookup(x.last, kIQ4Values, kZero)};
  }
};
struct TypeMXFP4 : Plain<BlockMXFP4, 12, true> {
  static MOIETY_STEP Halves codes(const uint8_t* group, int slice) {
    const Halves x = nibbles(group, slice);
    return {lookup(x.first, kMXFP4Values, kZero), lookup(x.last, kMXFP4Values, kZero)};
  }
  static MOIETY_STEP void scales(const QuadRows& rows, GroupScales& s) {
    HWY_ALIGN uint8_t exponents[32];
    for (size_t b = 0; b < 8; ++b) {
      for (size_t r = 0; r < 4; ++r) exponents[4 * b + r] = block_at<Block>(rows.at[r] + b * sizeof(Block)).e;
    }
    VQ e[kSlices];
    widened<uint8_t>(hn::Load(db1, exponents), hn::Load(db1, exponents + 16), e);
    const VQ one = hn::Set(di16, 1);
    for (int i = 0; i < kSlices; ++i) {  // e8m0_half
      const VQ normal = hn::ShiftLeft<23>(hn::Sub(e[i], one));
      const VQ tiny = hn::IfThenElse(hn::Eq(e[i], one), hn::Set(di16, 0x00400000), normal);
      s.ws[i] = hn::BitCast(d16, hn::IfThenElse(hn::Eq(e[i], hn::Zero(di16)), hn::Set(di16, 0x00200000), tiny));
    }
  }
};

// Adds 16 to the codes whose fifth bit is set: bit i of the word that starts at `offset` is that of value i.
template <class B>
MOIETY_STEP Halves with_fifth_bits(Halves low, VB words) {
  HWY_ALIGN static constexpr uint8_t kByte[2][16] = {{0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1},
                                                     {2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3}};
  HWY_ALIGN static constexpr uint8_t kBit[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
  const VB bit = hn::LoadDup128(db, kBit);
  const auto add = [&](VB x, const uint8_t* byte) {
    const VB spread = hn::TableLookupBytes(words, hn::LoadDup128(db, byte));
    return hn::Or(x, hn::And(hn::VecFromMask(db, hn::Eq(hn::And(spread, bit), bit)), hn::Set(db, 16)));
  };
  return {add(low.first, kByte[0]), add(low.last, kByte[1])};
}
struct TypeQ5_0 : Plain<BlockQ5_0, 16, true> {
  static MOIETY_STEP Halves codes(const uint8_t* group, int slice) {  // the piece at `high` ends inside the block
    return with_fifth_bits<Block>(nibbles(group, slice), pieces(group, slice, offsetof(Block, high)));
  }
};

template <class B>
struct WithMin : Plain<B, 0, true> {
  static constexpr bool kMin = true;
  static MOIETY_STEP void scales(const QuadRows& rows, GroupScales& s) {
    strided_halves(rows, offsetof(B, d), sizeof(B), s.ws);
    strided_halves(rows, offsetof(B, m), sizeof(B), s.wm);
    for (V16& m : s.wm) m = hn::Neg(m);
  }
};
struct TypeQ4_1 : WithMin<BlockQ4_1> {
  static MOIETY_STEP Halves codes(const uint8_t* group, int slice) { return nibbles(group, slice); }
};
struct TypeQ5_1 : WithMin<BlockQ5_1> {
  static MOIETY_STEP Halves codes(const uint8_t* group, int slice) {
    return with_fifth_bits<Block>(nibbles(group, slice), pieces(group, slice, offsetof(Block, high)));
  }
};

// ---- blocks of 256 ---------------------------------------------------------------------------------------------

template <class B, int zero, bool group16, bool min>
struct Super {
  using Block = B;
  static constexpr int kBlocks = 8, kZero = zero;
  static constexpr bool kGroup16 = group16, kMin = min, kSmall = true;
};

// 32 bytes, the same for every block of a slice.
HWY_INLINE Halves same_bytes(const uint8_t* at) { return {hn::LoadDup128(db, at), hn::LoadDup128(db, at + 16)}; }
// 32 bytes for each two blocks.
template <int across = kAcross>
HWY_INLINE Halves pair_bytes(const uint8_t* at, int slice) {
  at += static_cast<size_t>(slice * kAcross / 2) * 32;
  if constexpr (across == 4) {
    const VB x = hn::LoadU(db, at), y = hn::SwapAdjacentBlocks(x);
    return {hn::OddEvenBlocks(y, x), hn::OddEvenBlocks(x, y)};
  } else {
    return same_bytes(at);
  }
}
// block_bits of both halves.
HWY_INLINE Halves block_bits(Halves x, const BlockShifts& shifts, int slice, uint8_t mask) {
  return {block_bits(x.first, shifts, slice, mask), block_bits(x.last, shifts, slice, mask)};
}
HWY_INLINE Halves or_shifted(Halves low, Halves high, int bits) {
  return {hn::Or(low.first, shifted_left(high.first, bits)), hn::Or(low.last, shifted_left(high.last, bits))};
}
constexpr BlockShifts kNibbles([](int block) { return 4 * (block % 2); });
constexpr BlockShifts kSixNibbles([](int block) { return block % 4 < 2 ? 0 : 4; });
constexpr BlockShifts kBitPairs([](int block) { return 2 * (block % 4); });
constexpr BlockShifts kBits([](int block) { return block; });

// Q4_K, Q5_K: a block starts with d, dmin and the 12 bytes of scales and minima.
MOIETY_STEP void k_scales(const QuadRows& rows, GroupScales& s) {
  VW1 w[4];
  const auto row = [&](int r) { return hn::BitCast(dw1, hn::LoadU(db1, rows.at[r])); };
  transpose(dw1, row(0), row(1), row(2), row(3), w);  // d and dmin, low, mid, high of 4 rows
  const VW1 six = hn::Set(dw1, 0x3f3f3f3fu), four = hn::Set(dw1, 0x0f0f0f0fu), two = hn::Set(dw1, 0x03030303u);
  const auto upper = [&](VW1 x) { return hn::ShiftLeft<4>(hn::And(hn::ShiftRight<6>(x), two)); };
  HWY_ALIGN static constexpr uint8_t kByRow[16] = {0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15};
  const VB1 by_row = hn::Load(db1, kByRow);
  const auto blocks = [&](VW1 x) { return hn::TableLookupBytes(hn::BitCast(db1, x), by_row); };
  VQ scale[kSlices], min[kSlices];
  widened<uint8_t>(blocks(hn::And(w[1], six)), blocks(hn::Or(hn::And(w[3], four), upper(w[1]))), scale);
  widened<uint8_t>(blocks(hn::And(w[2], six)), blocks(hn::Or(hn::And(hn::ShiftRight<4>(w[3]), four), upper(w[2]))),
                   min);
  HWY_ALIGN static constexpr uint8_t kApart[16] = {0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15};
  HWY_ALIGN uint16_t halves[8];
  hn::Store(hn::BitCast(dh1, hn::TableLookupBytes(hn::BitCast(db1, w[0]), hn::Load(db1, kApart))), dh1, halves);
  const hn::Rebind<hwy::float16_t, decltype(df1)> df16;
  const hn::Rebind<uint16_t, decltype(df1)> du16;
  const auto factor = [&](int i) { return hn::PromoteTo(df1, hn::BitCast(df16, hn::LoadU(du16, halves + 4 * i))); };
  times(scale, factor(0), s.ws);
  times(min, factor(1), s.wm);
}
struct TypeQ4_K : Super<BlockQ4_K, 0, false, true> {
  static MOIETY_STEP Halves codes(const uint8_t* group, int slice) {
    return block_bits(pair_bytes(block_at<Block>(group).q, slice), kNibbles, slice, 15);
  }
  static MOIETY_STEP void scales(const QuadRows& rows, GroupScales& s) { k_scales(rows, s); }
};
struct TypeQ5_K : Super<BlockQ5_K, 0, false, true> {
  static MOIETY_STEP Halves codes(const uint8_t* group, int slice) {
    const auto& block = block_at<Block>(group);
    return or_shifted(block_bits(pair_bytes(block.q, slice), kNibbles, slice, 15),
                      block_bits(same_bytes(block.high), kBits, slice, 1), 4);
  }
  static MOIETY_STEP void scales(const QuadRows& rows, GroupScales& s) { k_scales(rows, s); }
};
struct TypeIQ4_XS : Super<BlockIQ4_XS, 128, false, false> {
  static constexpr bool kSmall = false;
  static MOIETY_STEP Halves codes(const uint8_t* group, int slice) {
    const VB x = hn::LoadU(db, block_at<Block>(group).q + static_cast<size_t>(slice * kAcross) * 16);
    return {lookup(low_nibbles(x), kIQ4Values, kZero), lookup(high_nibbles(x), kIQ4Values, kZero)};
  }
  static MOIETY_STEP void scales(const QuadRows& rows, GroupScales& s) {
    VB1 bytes[4], by_row[4];
    for (int r = 0; r < 4; ++r) {
      const auto& block = block_at<Block>(rows.at[r]);
      uint64_t low = load_u32(block.scales_low), high = load_u16(block.scales_high);
      low = (low | low << 16) & 0x0000ffff0000ffffu;  // each nibble to its byte
      low = (low | low << 8) & 0x00ff00ff00ff00ffu;
      low = (low | low << 4) & 0x0f0f0f0f0f0f0f0fu;
      high = (high | high << 24) & 0x000000ff000000ffu;  // each pair of bits
      high = (high | high << 12) & 0x000f000f000f000fu;
      high = (high | high << 6) & 0x0303030303030303u;
      bytes[r] = hn::BitCast(db1, hn::Set(dl1, low | high << 4));
    }
    bytes_by_row(bytes, by_row);
    VQ scale[kSlices];
    widened<uint8_t>(by_row[0], by_row[1], scale);
    for (VQ& x : scale) x = hn::Sub(x, hn::Set(di16, 32));
    times(scale, row_halves(rows, offsetof(Block, d)), s.ws);
  }
};

HWY_INLINE void same_factor(const QuadRows& rows, size_t offset, V16* out) {
  const V16 factor = for_each_block(row_halves(rows, offset));
  for (int i = 0; i < kSlices; ++i) out[i] = factor;
}
struct TypeQ6_K : Super<BlockQ6_K, 32, true, false> {
  template <int across = kAcross>
  static MOIETY_STEP Halves codes(const uint8_t* group, int slice) {
    const auto& block = block_at<Block>(group);
    const int first = slice * kAcross, half = first / 4;
    const uint8_t* low = block.low + static_cast<size_t>(half) * 64 + static_cast<size_t>(first % 2) * 32;
    Halves x;
    if constexpr (across == 4) {  // blocks s and s + 2 share 32 bytes
      HWY_ALIGN static constexpr int32_t kFirst[16] = {0, 1, 2, 3, 8, 9, 10, 11, 0, 1, 2, 3, 8, 9, 10, 11};
      HWY_ALIGN static constexpr int32_t kLast[16] = {4, 5, 6, 7, 12, 13, 14, 15, 4, 5, 6, 7, 12, 13, 14, 15};
      const auto all = hn::BitCast(dw, hn::LoadU(db, low));
      const auto take = [&](const int32_t* index) {
        return hn::BitCast(db, hn::TableLookupLanes(all, hn::SetTableIndices(dw, index)));
      };
      x = {take(kFirst), take(kLast)};
    } else {
      x = {strided(db, low, 32), strided(db, low + 16, 32)};
    }
    return or_shifted(block_bits(x, kSixNibbles, slice, 15),
                      block_bits(same_bytes(block.high + static_cast<size_t>(half) * 32), kBitPairs, slice, 3), 4);
  }
  static MOIETY_STEP void scales(const QuadRows& rows, GroupScales& s) {
    VB1 bytes[4], by_row[4];
    for (int r = 0; r < 4; ++r) bytes[r] = hn::LoadU(db1, rows.at[r] + offsetof(Block, scales));
    bytes_by_row(bytes, by_row);
    split_halves<int8_t>(by_row, s.sub[0], s.sub[1]);
    same_factor(rows, offsetof(Block, d), s.ws);
  }
};
// Q2_K, Q3_K: two bits a weight, 32 bytes for 4 blocks.
HWY_INLINE Halves two_bits(const uint8_t* q, int slice) {
  return block_bits(same_bytes(q + static_cast<size_t>(slice * kAcross / 4) * 32), kBitPairs, slice, 3);
}
struct TypeQ3_K : Super<BlockQ3_K, 4, true, false> {
  static MOIETY_STEP Halves codes(const uint8_t* group, int slice) {
    const auto& block = block_at<Block>(group);
    return or_shifted(two_bits(block.q, slice), block_bits(same_bytes(block.high), kBits, slice, 1), 2);
  }
  static MOIETY_STEP void scales(const QuadRows& rows, GroupScales& s) {
    constexpr uint64_t kEach = 0x0101010101010101u;
    VB1 bytes[4], by_row[4];
    for (int r = 0; r < 4; ++r) {
      const uint8_t* at = block_at<Block>(rows.at[r]).scales;
      const uint64_t low = load_u32(at) | static_cast<uint64_t>(load_u32(at + 4)) << 32, high = load_u32(at + 8);
      const auto two = [&](int shift) { return (high >> shift) & 0x03030303u; };
      const auto less_32 = [&](uint64_t x) { return ((x | 0x80 * kEach) - 0x20 * kEach) ^ 0x80 * kEach; };
      const uint64_t first = less_32((low & 15 * kEach) | (two(0) | two(2) << 32) << 4);
      const uint64_t last = less_32((low >> 4 & 15 * kEach) | (two(4) | two(6) << 32) << 4);
      bytes[r] = hn::BitCast(db1, hn::InterleaveLower(dl1, hn::Set(dl1, first), hn::Set(dl1, last)));
    }
    bytes_by_row(bytes, by_row);
    split_halves<int8_t>(by_row, s.sub[0], s.sub[1]);
    same_factor(rows, offsetof(Block, d), s.ws);
  }
};
struct TypeQ2_K : Super<BlockQ2_K, 0, true, true> {
  static MOIETY_STEP Halves codes(const uint8_t* group, int slice) { return two_bits(block_at<Block>(group).q, slice); }
  static MOIETY_STEP void scales(const QuadRows& rows, GroupScales& s) {
    VB1 bytes[4], by_row[4], low[4], high[4];
    for (int r = 0; r < 4; ++r) bytes[r] = hn::LoadU(db1, rows.at[r] + offsetof(Block, scales));
    bytes_by_row(bytes, by_row);
    const VB1 mask = hn::Set(db1, 15);
    for (int i = 0; i < 4; ++i) {
      low[i] = hn::And(by_row[i], mask);
      high[i] = hn::And(hn::BitCast(db1, hn::ShiftRight<4>(hn::BitCast(dh1, by_row[i]))), mask);
    }
    split_halves<uint8_t>(low, s.sub[0], s.sub[1]);
    split_halves<uint8_t>(high, s.sub_mins[0], s.sub_mins[1]);
    same_factor(rows, offsetof(Block, d), s.ws);
    same_factor(rows, offsetof(Block, dmin), s.wm);
  }
};

}  // namespace moiety::simd::MOIETY_LEVEL
