// What a GEMV and the unpacking of a panel work on: a quad, 4 rows of the weights, times kAcross blocks of 32, where a
// block is a 128-bit lane of the widest vector. Codes are bytes [block][16]; sums and scales are [block][row], 4 rows a
// lane. A group is 8 blocks (256 weights), kSlices quads long.
#pragma once

#include "core/blocks.h"
#include "simd/dot-inl.h"

namespace moiety::simd::MOIETY_LEVEL {

using DB = hn::Repartition<uint8_t, D16>;   // [block][16] codes
using DW = hn::Repartition<uint32_t, D16>;  // the same bits
using DC = hn::Repartition<int8_t, D16>;    // signed
inline constexpr DB db;
inline constexpr DW dw;
inline constexpr DC dc;
using VB = hn::Vec<DB>;
using VQ = hn::Vec<DI16>;                                                // [block][row] int32
inline constexpr int kAcross = static_cast<int>(hn::MaxLanes(db) / 16);  // blocks in a vector
inline constexpr int kSlices = 8 / kAcross;                              // vectors in a group
inline constexpr size_t kQuadLanes = hn::MaxLanes(d16);

// 128-bit vectors.
inline constexpr hn::FixedTag<uint8_t, 16> db1;
inline constexpr hn::FixedTag<uint16_t, 8> dh1;
inline constexpr hn::FixedTag<uint32_t, 4> dw1;
inline constexpr hn::FixedTag<uint64_t, 2> dl1;
inline constexpr hn::FixedTag<float, 4> df1;
using VB1 = hn::Vec<decltype(db1)>;
using VW1 = hn::Vec<decltype(dw1)>;

// The codes of a slice: the first and the last 16 of each block.
struct Halves {
  VB first, last;
};
// The scales of a group, [slice] vectors of [block][row]; types with groups of 16: ws is the common factor, sub the
// integer scales of the halves, each twice in 16 bits, sub_mins those of both halves in 16 bits each.
struct GroupScales {
  V16 ws[kSlices], wm[kSlices];
  VQ sub[2][kSlices], sub_mins[kSlices];
};
// Where the group lies in each row of the quad.
struct QuadRows {
  const uint8_t* at[4];
};

// 16 bytes from at, at + stride, ... in lanes.
template <size_t stride, class D>
HWY_INLINE hn::Vec<D> strided(D d, const uint8_t* at) {
  if constexpr (hn::MaxLanes(D()) == 16) {
    return hn::LoadU(d, at);
  } else {
    const hn::Half<D> half;
    constexpr size_t kBlocks = hn::MaxLanes(D()) / 32;
    return hn::Combine(d, strided<stride>(half, at + stride * kBlocks), strided<stride>(half, at));
  }
}

#if defined(__AVX512BW__)
// The words that are wanted of two pieces of 64 bytes, the second one `behind` bytes behind the first.
struct WordIndex {
  alignas(64) uint16_t at[32];
  // byte: counted from the first piece, where word i of 32 lies
  template <class Byte>
  constexpr WordIndex(size_t behind, const Byte& byte) : at() {
    for (size_t i = 0; i < 32; ++i) at[i] = static_cast<uint16_t>((byte(i) < 64 ? byte(i) : byte(i) - behind + 64) / 2);
  }
};
// The same for 4 blocks, `offset` into each, from two loads that lie inside the blocks.
template <size_t stride>
inline constexpr bool kTwoLoads = stride % 2 == 0 && 4 * stride >= 64 && 4 * stride <= 128;
template <size_t stride, size_t offset>
HWY_INLINE VB strided4(const uint8_t* blocks) {
  if constexpr (kTwoLoads<stride>) {
    constexpr size_t kBehind = 4 * stride - 64;
    static constexpr WordIndex kIndex(kBehind, [](size_t i) { return offset + i / 8 * stride + i % 8 * 2; });
    return take_words(hn::LoadU(db, blocks), hn::LoadU(db, blocks + kBehind), kIndex.at);
  } else {
    return strided<stride>(db, blocks + offset);
  }
}
#endif

HWY_INLINE VB masked(VB x, uint8_t mask) { return hn::And(x, hn::Set(db, mask)); }
HWY_INLINE VB shifted_right(VB x, int bits) {
  return hn::BitCast(db, hn::ShiftRightSame(hn::BitCast(hn::Repartition<uint16_t, DB>(), x), bits));
}
HWY_INLINE VB shifted_left(VB x, int bits) {
  return hn::BitCast(db, hn::ShiftLeftSame(hn::BitCast(hn::Repartition<uint16_t, DB>(), x), bits));
}
// A nibble of each byte.
HWY_INLINE VB low_nibbles(VB x) { return masked(x, 15); }
HWY_INLINE VB high_nibbles(VB x) { return masked(shifted_right(x, 4), 15); }

// How far each block of a group is shifted, [block][4 times].
struct BlockShifts {
  alignas(64) uint32_t count[32];
  constexpr explicit BlockShifts(int (*of)(int block)) : count() {
    for (int i = 0; i < 32; ++i) count[i] = static_cast<uint32_t>(of(i / 4));
  }
};
// (byte >> shift of its block) & mask. No bit that the mask keeps comes from another byte.
template <int across = kAcross>  // templates, so that only one arm is compiled
HWY_INLINE VB block_bits(VB x, const BlockShifts& shifts, int slice, uint8_t mask) {
  if constexpr (across == 1) {
    return masked(shifted_right(x, static_cast<int>(shifts.count[4 * slice])), mask);
  } else {
    const auto by = hn::Load(dw, shifts.count + static_cast<size_t>(slice) * kQuadLanes);
    return masked(hn::BitCast(db, hn::Shr(hn::BitCast(dw, x), by)), mask);
  }
}

// table[code] + zero for codes below 16.
HWY_INLINE VB lookup(VB x, const int8_t* table, int zero) {
  HWY_ALIGN uint8_t entries[16];
  for (int i = 0; i < 16; ++i) entries[i] = static_cast<uint8_t>(table[i] + zero);
  return hn::TableLookupBytes(hn::LoadDup128(db, entries), x);
}

// Minus the zero point of a type times a sum of codes, from the tile's sums (kernels.h).
template <int zero>
HWY_INLINE VQ tile_seed(int32_t sum) {
  static_assert(kSumsTimes == 8 && zero >= 4);
  const VQ seed = hn::Set(di16, sum);
  if constexpr (zero < 8)
    return hn::ShiftRight<1>(seed);
  else
    return hn::ShiftLeft<hwy::FloorLog2(zero) - 3>(seed);
}

// ---- [block][row] vectors ------------------------------------------------------------------------------------

// 4 floats, one a row, for every block.
HWY_INLINE V16 for_each_block(hn::Vec<decltype(df1)> rows) {
  HWY_ALIGN float four[4];
  hn::Store(rows, df1, four);
  return hn::LoadDup128(d16, four);
}
// Which block of the group a lane holds, for every row.
template <class T>
struct BlockIndex {
  int32_t at[kSlices][4 * kAcross];
  constexpr BlockIndex() : at() {
    for (int s = 0; s < kSlices; ++s) {
      for (int i = 0; i < 4 * kAcross; ++i) at[s][i] = T::block(s, i / 4);
    }
  }
};
// 8 numbers, one a block: those of a slice, for every row.
template <class T, class D, class N>
HWY_INLINE hn::Vec<D> for_each_row(D d, const N* blocks, int slice) {
  if constexpr (hn::MaxLanes(D()) == 4) {
    return hn::Set(d, blocks[T::block(slice, 0)]);
  } else if constexpr (hn::MaxLanes(D()) == 16) {
    static constexpr BlockIndex<T> kIndex;
    const auto all = hn::ZeroExtendVector(d, hn::LoadU(hn::Half<D>(), blocks));
    return hn::TableLookupLanes(all, hn::SetTableIndices(d, kIndex.at[slice]));
  } else {
    const hn::Half<D> half;
    return hn::Combine(d, hn::Set(half, blocks[T::block(slice, 1)]), hn::Set(half, blocks[T::block(slice, 0)]));
  }
}

// 16 bytes of each of the slice's blocks; at: those of block 0.
template <class T, int first = 0, class D = DB>
HWY_INLINE hn::Vec<D> gathered(const int8_t* at, int slice) {
  if constexpr (hn::MaxLanes(D()) == 16) {
    return hn::LoadU(D(), reinterpret_cast<const uint8_t*>(at) + 16 * T::block(slice, first));
  } else {
    using Half = hn::Half<D>;
    constexpr int kBlocks = static_cast<int>(hn::MaxLanes(D()) / 32);
    return hn::Combine(D(), gathered<T, first + kBlocks, Half>(at, slice), gathered<T, first, Half>(at, slice));
  }
}

// Bytes [block 0..3][row] and [block 4..7][row] to int32. T: uint8_t or int8_t.
template <class T>
MOIETY_STEP void widened(VB1 low, VB1 high, VQ* out) {
  HWY_ALIGN T bytes[32];
  hn::Store(low, db1, reinterpret_cast<uint8_t*>(bytes));
  hn::Store(high, db1, reinterpret_cast<uint8_t*>(bytes) + 16);
  for (int s = 0; s < kSlices; ++s) {
    out[s] = hn::PromoteTo(di16, hn::LoadU(hn::Rebind<T, DI16>(), bytes + static_cast<size_t>(s) * kQuadLanes));
  }
}

// Words [block][row], 4 rows each, of fp16 numbers to floats.
template <int across = kAcross>
HWY_INLINE void halves_to_floats(const uint64_t* words, V16* out) {
  const hn::Rebind<hwy::float16_t, D16> dh;
  const hn::Rebind<uint16_t, D16> du;
  for (int s = 0; s < kSlices; ++s) {
    const auto pair = [&](int i) {
      return hn::BitCast(dh1, hn::InterleaveLower(dl1, hn::Set(dl1, words[i]), hn::Set(dl1, words[i + 1])));
    };
    if constexpr (across == 4) {
      out[s] = hn::PromoteTo(d16, hn::BitCast(dh, hn::Combine(du, pair(4 * s + 2), pair(4 * s))));
    } else if constexpr (across == 2) {
      out[s] = hn::PromoteTo(d16, hn::BitCast(dh, pair(2 * s)));
    } else {
      out[s] = hn::PromoteTo(d16, hn::BitCast(dh, hn::LoadU(du, reinterpret_cast<const uint16_t*>(words + s))));
    }
  }
}
// The fp16 numbers at `offset` of 8 blocks of `stride` bytes.
template <size_t offset, size_t stride>
MOIETY_STEP void strided_halves(const QuadRows& rows, V16* out) {
#if defined(__AVX512BW__)
  if constexpr (kTwoLoads<stride> && offset + 3 * stride + 2 <= 64) {  // strided4's first load has them
    static constexpr WordIndex kIndex(64, [](size_t i) { return offset + i / 4 % 4 * stride + i % 2 * 64; });
    for (size_t s = 0; s < 2; ++s) {
      const auto piece = [&](int r) HWY_ATTR { return hn::LoadU(db, rows.at[r] + s * 4 * stride); };
      const auto pair = [&](int r) HWY_ATTR { return hn::BitCast(dw, take_words(piece(r), piece(r + 1), kIndex.at)); };
      const hn::Rebind<hwy::float16_t, D16> dh;
      out[s] = hn::PromoteTo(d16, hn::BitCast(dh, hn::LowerHalf(hn::Half<DW>(), hn::OddEven(pair(2), pair(0)))));
    }
    return;
  }
#endif
  HWY_ALIGN uint64_t words[8];
  for (size_t b = 0; b < 8; ++b) {
    uint64_t word = 0;
    for (int r = 0; r < 4; ++r) word |= static_cast<uint64_t>(load_u16(rows.at[r] + offset + b * stride)) << (16 * r);
    words[b] = word;
  }
  halves_to_floats(words, out);
}
// The fp16 number at `offset` of each row's group.
HWY_INLINE hn::Vec<decltype(df1)> row_halves(const QuadRows& rows, size_t offset) {
  uint64_t word = 0;
  for (int r = 0; r < 4; ++r) word |= static_cast<uint64_t>(load_u16(rows.at[r] + offset)) << (16 * r);
  const hn::Rebind<hwy::float16_t, decltype(df1)> dh;
  const hn::Rebind<uint16_t, decltype(df1)> du;
  return hn::PromoteTo(df1, hn::BitCast(dh, hn::LowerHalf(du, hn::BitCast(dh1, hn::Set(dl1, word)))));
}

// a..e: dwords [i] of 4 rows -> out[i]: [row].
template <class D, class V>
MOIETY_STEP void transpose(D d, V a, V b, V c, V e, V out[4]) {
  const hn::Repartition<uint64_t, D> dl;
  const auto low = [&](V x, V y) {
    return hn::BitCast(d, hn::InterleaveLower(dl, hn::BitCast(dl, x), hn::BitCast(dl, y)));
  };
  const auto high = [&](V x, V y) {
    return hn::BitCast(d, hn::InterleaveUpper(dl, hn::BitCast(dl, x), hn::BitCast(dl, y)));
  };
  const V ab0 = hn::InterleaveLower(d, a, b), ab1 = hn::InterleaveUpper(d, a, b);
  const V ce0 = hn::InterleaveLower(d, c, e), ce1 = hn::InterleaveUpper(d, c, e);
  out[0] = low(ab0, ce0), out[1] = high(ab0, ce0), out[2] = low(ab1, ce1), out[3] = high(ab1, ce1);
}
// 16 bytes of each of 4 rows to [byte][row]: out[i] holds bytes 4i .. 4i + 3.
MOIETY_STEP void bytes_by_row(const VB1 rows[4], VB1 out[4]) {
  const auto a = hn::BitCast(dh1, hn::InterleaveLower(db1, rows[0], rows[1])),
             c = hn::BitCast(dh1, hn::InterleaveLower(db1, rows[2], rows[3]));
  const auto b = hn::BitCast(dh1, hn::InterleaveUpper(db1, rows[0], rows[1])),
             e = hn::BitCast(dh1, hn::InterleaveUpper(db1, rows[2], rows[3]));
  out[0] = hn::BitCast(db1, hn::InterleaveLower(dh1, a, c));
  out[1] = hn::BitCast(db1, hn::InterleaveUpper(dh1, a, c));
  out[2] = hn::BitCast(db1, hn::InterleaveLower(dh1, b, e));
  out[3] = hn::BitCast(db1, hn::InterleaveUpper(dh1, b, e));
}
// ---- the scales of groups of 16: byte 2b + half of a row's 16 belongs to a half of block b -------------------------

// 16 bytes of each of 4 rows, after f(d, bytes of a row): [row][16] in one vector, or [byte][row] in 4.
template <int across = kAcross>
struct RowBytes {
  VB1 v[4];
  template <class F>
  HWY_INLINE RowBytes(const QuadRows& rows, size_t offset, const F& f) {
    VB1 row[4];
    for (int r = 0; r < 4; ++r) row[r] = f(db1, hn::LoadU(db1, rows.at[r] + offset));
    bytes_by_row(row, v);
  }
  // Lanes of 16 bytes, those of two blocks, the slice's one among them.
  template <class T>
  HWY_INLINE VB blocks(int slice) const {
    HWY_ALIGN uint8_t bytes[16 * kAcross];
    for (int i = 0; i < kAcross; ++i) hn::Store(v[T::block(slice, i) / 2], db1, bytes + 16 * i);
    return hn::Load(db, bytes);
  }
};
template <>
struct RowBytes<4> {
  VB v;
  template <class F>
  HWY_INLINE RowBytes(const QuadRows& rows, size_t offset, const F& f) {
    const auto row = [&](int r) { return hn::LoadU(db1, rows.at[r] + offset); };
    const hn::Half<DB> half;
    v = f(db, hn::Combine(db, hn::Combine(half, row(3), row(2)), hn::Combine(half, row(1), row(0))));
  }
  template <class T>
  HWY_INLINE VB blocks(int slice) const {
    static constexpr auto kIndex = [] {
      BlockIndex<T> index;
      for (auto& s : index.at) {
        for (int i = 0; i < 16; ++i) s[i] = i % 4 * 4 + s[i] / 2;
      }
      return index;
    }();
    return hn::BitCast(db, hn::TableLookupLanes(hn::BitCast(dw, v), hn::SetTableIndices(dw, kIndex.at[slice])));
  }
};
// Of RowBytes::blocks(), the bytes of halves `low` and `high` as a pair of int16: bytes in the words' upper ends (to be
// shifted down with their sign) or lower ones.
template <class T>
struct PairIndex {
  alignas(64) uint8_t at[kSlices][16 * kAcross];
  constexpr PairIndex(int low, int high, bool upper) : at() {
    for (int s = 0; s < kSlices; ++s) {
      for (int i = 0; i < 16 * kAcross; ++i) {
        const int row = i / 4 % 4, byte = T::block(s, i / 16) % 2 * 2 + (i & 2 ? high : low);
        at[s][i] = static_cast<uint8_t>((i & 1) != upper ? 0x80 : kAcross == 4 ? 4 * row + byte : 4 * byte + row);
      }
    }
  }
};
template <class T, int low, int high, bool is_signed>
MOIETY_STEP void pairs(const RowBytes<>& bytes, VQ* out) {
  static constexpr PairIndex<T> kIndex(low, high, is_signed);
  const hn::Repartition<int16_t, DB> dh;
  for (int s = 0; s < kSlices; ++s) {
    const VB x = hn::TableLookupBytesOr0(bytes.template blocks<T>(s), hn::Load(db, kIndex.at[s]));
    out[s] = hn::BitCast(di16, hn::BitCast(dh, x));
    if constexpr (is_signed) out[s] = hn::BitCast(di16, hn::ShiftRight<8>(hn::BitCast(dh, x)));
  }
}
template <class T, bool is_signed>
HWY_INLINE void sub_scales(const RowBytes<>& bytes, GroupScales& s) {
  pairs<T, 0, 0, is_signed>(bytes, s.sub[0]);
  pairs<T, 1, 1, is_signed>(bytes, s.sub[1]);
}
HWY_INLINE void times(const VQ* x, hn::Vec<decltype(df1)> factor, V16* out) {
  const V16 factors = for_each_block(factor);
  for (int s = 0; s < kSlices; ++s) out[s] = hn::Mul(hn::ConvertTo(d16, x[s]), factors);
}

}  // namespace moiety::simd::MOIETY_LEVEL
