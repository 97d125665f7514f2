// What a GEMV and the unpacking of a panel work on: a quad, 4 rows of the weights, times kAcross blocks of 32, where a
// block is a 128-bit lane of the widest vector. Codes are bytes [block][16]; sums and scales are [block][row], 4 rows a
// lane. A group is 8 blocks (256 weights), kSlices quads long.
#pragma once

#include "core/blocks.h"
#include "simd/base-inl.h"

// Steps that are worth a call of their own where every operation is emulated by a loop: the compilers take minutes
// otherwise.
#if HWY_TARGET == HWY_EMU128
#define MOIETY_STEP inline HWY_NOINLINE
#else
#define MOIETY_STEP HWY_INLINE
#endif

namespace moiety::simd::MOIETY_LEVEL {

using DB = hn::Repartition<uint8_t, D16>;   // [block][16] codes
using DW = hn::Repartition<uint32_t, D16>;  // the same bits
inline constexpr DB db;
inline constexpr DW dw;
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
// integer scales of the halves.
struct GroupScales {
  V16 ws[kSlices], wm[kSlices];
  VQ sub[2][kSlices], sub_mins[2][kSlices];
};
// Where the group lies in each row of the quad.
struct QuadRows {
  const uint8_t* at[4];
};

// 16 bytes from at, at + stride, ... in lanes.
template <class D>
HWY_INLINE hn::Vec<D> strided(D d, const uint8_t* at, size_t stride) {
  if constexpr (hn::MaxLanes(D()) == 16) {
    return hn::LoadU(d, at);
  } else {
    const hn::Half<D> half;
    return hn::Combine(d, strided(half, at + stride * (hn::MaxLanes(D()) / 32), stride), strided(half, at, stride));
  }
}

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

// ---- [block][row] vectors ------------------------------------------------------------------------------------

// 4 floats, one a row, for every block.
HWY_INLINE V16 for_each_block(hn::Vec<decltype(df1)> rows) {
  HWY_ALIGN float four[4];
  hn::Store(rows, df1, four);
  return hn::LoadDup128(d16, four);
}
// 8 numbers, one a block: those of a slice, for every row.
template <class D, class T>
HWY_INLINE hn::Vec<D> for_each_row(D d, const T* blocks, int slice) {
  if constexpr (hn::MaxLanes(D()) == 4) {
    return hn::Set(d, blocks[slice]);
  } else if constexpr (hn::MaxLanes(D()) == 16) {
    HWY_ALIGN static constexpr int32_t kIndex[16] = {0, 0, 0, 0, 5, 5, 5, 5, 10, 10, 10, 10, 15, 15, 15, 15};
    return hn::TableLookupLanes(hn::LoadDup128(d, blocks + 4 * slice), hn::SetTableIndices(d, kIndex));
  } else {
    const hn::Half<D> half;
    return hn::Combine(d, hn::Set(half, blocks[2 * slice + 1]), hn::Set(half, blocks[2 * slice]));
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
MOIETY_STEP void strided_halves(const QuadRows& rows, size_t offset, size_t stride, V16* out) {
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
// Scales of the groups of 16, bytes 2b and 2b + 1 of [byte][row], to those of first and last halves.
template <class T>
HWY_INLINE void split_halves(const VB1 bytes[4], VQ* first, VQ* last) {
  const auto w = [&](int i) { return hn::BitCast(dw1, bytes[i]); };
  const auto even = [&](int i) { return hn::BitCast(db1, hn::ConcatEven(dw1, w(i + 1), w(i))); };
  const auto odd = [&](int i) { return hn::BitCast(db1, hn::ConcatOdd(dw1, w(i + 1), w(i))); };
  widened<T>(even(0), even(2), first);
  widened<T>(odd(0), odd(2), last);
}
HWY_INLINE void times(const VQ* x, hn::Vec<decltype(df1)> factor, V16* out) {
  const V16 factors = for_each_block(factor);
  for (int s = 0; s < kSlices; ++s) out[s] = hn::Mul(hn::ConvertTo(d16, x[s]), factors);
}

}  // namespace moiety::simd::MOIETY_LEVEL
