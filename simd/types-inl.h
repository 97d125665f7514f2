// What the int8 kernels must know of each quantised type, here alone: a slice's codes as unsigned bytes (value +
// kZero, a power of two or 0; |value| <= kMost), and the scales of a group of 8 blocks for 4 rows. kGroup16: integer sub-scales for each
// half of a block. kMin: a minimum is subtracted. kBlocks: blocks of 32 in one of the type's own blocks. kSmall: codes
// below 128. block(slice, lane): the block that a lane of a slice holds. Row: what the slices of a row's group share.
#pragma once

#include "simd/quad-inl.h"

namespace moiety::simd::MOIETY_LEVEL {

template <class B>
HWY_INLINE const B& block_at(const uint8_t* group) {
  return *reinterpret_cast<const B*>(group);
}

// ---- blocks of 32 with a scale each ----------------------------------------------------------------------------

struct InOrder {
  static constexpr int block(int slice, int lane) { return slice * kAcross + lane; }
  using Row = const uint8_t*;
  static HWY_INLINE Row row(const uint8_t* group) { return group; }
};

template <class B, int zero, int most>
struct Plain : InOrder {
  using Block = B;
  static constexpr int kBlocks = 1, kZero = zero, kMost = most;
  static constexpr bool kGroup16 = false, kMin = false, kSmall = most + zero < 128;
  // 16 bytes at `offset` of each block of the slice.
  template <size_t offset>
  static HWY_INLINE VB pieces(const uint8_t* group, int slice) {
    const uint8_t* at = group + static_cast<size_t>(slice * kAcross) * sizeof(B);
#if defined(__AVX512BW__)
    return strided4<sizeof(B), offset>(at);
#else
    return strided<sizeof(B)>(db, at + offset);
#endif
  }
  static MOIETY_STEP Halves nibbles(const uint8_t* group, int slice) {
    const VB x = pieces<offsetof(B, q)>(group, slice);
    return {low_nibbles(x), high_nibbles(x)};
  }
  static MOIETY_STEP void scales(const QuadRows& rows, GroupScales& s) {
    strided_halves<offsetof(B, d), sizeof(B)>(rows, s.ws);
  }
};
struct TypeQ8_0 : Plain<BlockQ8_0, 128, 128> {
  static MOIETY_STEP Halves codes(const uint8_t* group, int slice) {
    const VB flip = hn::Set(db, 128);
    return {hn::Xor(pieces<offsetof(Block, q)>(group, slice), flip),
            hn::Xor(pieces<offsetof(Block, q) + 16>(group, slice), flip)};
  }
};
struct TypeQ4_0 : Plain<BlockQ4_0, 8, 8> {
  static MOIETY_STEP Halves codes(const uint8_t* group, int slice) { return nibbles(group, slice); }
};
struct TypeIQ4_NL : Plain<BlockIQ4_NL, 128, 127> {
  static MOIETY_STEP Halves codes(const uint8_t* group, int slice) {
    const Halves x = nibbles(group, slice);
    return {lookup(x.first, kIQ4Values, kZero), lookup(x.last, kIQ4Values, kZero)};
  }
};
// e8m0_half of exponents.
HWY_INLINE V16 e8m0_halves(VQ e) {
  const VQ one = hn::Set(di16, 1);
  const VQ normal = hn::ShiftLeft<23>(hn::Sub(e, one));
  const VQ tiny = hn::IfThenElse(hn::Eq(e, one), hn::Set(di16, 0x00400000), normal);
  return hn::BitCast(d16, hn::IfThenElse(hn::Eq(e, hn::Zero(di16)), hn::Set(di16, 0x00200000), tiny));
}
struct TypeMXFP4 : Plain<BlockMXFP4, 16, 12> {
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
    for (int i = 0; i < kSlices; ++i) s.ws[i] = e8m0_halves(e[i]);
  }
};

// x + value where the bytes have the bit (one a byte).
HWY_INLINE VB add_where(VB x, VB bytes, VB bit, uint8_t value) {
  const auto has = hn::TestBit(bytes, bit);
  if constexpr (kAcross == 4)  // a masked addition
    return hn::IfThenElse(has, hn::Add(x, hn::Set(db, value)), x);
  else
    return hn::Or(x, hn::And(hn::VecFromMask(db, has), hn::Set(db, value)));
}
// Adds 16 to the codes whose fifth bit is set: bit i of the word that a lane starts with is that of value i.
MOIETY_STEP Halves with_fifth_bits(Halves low, VB words) {
  HWY_ALIGN static constexpr uint8_t kByte[2][16] = {{0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1},
                                                     {2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3}};
  HWY_ALIGN static constexpr uint8_t kBit[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
  const VB bit = hn::LoadDup128(db, kBit);
  const auto spread = [&](const uint8_t* byte) { return hn::TableLookupBytes(words, hn::LoadDup128(db, byte)); };
  return {add_where(low.first, spread(kByte[0]), bit, 16), add_where(low.last, spread(kByte[1]), bit, 16)};
}
struct TypeQ5_0 : Plain<BlockQ5_0, 16, 16> {
  static MOIETY_STEP Halves codes(const uint8_t* group, int slice) {  // the piece at `high` ends inside the block
    return with_fifth_bits(nibbles(group, slice), pieces<offsetof(Block, high)>(group, slice));
  }
};

template <class B, int most>
struct WithMin : Plain<B, 0, most> {
  static constexpr bool kMin = true;
  static MOIETY_STEP void scales(const QuadRows& rows, GroupScales& s) {
    strided_halves<offsetof(B, d), sizeof(B)>(rows, s.ws);
    strided_halves<offsetof(B, m), sizeof(B)>(rows, s.wm);
    for (V16& m : s.wm) m = hn::Neg(m);
  }
};
struct TypeQ4_1 : WithMin<BlockQ4_1, 15> {
  static MOIETY_STEP Halves codes(const uint8_t* group, int slice) { return nibbles(group, slice); }
};
struct TypeQ5_1 : WithMin<BlockQ5_1, 31> {
  static MOIETY_STEP Halves codes(const uint8_t* group, int slice) {
    return with_fifth_bits(nibbles(group, slice), pieces<offsetof(Block, high)>(group, slice));
  }
};

// ---- blocks of 256 ---------------------------------------------------------------------------------------------

template <class B, int zero, int most, bool group16, bool min>
struct Super : InOrder {
  using Block = B;
  static constexpr int kBlocks = 8, kZero = zero, kMost = most;
  static constexpr bool kGroup16 = group16, kMin = min, kSmall = most + zero < 128;
};

// 32 bytes, the same for every block of a slice.
HWY_INLINE Halves same_bytes(const uint8_t* at) { return {hn::LoadDup128(db, at), hn::LoadDup128(db, at + 16)}; }
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

// x + value where the bit of the slice's block is set in 32 bytes that all blocks share.
template <class T>
HWY_INLINE Halves add_block_bits(Halves x, const uint8_t* at, int slice, uint8_t value) {
  static constexpr auto kBits = [] {
    BlockIndex<T> bits;
    for (auto& s : bits.at) {
      for (auto& block : s) block = 0x01010101 << block;
    }
    return bits;
  }();
  const VB bit = hn::BitCast(db, hn::LoadU(di16, kBits.at[slice]));
  const Halves bytes = same_bytes(at);
  return {add_where(x.first, bytes.first, bit, value), add_where(x.last, bytes.last, bit, value)};
}

// Q4_K, Q5_K: 32 bytes for each two blocks, the even one in the low nibbles.
template <int across = kAcross>
struct Nibbles {
  static constexpr int block(int slice, int lane) { return slice * kAcross + lane; }
  const uint8_t* at;
  HWY_INLINE Halves operator()(int slice) const {
    const Halves x = same_bytes(at + static_cast<size_t>(slice * kAcross / 2) * 32);
    return block_bits(x, kNibbles, slice, 15);
  }
};
#if defined(__AVX512BW__)
template <>
struct Nibbles<4> {  // a slice of the even blocks, one of the odd ones
  static constexpr int block(int slice, int lane) { return 2 * lane + slice; }
  VB first, last;
  HWY_INLINE explicit Nibbles(const uint8_t* at) {
    const VB x = hn::LoadU(db, at), y = hn::LoadU(db, at + 64);
    first = even_lanes(x, y), last = odd_lanes(x, y);
  }
  HWY_INLINE Halves operator()(int slice) const {
    if (slice == 0) return {low_nibbles(first), low_nibbles(last)};
    return {high_nibbles(first), high_nibbles(last)};
  }
};
#endif
// Q4_K, Q5_K: a block starts with d, dmin and the 12 bytes of scales and minima.
template <class T>
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
  const auto in_order = [&](VW1 low, VW1 high, VQ* out) {
    low = hn::BitCast(dw1, blocks(low)), high = hn::BitCast(dw1, blocks(high));
    if constexpr (T::block(0, 1) == 2) {  // even blocks first
      const VW1 even = hn::ConcatEven(dw1, high, low);
      high = hn::ConcatOdd(dw1, high, low), low = even;
    }
    widened<uint8_t>(hn::BitCast(db1, low), hn::BitCast(db1, high), out);
  };
  in_order(hn::And(w[1], six), hn::Or(hn::And(w[3], four), upper(w[1])), scale);
  in_order(hn::And(w[2], six), hn::Or(hn::And(hn::ShiftRight<4>(w[3]), four), upper(w[2])), min);
  HWY_ALIGN static constexpr uint8_t kApart[16] = {0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15};
  HWY_ALIGN uint16_t halves[8];
  hn::Store(hn::BitCast(dh1, hn::TableLookupBytes(hn::BitCast(db1, w[0]), hn::Load(db1, kApart))), dh1, halves);
  const hn::Rebind<hwy::float16_t, decltype(df1)> df16;
  const hn::Rebind<uint16_t, decltype(df1)> du16;
  const auto factor = [&](int i) { return hn::PromoteTo(df1, hn::BitCast(df16, hn::LoadU(du16, halves + 4 * i))); };
  times(scale, factor(0), s.ws);
  times(min, factor(1), s.wm);
}
struct TypeQ4_K : Super<BlockQ4_K, 0, 15, false, true> {
  using Row = Nibbles<>;
  static constexpr int block(int slice, int lane) { return Row::block(slice, lane); }
  static HWY_INLINE Row row(const uint8_t* group) { return Row{block_at<Block>(group).q}; }
  static MOIETY_STEP Halves codes(const Row& row, int slice) { return row(slice); }
  static MOIETY_STEP void scales(const QuadRows& rows, GroupScales& s) { k_scales<TypeQ4_K>(rows, s); }
};
struct TypeQ5_K : Super<BlockQ5_K, 0, 31, false, true> {
  struct Row {
    Nibbles<> low;
    const uint8_t* high;
  };
  static constexpr int block(int slice, int lane) { return Nibbles<>::block(slice, lane); }
  static HWY_INLINE Row row(const uint8_t* group) {
    const auto& block = block_at<Block>(group);
    return {Nibbles<>{block.q}, block.high};
  }
  static MOIETY_STEP Halves codes(const Row& row, int slice) {
    return add_block_bits<TypeQ5_K>(row.low(slice), row.high, slice, 16);
  }
  static MOIETY_STEP void scales(const QuadRows& rows, GroupScales& s) { k_scales<TypeQ5_K>(rows, s); }
};
struct TypeIQ4_XS : Super<BlockIQ4_XS, 128, 127, false, false> {
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
// Q6_K: each half of 4 blocks has 64 bytes of nibbles, the first two blocks in the low ones, and 32 of bit pairs.
template <int across = kAcross>
struct SixBits {
  static constexpr int block(int slice, int lane) { return slice * kAcross + lane; }
  const BlockQ6_K& q;
  HWY_INLINE Halves operator()(int slice) const {
    const int first = slice * kAcross, half = first / 4;
    const uint8_t* low = q.low + static_cast<size_t>(half) * 64 + static_cast<size_t>(first % 2) * 32;
    const Halves nibbles = {strided<32>(db, low), strided<32>(db, low + 16)};
    return or_shifted(block_bits(nibbles, kSixNibbles, slice, 15),
                      block_bits(same_bytes(q.high + static_cast<size_t>(half) * 32), kBitPairs, slice, 3), 4);
  }
};
#if defined(__AVX512BW__)
template <>
struct SixBits<4> {  // a slice of the first two blocks of each half, one of the last two
  static constexpr int block(int slice, int lane) { return lane / 2 * 4 + lane % 2 + 2 * slice; }
  VB first, last, high_first, high_last;
  HWY_INLINE explicit SixBits(const BlockQ6_K& q) {
    const VB x = hn::LoadU(db, q.low), y = hn::LoadU(db, q.low + 64);
    first = even_lanes(x, y), last = odd_lanes(x, y);
    const VB high = hn::LoadU(db, q.high), swapped = hn::SwapAdjacentBlocks(high);
    high_first = hn::OddEvenBlocks(swapped, high), high_last = hn::OddEvenBlocks(high, swapped);
  }
  HWY_INLINE Halves operator()(int slice) const {
    HWY_ALIGN static constexpr uint32_t kUp[16] = {4, 4, 4, 4, 2, 2, 2, 2, 4, 4, 4, 4, 2, 2, 2, 2};
    HWY_ALIGN static constexpr uint32_t kDown[16] = {0, 0, 0, 0, 2, 2, 2, 2, 0, 0, 0, 0, 2, 2, 2, 2};
    const auto pair = [&](VB x) HWY_ATTR {
      const auto bits = hn::BitCast(dw, x);
      return masked(hn::BitCast(db, slice == 0 ? hn::Shl(bits, hn::Load(dw, kUp)) : hn::Shr(bits, hn::Load(dw, kDown))),
                    0x30);
    };
    if (slice == 0) return {hn::Or(low_nibbles(first), pair(high_first)), hn::Or(low_nibbles(last), pair(high_last))};
    return {hn::Or(high_nibbles(first), pair(high_first)), hn::Or(high_nibbles(last), pair(high_last))};
  }
};
#endif
struct TypeQ6_K : Super<BlockQ6_K, 32, 32, true, false> {
  using Row = SixBits<>;
  static constexpr int block(int slice, int lane) { return Row::block(slice, lane); }
  static HWY_INLINE Row row(const uint8_t* group) { return Row{block_at<Block>(group)}; }
  static MOIETY_STEP Halves codes(const Row& row, int slice) { return row(slice); }
  static MOIETY_STEP void scales(const QuadRows& rows, GroupScales& s) {
    const RowBytes<> bytes(rows, offsetof(Block, scales), [](auto, auto x) { return x; });
    sub_scales<TypeQ6_K, true>(bytes, s);
    same_factor(rows, offsetof(Block, d), s.ws);
  }
};
// Q2_K, Q3_K: two bits a weight, 32 bytes for 4 blocks.
HWY_INLINE Halves two_bits(const uint8_t* q, int slice) {
  return block_bits(same_bytes(q + static_cast<size_t>(slice * kAcross / 4) * 32), kBitPairs, slice, 3);
}
// 16 scales from the 12 bytes at x + 2: a nibble, and two bits above it.
template <class D, class V>
HWY_INLINE V q3_scales(D d, V x) {
  const hn::Repartition<uint16_t, D> dh;
  const hn::Repartition<uint32_t, D> d32;
  const hn::Repartition<uint64_t, D> dl;
  HWY_ALIGN static constexpr uint8_t kLow[16] = {2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5, 6, 7, 8, 9};
  HWY_ALIGN static constexpr uint8_t kHigh[16] = {10, 11, 12, 13, 10, 11, 12, 13, 10, 11, 12, 13, 10, 11, 12, 13};
  const auto low = hn::BitCast(dl, hn::TableLookupBytes(x, hn::LoadDup128(d, kLow)));
  const auto nibbles = hn::BitCast(d, hn::OddEven(hn::ShiftRight<4>(low), low));
  const auto high = hn::BitCast(d32, hn::TableLookupBytes(x, hn::LoadDup128(d, kHigh)));
  const auto by_two = hn::BitCast(dl, hn::OddEven(hn::ShiftRight<2>(high), high));
  const auto by_four = hn::BitCast(dh, hn::OddEven(hn::ShiftRight<4>(by_two), by_two));
  const V upper = hn::And(hn::BitCast(d, hn::ShiftLeft<4>(by_four)), hn::Set(d, 0x30));
  return hn::Sub(hn::Or(hn::And(nibbles, hn::Set(d, 15)), upper), hn::Set(d, 32));
}
struct TypeQ3_K : Super<BlockQ3_K, 4, 4, true, false> {
  static MOIETY_STEP Halves codes(const uint8_t* group, int slice) {
    const auto& block = block_at<Block>(group);
    return add_block_bits<TypeQ3_K>(two_bits(block.q, slice), block.high, slice, 4);
  }
  static MOIETY_STEP void scales(const QuadRows& rows, GroupScales& s) {
    constexpr size_t kOffset = sizeof(Block) - 16;  // two bytes before the scales
    static_assert(offsetof(Block, scales) == kOffset + 2);
    const RowBytes<> bytes(rows, kOffset, [](auto d, auto x) HWY_ATTR { return q3_scales(d, x); });
    sub_scales<TypeQ3_K, true>(bytes, s);
    same_factor(rows, offsetof(Block, d), s.ws);
  }
};
struct TypeQ2_K : Super<BlockQ2_K, 0, 3, true, true> {
  static MOIETY_STEP Halves codes(const uint8_t* group, int slice) { return two_bits(block_at<Block>(group).q, slice); }
  static MOIETY_STEP void scales(const QuadRows& rows, GroupScales& s) {
    const auto low = [](auto d, auto x) HWY_ATTR { return hn::And(x, hn::Set(d, 15)); };
    const auto high = [](auto d, auto x) HWY_ATTR {
      const hn::Repartition<uint16_t, decltype(d)> dh;
      return hn::And(hn::BitCast(d, hn::ShiftRight<4>(hn::BitCast(dh, x))), hn::Set(d, 15));
    };
    sub_scales<TypeQ2_K, false>(RowBytes<>(rows, offsetof(Block, scales), low), s);
    pairs<TypeQ2_K, 0, 1, false>(RowBytes<>(rows, offsetof(Block, scales), high), s.sub_mins);
    same_factor(rows, offsetof(Block, d), s.ws);
    same_factor(rows, offsetof(Block, dmin), s.wm);
  }
};

}  // namespace moiety::simd::MOIETY_LEVEL
