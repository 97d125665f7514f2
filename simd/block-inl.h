// A block of 32 columns of 16 weight rows times rows of int8 activations: rows are lanes, so an output needs no sum
// across a vector and its codes no shuffle. The order of additions is that of kernels.h.
//
// P says how the weights lie: T's constants (types-inl.h); Place, where a block is: codes, next() to the next one and
// lane() where a lane begins; codes<k4>(at): columns 4 * k4 .. 4 * k4 + 3 of the rows whose codes start at `at`;
// scales, mins, sub, sub_mins of a place, of the rows from r0 on.
#pragma once

#include <utility>

#include "simd/quad-inl.h"

namespace moiety::simd::MOIETY_LEVEL {

// What a block of activations gives: dword(k4, token), seed<zero>(half, token), minus zero times the sum of a half's
// codes (2: of all 32), scale, block_sum, half_sums.
struct TileActs {
  const Int8Tile& tile;
  int64_t t0;
  struct Block {
    const int32_t *codes, *sums, *first, *last, *both;
    const float *scales, *block_sums;
    HWY_INLINE int32_t dword(int k4, int t) const { return codes[t * 8 + k4]; }
    template <int zero>
    HWY_INLINE VQ seed(int half, int t) const {
      if constexpr (zero == 0)
        return hn::Zero(di16);
      else
        return tile_seed<zero>((half == 2 ? sums : half == 1 ? last : first)[t]);
    }
    HWY_INLINE float scale(int t) const { return scales[t]; }
    HWY_INLINE float block_sum(int t) const { return block_sums[t]; }
    HWY_INLINE VQ half_sums(int t) const { return hn::Set(di16, both[t]); }
  };
  HWY_INLINE Block block(int64_t at, int64_t, int64_t) const {
    const int64_t from = at * tile.width + t0;
    return {tile.codes + from * 8, tile.sums[0] + from, tile.sums[1] + from,   tile.sums[2] + from,
            tile.sums[3] + from,   tile.scales + from,  tile.block_sums + from};
  }
};

inline constexpr int64_t kVectorRows = static_cast<int64_t>(hn::MaxLanes(d16));

// The functions below are inlined into one, and hold no lambda: its captures would keep the sums in memory.

// Adds the products of columns 4 * k4 .. 4 * k4 + 3.
template <class P, int k4, int kTokens, int kVecs, class Block, class Fetch>
HWY_INLINE void panel_dword(const uint8_t* codes, const Block& x, VQ (&sums)[kTokens][kVecs], Fetch& fetch) {
  fetch.template dword<k4>();
#pragma GCC unroll 4
  for (int v = 0; v < kVecs; ++v) {
    const VB weight = P::template codes<k4>(codes + v * kVectorRows * 4);
#pragma GCC unroll 12
    for (int t = 0; t < kTokens; ++t)
      sums[t][v] = dot4<P::kSmall>(di16, sums[t][v], weight, hn::BitCast(db, hn::Set(di16, x.dword(k4, t))));
  }
}
template <class P, int kFrom, int kTokens, int kVecs, class Block, class Fetch, int... i>
HWY_INLINE void panel_dwords(const uint8_t* codes, const Block& x, VQ (&sums)[kTokens][kVecs], Fetch& fetch,
                             std::integer_sequence<int, i...>) {
  (panel_dword<P, kFrom + i>(codes, x, sums, fetch), ...);
}
// The integer sums of columns [16 half, 16 half + 16), or of all 32 for half 2: kVecs vectors of rows a token.
template <class P, int half, int kTokens, int kVecs, class Block, class Fetch>
HWY_INLINE void panel_dots(const uint8_t* codes, const Block& x, VQ (&sums)[kTokens][kVecs], Fetch& fetch) {
#pragma GCC unroll 12
  for (int t = 0; t < kTokens; ++t) {
    const VQ seed = x.template seed<P::kZero>(half, t);
#pragma GCC unroll 4
    for (int v = 0; v < kVecs; ++v) sums[t][v] = seed;
  }
  panel_dwords<P, half == 1 ? 4 : 0>(codes, x, sums, fetch, std::make_integer_sequence < int, half == 2 ? 8 : 4 > ());
}

// Adds a block to kTokens sums of kVecs vectors of rows, from row r0 on. Sub-scales times sums are integers below 2^24,
// exact in floats, whose products are cheaper.
template <class P, int kTokens, int kVecs, class Block, class Fetch>
HWY_INLINE void panel_block(const typename P::Place& w, const Block& x, int64_t r0, V16 (&acc)[kTokens][kVecs],
                            Fetch& fetch) {
  VQ sums[kTokens][kVecs];
  V16 values[kTokens][kVecs];
  const uint8_t* codes = w.codes + r0 * 4;
  if constexpr (P::kGroup16) {
    panel_dots<P, 0>(codes, x, sums, fetch);
#pragma GCC unroll 4
    for (int v = 0; v < kVecs; ++v) {
      const V16 sub = hn::ConvertTo(d16, P::sub(w, 0, r0 + v * kVectorRows));
#pragma GCC unroll 12
      for (int t = 0; t < kTokens; ++t) values[t][v] = hn::Mul(hn::ConvertTo(d16, sums[t][v]), sub);
    }
    panel_dots<P, 1>(codes, x, sums, fetch);
#pragma GCC unroll 4
    for (int v = 0; v < kVecs; ++v) {
      const V16 sub = hn::ConvertTo(d16, P::sub(w, 1, r0 + v * kVectorRows));
#pragma GCC unroll 12
      for (int t = 0; t < kTokens; ++t)
        values[t][v] = hn::MulAdd(hn::ConvertTo(d16, sums[t][v]), sub, values[t][v]);
    }
  } else {
    panel_dots<P, 2>(codes, x, sums, fetch);
#pragma GCC unroll 4
    for (int v = 0; v < kVecs; ++v) {
#pragma GCC unroll 12
      for (int t = 0; t < kTokens; ++t) values[t][v] = hn::ConvertTo(d16, sums[t][v]);
    }
  }
#pragma GCC unroll 4
  for (int v = 0; v < kVecs; ++v) {
    const V16 ws = P::scales(w, r0 + v * kVectorRows);
#pragma GCC unroll 12
    for (int t = 0; t < kTokens; ++t)
      acc[t][v] = hn::MulAdd(values[t][v], hn::Mul(ws, hn::Set(d16, x.scale(t))), acc[t][v]);
    if constexpr (P::kMin && P::kGroup16) {
      const V16 wm = P::mins(w, r0 + v * kVectorRows);
      const VQ sub_mins = P::sub_mins(w, r0 + v * kVectorRows);
#pragma GCC unroll 12
      for (int t = 0; t < kTokens; ++t) {
        const VQ m = dot2(di16, sub_mins, x.half_sums(t));
        acc[t][v] = hn::NegMulAdd(hn::Mul(wm, hn::Set(d16, x.scale(t))), hn::ConvertTo(d16, m), acc[t][v]);
      }
    } else if constexpr (P::kMin) {
      const V16 wm = P::mins(w, r0 + v * kVectorRows);
#pragma GCC unroll 12
      for (int t = 0; t < kTokens; ++t) acc[t][v] = hn::NegMulAdd(wm, hn::Set(d16, x.block_sum(t)), acc[t][v]);
    }
  }
}

HWY_INLINE int64_t lane_at(int index) { return ((index & 1) << 2) | (index & 2) | ((index & 4) >> 2); }

// The outputs of kTokens tokens from t0 on and kVecs vectors of rows from r0 on. w: where the lanes' blocks begin.
// fetch.block() is called once a block, fetch.dword<k4>() at its columns from 4 * k4 on.
template <class P, int kTokens, int kVecs, class Acts, class Fetch>
HWY_INLINE void panel_tokens(typename P::Place w, int64_t k, const Acts& acts, int64_t t0, int64_t r0,
                             const GemmOut& out, Fetch& fetch, Lanes lanes = Lanes::kAll) {
  HWY_ALIGN float stack[4][kTokens][kVecs][kVectorRows];
  const int64_t blocks = k / 32;
  const LaneBlocks part(lanes, blocks);
  int depth = 0;
  for (int64_t index = part.first, place = part.begin; index < part.last; ++index) {
    const int64_t lane = lane_at(static_cast<int>(index)), end = place + (blocks - lane + 7) / 8;
    V16 acc[kTokens][kVecs];
    for (int t = 0; t < kTokens; ++t) {
      for (int v = 0; v < kVecs; ++v) acc[t][v] = hn::Zero(d16);
    }
    w.lane();
    for (int64_t step = 0; place < end; ++place, ++step) {
      panel_block<P>(w, acts.block(place, lane, step), r0, acc, fetch);
      fetch.block();
      w.next();
    }
    for (int64_t done = index - part.first; done & 1; done >>= 1) {
      --depth;
      for (int t = 0; t < kTokens; ++t) {
        for (int v = 0; v < kVecs; ++v) acc[t][v] = hn::Add(hn::Load(d16, stack[depth][t][v]), acc[t][v]);
      }
    }
    for (int t = 0; t < kTokens; ++t) {
      for (int v = 0; v < kVecs; ++v) hn::Store(acc[t][v], d16, stack[depth][t][v]);
    }
    ++depth;
  }
  for (int t = 0; t < kTokens; ++t) {
    for (int v = 0; v < kVecs; ++v) put(out, t0 + t, r0 + v * kVectorRows, hn::Load(d16, stack[0][t][v]), lanes);
  }
}

// Calls body<kTokens>(first token, first row) for a tile's tokens, as many at once as the registers hold, and the rows
// of a panel. Absent tokens are zero: some more of them cost less than another call.
template <class P, class Body>
HWY_INLINE void in_token_groups(int64_t tokens, const Body& body) {
  constexpr int kMost = kVectorRows == 16 ? (P::kGroup16 ? 8 : 12) : 4;
  for (int64_t r = 0; r < kPanelRows; r += kVectorRows) {
    for (int64_t t = 0; t < tokens;) {
      const int64_t left = tokens - t;
      if (kMost >= 12 && left > 8) {
        body.template operator()<kMost >= 12 ? 12 : 2>(t, r), t += 12;
      } else if (kMost >= 8 && left > 4) {
        body.template operator()<kMost >= 8 ? 8 : 2>(t, r), t += 8;
      } else if (left > 2) {
        body.template operator()<4>(t, r), t += 4;
      } else {
        body.template operator()<2>(t, r), t += 2;
      }
    }
  }
}

}  // namespace moiety::simd::MOIETY_LEVEL
