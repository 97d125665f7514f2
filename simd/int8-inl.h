// GEMV of a quantised type's rows times int8 activations; the order of additions is in kernels.h.
#pragma once

#include <cstddef>
#include <new>

#include "simd/dot-inl.h"
#include "simd/types-inl.h"

namespace moiety::simd::MOIETY_LEVEL {

// A group of activations, spread as [block][row].
template <class T>
class GroupActs {
 public:
  V16 scales[kSlices], block_sums[kSlices];  // block_sums: the sum of a block times its scale (kMin)
  VQ seeds[2][kSlices];                      // [block][4]: -kZero times the sums of 4 codes; kGroup16: for each half
  VQ sums[kSlices];                          // [block][row]: those of the halves in 16 bits each (kMin and kGroup16)

  HWY_INLINE GroupActs(const int8_t* codes, const float* scales_, const int32_t* first, const int32_t* last)
      : codes_(codes) {
    HWY_ALIGN float block_sum[8];
    HWY_ALIGN int32_t pair[8];
    const I8 a0 = load_i8(first), a1 = load_i8(last);
    const F8 factor = load_f8(scales_);
    for (int p = 0; p < kParts; ++p) {
      const size_t at = static_cast<size_t>(p) * kPart;
      hn::Store(hn::Mul(factor.v[p], hn::ConvertTo(df, hn::Add(a0.v[p], a1.v[p]))), df, block_sum + at);
      hn::Store(hn::Or(hn::And(a0.v[p], hn::Set(di, 0xffff)), hn::ShiftLeft<16>(a1.v[p])), di, pair + at);
    }
    if constexpr (kStored) {
      for (int half = 0; half < 2; ++half) {
        for (int s = 0; s < kSlices; ++s) stored_[half][s] = hn::BitCast(dc, gathered<T>(codes + 128 * half, s));
      }
    }
    for (int s = 0; s < kSlices; ++s) {
      scales[s] = for_each_row<T>(d16, scales_, s);
      if constexpr (T::kZero != 0) {
        const VB zero = hn::Set(db, T::kZero);
        const VQ sum = dot4<true>(di16, hn::Zero(di16), zero, half(0, s));
        if constexpr (T::kGroup16) {
          seeds[0][s] = hn::Neg(sum);
          seeds[1][s] = hn::Neg(dot4<true>(di16, hn::Zero(di16), zero, half(1, s)));
        } else {
          seeds[0][s] = hn::Neg(dot4<true>(di16, sum, zero, half(1, s)));
        }
      }
      if constexpr (T::kMin && T::kGroup16) {
        sums[s] = for_each_row<T>(di16, pair, s);
      } else if constexpr (T::kMin) {
        block_sums[s] = for_each_row<T>(d16, block_sum, s);
      }
    }
  }

  // The first or last 16 codes of each block of a slice.
  HWY_INLINE hn::Vec<DC> half(int half, int slice) const {
    if constexpr (kStored)
      return stored_[half][slice];
    else
      return hn::LoadU(dc, codes_ + 128 * half + static_cast<size_t>(slice) * hn::MaxLanes(dc));
  }
  HWY_INLINE VQ seed(int half, int slice) const {
    if constexpr (T::kZero != 0)
      return seeds[half][slice];
    else
      return hn::Zero(di16);
  }

 private:
  static constexpr bool kStored = T::block(0, kAcross - 1) != kAcross - 1;  // blocks are not in their order
  const int8_t* codes_;
  hn::Vec<DC> stored_[2][kSlices];
};

// Dot products of 4 rows, 4 partial sums a block each, to [block][row].
MOIETY_STEP VQ sum_quads(const VQ rows[4]) {
  const hn::Repartition<int64_t, DI16> dl;
  const auto pairs = [&](VQ a, VQ b) {
    return hn::BitCast(dl, hn::Add(hn::InterleaveLower(di16, a, b), hn::InterleaveUpper(di16, a, b)));
  };
  const auto x = pairs(rows[0], rows[1]), y = pairs(rows[2], rows[3]);
  return hn::Add(hn::BitCast(di16, hn::InterleaveLower(dl, x, y)), hn::BitCast(di16, hn::InterleaveUpper(dl, x, y)));
}
// The same for sums that, even in pairs, fit 16 bits: [block][row] pairs of int16 whose sums are the dot products.
template <class V>
HWY_INLINE V pack_quads(const V rows[4]) {
  const V one = hn::Set(di16, 0x00010001);
  return pack(di16, dot2(di16, pack(di16, rows[0], rows[1]), one), dot2(di16, pack(di16, rows[2], rows[3]), one));
}
template <class T>
inline constexpr bool kPacked = kHasPack&& T::kMost * 127 * (T::kGroup16 ? 8 : 16) <= 32767;

template <class T>
inline constexpr int64_t kGroupBytes = int64_t{8 / T::kBlocks} * sizeof(typename T::Block);  // of a row

// The dot products of 4 rows of a slice: [block][row], of the codes times the sub-scales if the type has any.
template <class T>
MOIETY_STEP VQ dots(const typename T::Row rows[4], const GroupActs<T>& x, const GroupScales& s, int slice,
                    Ahead& ahead) {
  VQ sums[4], last_sums[4];
#pragma GCC unroll 4
  for (int r = 0; r < 4; ++r) {
    ahead.fetch<kGroupBytes<T> / kSlices>();
    const Halves w = T::codes(rows[r], slice);
    sums[r] = dot4<T::kSmall>(di16, x.seed(0, slice), w.first, x.half(0, slice));
    if constexpr (T::kGroup16) {
      last_sums[r] = dot4<T::kSmall>(di16, x.seed(1, slice), w.last, x.half(1, slice));
    } else {
      sums[r] = dot4<T::kSmall>(di16, sums[r], w.last, x.half(1, slice));
    }
  }
  if constexpr (kPacked<T> && T::kGroup16) {
    return dot2(di16, dot2(di16, pack_quads(sums), s.sub[0][slice]), pack_quads(last_sums), s.sub[1][slice]);
  } else if constexpr (kPacked<T>) {
    return dot2(di16, pack_quads(sums), hn::Set(di16, 0x00010001));
  } else if constexpr (T::kGroup16) {
    return hn::Add(hn::Mul(sum_quads(sums), hn::ShiftRight<16>(s.sub[0][slice])),
                   hn::Mul(sum_quads(last_sums), hn::ShiftRight<16>(s.sub[1][slice])));
  } else {
    return sum_quads(sums);
  }
}

// Adds a group of 4 rows to the lanes: acc[slice] is [block][row], block b of the group is lane b of each row.
template <class T>
MOIETY_STEP void add_group(const QuadRows& rows, const GroupActs<T>& x, V16 (&acc)[kSlices], Ahead& ahead) {
  GroupScales s;
  T::scales(rows, s);
  const typename T::Row row[4] = {T::row(rows.at[0]), T::row(rows.at[1]), T::row(rows.at[2]), T::row(rows.at[3])};
#pragma GCC unroll 8
  for (int i = 0; i < kSlices; ++i) {
    const VQ sums = dots<T>(row, x, s, i, ahead);
    acc[i] = hn::MulAdd(hn::ConvertTo(d16, sums), hn::Mul(s.ws[i], x.scales[i]), acc[i]);
    if constexpr (T::kMin && T::kGroup16) {
      const VQ m = dot2(di16, s.sub_mins[i], x.sums[i]);
      acc[i] = hn::NegMulAdd(hn::Mul(s.wm[i], x.scales[i]), hn::ConvertTo(d16, m), acc[i]);
    } else if constexpr (T::kMin) {
      acc[i] = hn::NegMulAdd(s.wm[i], x.block_sums[i], acc[i]);
    }
  }
}

// The fixed tree over the 8 blocks, for 4 rows.
template <class T>
HWY_INLINE hn::Vec<decltype(df1)> sum_lanes(const V16* acc) {
  HWY_ALIGN float stored[8 * 4];
  hn::Vec<decltype(df1)> lanes[8];
  for (int i = 0; i < kSlices; ++i) hn::Store(acc[i], d16, stored + static_cast<size_t>(i) * kQuadLanes);
  for (int i = 0; i < 8; ++i) lanes[T::block(i / kAcross, i % kAcross)] = hn::Load(df1, stored + 4 * i);
  for (int half = 4; half; half /= 2) {
    for (int i = 0; i < half; ++i) lanes[i] = hn::Add(lanes[i], lanes[i + half]);
  }
  return lanes[0];
}

// The blocks behind the last whole group of 4 rows, padded with zeros to a group. Only types with blocks of 32.
template <class T>
struct TailGroup {
  uint8_t bytes[4][8 * sizeof(typename T::Block)];
  QuadRows rows;
  HWY_INLINE TailGroup(const QuadRows& from, int64_t blocks) {
    const auto used = static_cast<size_t>(blocks % 8) * sizeof(typename T::Block);
    for (int r = 0; r < 4; ++r) {
      __builtin_memset(bytes[r], 0, sizeof bytes[r]);
      __builtin_memcpy(bytes[r], from.at[r], used);
      rows.at[r] = bytes[r];
    }
  }
};

// Rows r .. r + 3 of a matrix, the last one again where it ends.
HWY_INLINE QuadRows quad_rows(const uint8_t* weights, int64_t row_bytes, int64_t rows, int64_t r) {
  QuadRows quad;
  for (int i = 0; i < 4; ++i) quad.at[i] = weights + (r + i < rows ? r + i : rows - 1) * row_bytes;
  return quad;
}
HWY_INLINE void advance(QuadRows& quad, int64_t bytes) {
  for (const uint8_t*& at : quad.at) at += bytes;
}

// The groups of a row of activations. The first ones are made once for all rows of the weights; a longer row's others
// each time.
template <class T>
class RowGroups {
 public:
  RowGroups(const Int8Row& x, int64_t blocks) noexcept : x_(x), last_(x.sums + (blocks + 7) / 8 * 8) {
    for (int64_t g = 0; g < kStored && 8 * g < blocks; ++g) make(g, groups_[g]);
  }
  HWY_INLINE const GroupActs<T>& at(int64_t g) {
    if (g < kStored) return *reinterpret_cast<const GroupActs<T>*>(groups_[g]);
    return make(g, other_);
  }

 private:
  static constexpr int64_t kStored = 32;  // 8192 activations
  using Memory = std::byte[sizeof(GroupActs<T>)];
  HWY_INLINE const GroupActs<T>& make(int64_t g, Memory& memory) const {
    return *new (memory) GroupActs<T>(x_.codes + 256 * g, x_.scales + 8 * g, x_.sums + 8 * g, last_ + 8 * g);
  }
  const Int8Row& x_;
  const int32_t* last_;
  alignas(64) Memory groups_[kStored];
  alignas(64) Memory other_;
};

// Four rows at a time: the more are read side by side, the slower memory streams.
template <class T>
void gemv_int8(const uint8_t* weights, int64_t row_bytes, int64_t rows, int64_t k, const Int8Row& x, float* y,
               const uint8_t* next) noexcept {
  const int64_t blocks = k / 32, groups = blocks / 8;
  RowGroups<T> acts(x, blocks);
  Ahead ahead(weights, rows * row_bytes, next);
  for (int64_t r = 0; r < rows; r += 4) {
    QuadRows quad = quad_rows(weights, row_bytes, rows, r);
    V16 acc[kSlices];
    for (V16& a : acc) a = hn::Zero(d16);
    for (int64_t g = 0; g < groups; ++g) {
      add_group<T>(quad, acts.at(g), acc, ahead);
      ahead.turn();
      advance(quad, kGroupBytes<T>);
    }
    if constexpr (T::kBlocks == 1) {
      if (blocks % 8) add_group<T>(TailGroup<T>(quad, blocks).rows, acts.at(groups), acc, ahead);
    }
    HWY_ALIGN float sums[4];
    hn::Store(sum_lanes<T>(acc), df1, sums);
    __builtin_memcpy(y + r, sums, static_cast<size_t>(rows - r < 4 ? rows - r : 4) * sizeof(float));
  }
  ahead.done();
}

}  // namespace moiety::simd::MOIETY_LEVEL
