// GEMM of a quantised type's rows times int8 activations: of a panel that was unpacked as a whole, or of the rows
// themselves, for one tile.
#pragma once

#include "simd/block-inl.h"
#include "simd/unpack-inl.h"

namespace moiety::simd::MOIETY_LEVEL {

// An Int8Panel.
template <class T>
struct Unpacked : T {
  struct Place : Int8Panel {
    HWY_INLINE void lane() {}
    HWY_INLINE void next() { codes += 512, scales += 16, mins += 16, sub += 32, sub_mins += 16; }
  };
  template <int k4>
  static HWY_INLINE VB codes(const uint8_t* at) {
    return hn::LoadU(db, at + k4 * 64);
  }
  static HWY_INLINE V16 scales(const Place& w, int64_t r0) { return hn::LoadU(d16, w.scales + r0); }
  static HWY_INLINE V16 mins(const Place& w, int64_t r0) { return hn::LoadU(d16, w.mins + r0); }
  static HWY_INLINE VQ sub(const Place& w, int half, int64_t r0) { return hn::LoadU(di16, w.sub + half * 16 + r0); }
  static HWY_INLINE VQ sub_mins(const Place& w, int64_t r0) { return hn::LoadU(di16, w.sub_mins + r0); }
};

struct FetchSoon {
  Spread spread;
  HWY_INLINE void block() { spread.step(); }
  template <int>
  HWY_INLINE void dword() {}
};

template <class T, int kTokens>
HWY_NOINLINE void unpacked_gemm_tokens(const Int8Panel& panel, const Int8Tile& tile, int64_t k, int64_t t0, int64_t r0,
                                       const GemmOut& out, const Soon& soon) noexcept {
  const LaneBlocks part(panel.lanes, k / 32);
  FetchSoon fetch{{soon, part.end - part.begin}};
  const typename Unpacked<T>::Place first{{panel.codes, panel.scales + part.begin * 16, panel.mins + part.begin * 16,
                                           panel.sub + part.begin * 32, panel.sub_mins + part.begin * 16}};
  panel_tokens<Unpacked<T>, kTokens, 1>(first, k, TileActs{tile, t0}, t0, r0, out, fetch, panel.lanes);
}

template <class T>
void gemm_int8(const Int8Panel& panel, const Int8Tile& tile, int64_t k, const GemmOut& out, Soon soon) noexcept {
  in_token_groups<T>(out.tokens, [&]<int kTokens>(int64_t t, int64_t r) HWY_ATTR {
    unpacked_gemm_tokens<T, kTokens>(panel, tile, k, t, r, out, soon);
    soon = {};  // the first call has seen to it
  });
}

// The sums of the 8 lanes of a tile's outputs, of its first `tokens` tokens.
struct LaneSums {
  HWY_ALIGN float at[8][kTileTokens][kPanelRows];
  HWY_INLINE explicit LaneSums(int64_t tokens) {
    for (auto& lane : at) {
      for (int64_t t = 0; t < tokens; ++t) {
        for (int64_t r = 0; r < kPanelRows; r += kVectorRows) hn::Store(hn::Zero(d16), d16, &lane[t][r]);
      }
    }
  }
  HWY_INLINE void put_all(const GemmOut& out) const {
    for (int64_t t = 0; t < out.tokens; ++t) {
      for (int64_t r = 0; r < kPanelRows; r += kVectorRows) {
        const auto lane = [&](int i) HWY_ATTR { return hn::Load(d16, &at[i][t][r]); };
        const auto pair = [&](int i) HWY_ATTR {
          return hn::Add(hn::Add(lane(i), lane(i + 4)), hn::Add(lane(i + 2), lane(i + 6)));
        };
        put(out, t, r, hn::Add(pair(0), pair(1)));
      }
    }
  }
};

// A lane's sums of some tokens, in registers.
template <int kTokens>
struct LaneAcc {
  V16 acc[kTokens][1];
  HWY_INLINE LaneAcc(const float (&lane)[kTileTokens][kPanelRows], int64_t t0, int64_t r0) {
#pragma GCC unroll 12
    for (int t = 0; t < kTokens; ++t) acc[t][0] = hn::Load(d16, &lane[t0 + t][r0]);
  }
  HWY_INLINE void store(float (&lane)[kTileTokens][kPanelRows], int64_t t0, int64_t r0) const {
#pragma GCC unroll 12
    for (int t = 0; t < kTokens; ++t) hn::Store(acc[t][0], d16, &lane[t0 + t][r0]);
  }
};

// Scales of some groups.
template <int kGroups>
struct GroupScalesPanel {
  HWY_ALIGN float scales[kGroups * 8 * 16], mins[kGroups * 8 * 16];
  HWY_ALIGN int32_t sub[kGroups * 8 * 32], sub_mins[kGroups * 8 * 16];
  HWY_INLINE Int8Panel block(int64_t b, uint8_t* codes) {
    return {codes, scales + b * 16, mins + b * 16, sub + b * 32, sub_mins + b * 16};
  }
};
inline constexpr int64_t kInOrder[8] = {0, 1, 2, 3, 4, 5, 6, 7};

// Turns the codes of some blocks, which hardly leave the registers until they are multiplied.
template <class T>
HWY_INLINE void turn(const TurnRows& rows, const typename Turned<T>::Shared& shared, int part, uint8_t* codes) {
  Turned<T>::codes(rows, shared, part,
                   [codes](int b, int k4, VB x) HWY_ATTR { hn::Store(x, db, codes + b * 512 + k4 * 64); });
}

// Where blocks come one by one, those of a lane in several groups follow each other: its sums stay in registers.
template <class T, int kTokens>
HWY_NOINLINE void turned_gemm_tokens(const uint8_t* weights, int64_t row_bytes, int64_t rows, int64_t k,
                                     const Int8Tile& tile, const GemmOut& out, const Soon& soon) noexcept {
  constexpr int kTogether = Turned<T>::kTogether, kGroups = kTogether == 1 ? 4 : 1;
  GroupScalesPanel<kGroups> panel;
  LaneSums sums(kTokens);
  const TileActs acts{tile, 0};
  FetchBlocks<2 * kGroupBytes<T>> fetch(soon, weights);
  LaneStarts place(k / 32);
  for (GroupWalk<T, kGroups> walk(weights, row_bytes, rows, k / 32); walk.next();) {
    for (int64_t g = 0; 8 * g < walk.blocks; ++g)
      unpack_scales<T>(walk.first + g * kGroupBytes<T>, walk.stride, kInOrder, panel.block(8 * g, nullptr));
    if constexpr (kTogether == 1) {
      for (int b = 0; b < 8; ++b) {
        LaneAcc<kTokens> lane(sums.at[b], 0, 0);
        int64_t from = place.start[b];
#pragma GCC unroll 1
        for (int64_t at = b; at < walk.blocks; at += 8) {
          HWY_ALIGN uint8_t codes[512];
          const TurnRows turned{walk.first + at / 8 * kGroupBytes<T>, walk.stride};
          turn<T>(turned, typename Turned<T>::Shared(turned), b, codes);
          panel_block<Unpacked<T>>({panel.block(at, codes)}, acts.block(from++, 0, 0), 0, lane.acc, fetch);
          fetch.block();
        }
        place.start[b] = from;
        lane.store(sums.at[b], 0, 0);
      }
    } else {
      const TurnRows turned{walk.first, walk.stride};
      const typename Turned<T>::Shared shared(turned);
#pragma GCC unroll 4
      for (int part = 0; part < 8 / kTogether; ++part) {
        HWY_ALIGN uint8_t codes[kTogether * 512];
        turn<T>(turned, shared, part, codes);
        for (int i = 0; i < kTogether; ++i) {
          const int b = part * kTogether + i;
          LaneAcc<kTokens> lane(sums.at[b], 0, 0);
          panel_block<Unpacked<T>>({panel.block(b, codes + i * 512)}, acts.block(place.start[b]++, 0, 0), 0, lane.acc,
                                   fetch);
          fetch.block();
          lane.store(sums.at[b], 0, 0);
        }
      }
    }
  }
  sums.put_all(out);
}

// Adds a group that lies unpacked in the L1 cache; place: where its blocks are in the tile.
template <class T, int kTokens>
HWY_NOINLINE void add_group_tokens(GroupScalesPanel<1>& group, uint8_t* codes, int64_t blocks, const int64_t* place,
                                   const Int8Tile& tile, int64_t t0, int64_t r0, LaneSums& sums,
                                   FetchBlocks<2 * kGroupBytes<T>>& fetch) noexcept {
  const TileActs acts{tile, t0};
  for (int64_t b = 0; b < blocks; ++b) {
    LaneAcc<kTokens> lane(sums.at[b], t0, r0);
    panel_block<Unpacked<T>>({group.block(b, codes + b * 512)}, acts.block(place[b], 0, 0), r0, lane.acc, fetch);
    lane.store(sums.at[b], t0, r0);
    fetch.block();
  }
}

template <class T>
void grouped_gemm(const uint8_t* weights, int64_t row_bytes, int64_t rows, int64_t k, const Int8Tile& tile,
                  const GemmOut& out, const Soon& soon) noexcept {
  GroupScalesPanel<1> group;
  HWY_ALIGN uint8_t codes[8 * 512];
  LaneSums sums(kTileTokens);
  LaneStarts place(k / 32);
  FetchBlocks<2 * kGroupBytes<T>> fetch(soon, weights);
  for (GroupWalk<T> walk(weights, row_bytes, rows, k / 32); walk.next();) {
    unpack_scales<T>(walk.first, walk.stride, kInOrder, group.block(0, nullptr));
    unpack_codes<T>(walk.first, walk.stride, kInOrder, codes);
    in_token_groups<T>(out.tokens, [&]<int kTokens>(int64_t t, int64_t r) HWY_ATTR {
      FetchBlocks<2 * kGroupBytes<T>> nothing({}, walk.first);
      add_group_tokens<T, kTokens>(group, codes, walk.blocks, place.start, tile, t, r, sums,
                                   t + r == 0 ? fetch : nothing);
    });
    for (int64_t& at : place.start) ++at;
  }
  sums.put_all(out);
}

template <class T>
void gemm_rows_int8(const uint8_t* weights, int64_t row_bytes, int64_t rows, int64_t k, const Int8Tile& tile,
                    const GemmOut& out, Soon soon) noexcept {
  if constexpr (Turned<T>::kHas) {
    const auto gemm = out.tokens > 8   ? turned_gemm_tokens<T, 12>
                      : out.tokens > 4 ? turned_gemm_tokens<T, 8>
                      : out.tokens > 2 ? turned_gemm_tokens<T, 4>
                                       : turned_gemm_tokens<T, 2>;
    gemm(weights, row_bytes, rows, k, tile, out, soon);
  } else {
    grouped_gemm<T>(weights, row_bytes, rows, k, tile, out, soon);
  }
}

template <class T>
constexpr Int8Kernels int8_kernels() {
  return {gemv_int8<T>, unpack_int8<T>, gemm_int8<T>, gemm_rows_int8<T>, kAcross == 4 ? 2 : 4, kHalves<T>,
          nullptr,      nullptr,        nullptr};
}

}  // namespace moiety::simd::MOIETY_LEVEL
