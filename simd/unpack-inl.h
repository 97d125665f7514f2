// Unpacking of a panel of a quantised type's rows: the codes of 16 rows side by side, dword by dword, and their scales.
#pragma once

#include "simd/int8-inl.h"
#include "simd/turned-inl.h"

namespace moiety::simd::MOIETY_LEVEL {

// Where in lane order the blocks of a lane start: block b lies at start[b % 8] + b / 8.
struct LaneStarts {
  int64_t start[8];
  explicit LaneStarts(int64_t blocks) {
    int64_t position = 0;
    for (const int lane : {0, 4, 2, 6, 1, 5, 3, 7}) {
      start[lane] = position;
      position += (blocks - lane + 7) / 8;
    }
  }
};

// The 128-bit lanes of x to at(0), at(1), ...
template <class D, class V, class At>
HWY_INLINE void store_lanes(D d, V x, int from, const At& at) {
  if constexpr (sizeof(hn::TFromD<D>) * hn::MaxLanes(D()) == 16) {
    hn::StoreU(x, d, at(from));
  } else {
    const hn::Half<D> half;
    store_lanes(half, hn::LowerHalf(half, x), from, at);
    store_lanes(half, hn::UpperHalf(half, x), from + static_cast<int>(hn::MaxLanes(half) * sizeof(hn::TFromD<D>) / 16),
                at);
  }
}

// Stores vectors of [block][row] of the 4 quads of a panel: the 16 rows of a lane's block to at(lane).
template <class D, class V, class At>
HWY_INLINE void store_rows(D d, const V (&quads)[4], const At& at) {
#if defined(__AVX512BW__)  // whole cache lines
  const V even[2] = {even_lanes(quads[0], quads[1]), even_lanes(quads[2], quads[3])};
  const V odd[2] = {odd_lanes(quads[0], quads[1]), odd_lanes(quads[2], quads[3])};
  hn::StoreU(even_lanes(even[0], even[1]), d, at(0));
  hn::StoreU(even_lanes(odd[0], odd[1]), d, at(1));
  hn::StoreU(odd_lanes(even[0], even[1]), d, at(2));
  hn::StoreU(odd_lanes(odd[0], odd[1]), d, at(3));
#else
  for (int q = 0; q < 4; ++q) store_lanes(d, quads[q], 0, [&](int lane) { return at(lane) + 4 * q; });
#endif
}

// The first or last codes of a slice: out[i] is dword i of each block, [block][row].
template <class T>
MOIETY_STEP void columns(const QuadRows& quad, int slice, int half, VQ out[4]) {
  VQ codes[4];
#pragma GCC unroll 4
  for (int r = 0; r < 4; ++r) {
    const Halves w = T::codes(T::row(quad.at[r]), slice);
    codes[r] = hn::BitCast(di16, half == 0 ? w.first : w.last);
  }
  transpose(di16, codes[0], codes[1], codes[2], codes[3], out);
}

// Puts the scales of the blocks of a group of 16 rows, `stride` bytes apart, at their positions.
template <class T>
MOIETY_STEP void unpack_scales(const uint8_t* first, int64_t stride, const int64_t* position, const Int8Panel& panel) {
  GroupScales s[4];
  for (int q = 0; q < 4; ++q) T::scales(quad_rows(first, stride, 16, 4 * q), s[q]);
  for (int i = 0; i < kSlices; ++i) {
    const auto store = [&](auto d, auto of, auto* base, int64_t apart) HWY_ATTR {
      const hn::Vec<decltype(d)> rows[4] = {of(s[0]), of(s[1]), of(s[2]), of(s[3])};
      store_rows(d, rows, [=](int lane) { return base + position[T::block(i, lane)] * apart; });
    };
    store(
        d16, [i](const GroupScales& x) { return x.ws[i]; }, panel.scales, 16);
    if constexpr (T::kMin)
      store(
          d16, [i](const GroupScales& x) { return x.wm[i]; }, panel.mins, 16);
    if constexpr (T::kGroup16) {
      for (int half = 0; half < 2; ++half) {
        const auto sub = [&](const GroupScales& x) HWY_ATTR { return hn::ShiftRight<16>(x.sub[half][i]); };
        store(di16, sub, panel.sub + half * 16, 32);
      }
      if constexpr (T::kMin)
        store(
            di16, [i](const GroupScales& x) { return x.sub_mins[i]; }, panel.sub_mins, 16);
    }
  }
}

// Blocks are turned one by one or in pairs: half of them is (about) half of the work. Even blocks belong to the first
// half of the lanes.
template <class T>
inline constexpr bool kHalves = Turned<T>::kTogether <= 2;

// The same for their codes.
template <class T, Lanes lanes = Lanes::kAll>
MOIETY_STEP void unpack_codes(const uint8_t* first, int64_t stride, const int64_t* position, uint8_t* to) {
  if constexpr (Turned<T>::kHas) {
    constexpr int kTogether = Turned<T>::kTogether;
    const TurnRows turned{first, stride};
    const typename Turned<T>::Shared shared(turned);
#pragma GCC unroll 8
    for (int part = 0; part < 8 / kTogether; ++part) {
      constexpr int kOdd = lanes == Lanes::kLast;
      if (lanes != Lanes::kAll && kTogether == 1 && part % 2 != kOdd) continue;
      const int64_t* at = position + part * kTogether;
      Turned<T>::codes(turned, shared, part, [&](int block, int k4, VB codes) HWY_ATTR {
        if (lanes != Lanes::kAll && kTogether > 1 && block % 2 != kOdd) return;
        hn::StoreU(codes, db, to + at[block] * 512 + k4 * 64);
      });
    }
  } else {
    for (int i = 0; i < kSlices; ++i) {
      for (int half = 0; half < 2; ++half) {
        VQ column[4][4];
#pragma GCC unroll 4
        for (int q = 0; q < 4; ++q) columns<T>(quad_rows(first, stride, 16, 4 * q), i, half, column[q]);
#pragma GCC unroll 4
        for (int k4 = 0; k4 < 4; ++k4) {
          const VQ rows[4] = {column[0][k4], column[1][k4], column[2][k4], column[3][k4]};
          store_rows(di16, rows, [&](int lane) {
            return reinterpret_cast<int32_t*>(to) + position[T::block(i, lane)] * 128 + (4 * half + k4) * 16;
          });
        }
      }
    }
  }
}

// Walks through kGroups groups of up to 16 rows at a time. Where rows or blocks of a group are absent, it gives a copy
// with zeros: nothing behind the rows is read.
template <class T, int kGroups = 1>
class GroupWalk {
 public:
  const uint8_t* first;    // where the rows begin
  int64_t stride, blocks;  // bytes between them; of each row
  HWY_INLINE GroupWalk(const uint8_t* weights, int64_t row_bytes, int64_t rows, int64_t blocks_)
      : weights_(weights), row_bytes_(row_bytes), rows_(rows), left_(blocks_) {}
  HWY_INLINE bool next() {
    if (left_ <= 0) return false;
    blocks = left_ < 8 * kGroups ? left_ : 8 * kGroups;
    left_ -= blocks;
    first = weights_, stride = row_bytes_;
    weights_ += kBytes;
    if (rows_ < kPanelRows || blocks % 8 != 0) copy();
    return true;
  }

 private:
  static constexpr int64_t kBytes = kGroups * kGroupBytes<T>;
  HWY_NOINLINE void copy() noexcept {
    __builtin_memset(copy_, 0, sizeof copy_);
    for (int64_t r = 0; r < rows_; ++r)
      __builtin_memcpy(copy_[r], first + r * row_bytes_, static_cast<size_t>(blocks * kGroupBytes<T> / 8));
    first = copy_[0], stride = kBytes;
  }
  const uint8_t* weights_;
  int64_t row_bytes_, rows_, left_;
  HWY_ALIGN uint8_t copy_[kPanelRows][kBytes];
};

template <class T>
void unpack_int8(const uint8_t* weights, int64_t row_bytes, int64_t rows, int64_t k, const Int8Panel& panel) noexcept {
  const int64_t blocks = k / 32, begin = LaneBlocks(panel.lanes, blocks).begin;
  LaneStarts place(blocks), own(blocks);  // own: among the codes of the wanted lanes
  for (int64_t& at : own.start) at -= begin;
  for (GroupWalk<T> walk(weights, row_bytes, rows, blocks); walk.next();) {
    for (int64_t b = walk.blocks; b < 8; ++b) place.start[b] = own.start[b] = blocks;  // what is absent: the spare block
    if (panel.lanes != Lanes::kLast) unpack_scales<T>(walk.first, walk.stride, place.start, panel);
    if (kHalves<T> && panel.lanes == Lanes::kFirst)
      unpack_codes<T, Lanes::kFirst>(walk.first, walk.stride, own.start, panel.codes);
    else if (kHalves<T> && panel.lanes == Lanes::kLast)
      unpack_codes<T, Lanes::kLast>(walk.first, walk.stride, own.start, panel.codes);
    else
      unpack_codes<T>(walk.first, walk.stride, own.start, panel.codes);
    for (int64_t& at : place.start) ++at;
    for (int64_t& at : own.start) ++at;
  }
}

}  // namespace moiety::simd::MOIETY_LEVEL
