// GEMV, panel unpacking and GEMM of a quantised type times int8 activations; the order of additions is in kernels.h.
#pragma once

#include "simd/dot-inl.h"
#include "simd/types-inl.h"

namespace moiety::simd::MOIETY_LEVEL {

// Positions of blocks in lane order: block b lies at start[b % 8] + b / 8.
struct LaneStarts {
  int64_t start[8];
  explicit LaneStarts(int64_t blocks) {
    int64_t position = 0;
    for (const int lane : {0, 4, 2, 6, 1, 5, 3, 7}) {
      start[lane] = position;
      position += (blocks - lane + 7) / 8;
    }
  }
  int64_t operator()(int64_t block) const { return start[block & 7] + (block >> 3); }
};

// Sums of the first and of the last 16 codes of 8 blocks, from the blocks' dot4 sums.
HWY_INLINE void reduce_blocks(const I8* s, I8 sums[2]) {
  const hn::Repartition<int64_t, DI> dl;
  const auto pairs = [&](VI a, VI b) { return hn::Add(hn::InterleaveLower(di, a, b), hn::InterleaveUpper(di, a, b)); };
  const auto quads = [&](VI a, VI b) {
    const auto x = hn::BitCast(dl, a), y = hn::BitCast(dl, b);
    return hn::Add(hn::BitCast(di, hn::InterleaveLower(dl, x, y)), hn::BitCast(di, hn::InterleaveUpper(dl, x, y)));
  };
  VI quad[kParts][2];
  for (int p = 0; p < kParts; ++p) {
    for (int q = 0; q < 2; ++q) {
      const I8* x = s + 4 * q;
      quad[p][q] = quads(pairs(x[0].v[p], x[1].v[p]), pairs(x[2].v[p], x[3].v[p]));
    }
  }
  if constexpr (kParts == 1) {
    sums[0].v[0] = hn::ConcatLowerLower(di, quad[0][1], quad[0][0]);
    sums[1].v[0] = hn::ConcatUpperUpper(di, quad[0][1], quad[0][0]);
  } else {
    for (int half = 0; half < 2; ++half) {
      for (int p = 0; p < 2; ++p) sums[half].v[p] = quad[half][p];
    }
  }
}

// Adds 8 blocks of one row to the 8 lanes. `codes`, `scales`, `first`, `last`: the activations of these blocks.
template <class T>
HWY_INLINE F8 add_group(F8 acc, const typename T::Block* block, const int8_t* act, const float* scales,
                        const int32_t* first, const int32_t* last) {
  I8 dots[8];
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    const Codes x = T::kBlocks == 8 ? T::unpack(*block, i) : T::unpack(block[i], 0);
    for (int p = 0; p < kParts; ++p) {
      const auto a = hn::LoadU(di8, act + 32 * i + static_cast<size_t>(p) * hn::MaxLanes(di8));
      dots[i].v[p] = dot4<T::kSmall>(di, hn::Zero(di), x.v[p], a);
    }
  }
  I8 sum[2];
  reduce_blocks(dots, sum);
  Scales s;
  T::scales(block, s);
  const F8 da = load_f8(scales);
  const I8 a0 = load_i8(first), a1 = load_i8(last);
  for (int p = 0; p < kParts; ++p) {
    const auto zero = hn::Set(di, T::kZero);
    VI total;
    if constexpr (T::kGroup16) {
      const VI s0 = hn::Sub(sum[0].v[p], hn::Mul(zero, a0.v[p])), s1 = hn::Sub(sum[1].v[p], hn::Mul(zero, a1.v[p]));
      total = hn::Add(hn::Mul(s0, s.sub[0].v[p]), hn::Mul(s1, s.sub[1].v[p]));
    } else {
      total = hn::Add(sum[0].v[p], sum[1].v[p]);
      if constexpr (T::kZero != 0) total = hn::Sub(total, hn::Mul(zero, hn::Add(a0.v[p], a1.v[p])));
    }
    acc.v[p] = hn::MulAdd(hn::ConvertTo(df, total), hn::Mul(s.ws.v[p], da.v[p]), acc.v[p]);
    if constexpr (T::kMin && T::kGroup16) {
      const VI m = hn::Add(hn::Mul(s.sub_mins[0].v[p], a0.v[p]), hn::Mul(s.sub_mins[1].v[p], a1.v[p]));
      acc.v[p] = hn::NegMulAdd(hn::Mul(s.wm.v[p], da.v[p]), hn::ConvertTo(df, m), acc.v[p]);
    } else if constexpr (T::kMin) {
      const VF block_sum = hn::Mul(da.v[p], hn::ConvertTo(df, hn::Add(a0.v[p], a1.v[p])));
      acc.v[p] = hn::NegMulAdd(s.wm.v[p], block_sum, acc.v[p]);
    }
  }
  return acc;
}

// The last blocks of a row of K % 256 != 0, padded with zeros to a group of 8.
template <class T>
struct TailGroup {
  typename T::Block blocks[8];
  HWY_ALIGN int8_t codes[256];
  HWY_ALIGN float scales[8];
  HWY_ALIGN int32_t first[8], last[8];

  TailGroup(const Int8Row& x, int64_t blocks_in_row) {
    const auto start = static_cast<size_t>(blocks_in_row / 8 * 8), count = static_cast<size_t>(blocks_in_row % 8);
    const auto fill = [](void* to, const void* from, size_t used, size_t all) {
      __builtin_memset(to, 0, all);
      __builtin_memcpy(to, from, used);
    };
    fill(codes, x.codes + 32 * start, 32 * count, sizeof codes);
    fill(scales, x.scales + start, 4 * count, sizeof scales);
    fill(first, x.sums + start, 4 * count, sizeof first);
    fill(last, x.sums + static_cast<size_t>(blocks_in_row) + start, 4 * count, sizeof last);
  }
  void set_row(const uint8_t* row, int64_t blocks_in_row) {
    __builtin_memset(blocks, 0, sizeof blocks);
    __builtin_memcpy(blocks, row + static_cast<size_t>(blocks_in_row / 8 * 8) * sizeof(typename T::Block),
                     static_cast<size_t>(blocks_in_row % 8) * sizeof(typename T::Block));
  }
};

template <class T>
void gemv_int8(const uint8_t* weights, int64_t row_bytes, int64_t rows, int64_t k, const Int8Row& x,
               float* y) noexcept {
  using Block = typename T::Block;
  const int64_t blocks = k / 32, groups = blocks / 8;
  const int32_t* last = x.sums + blocks;
  constexpr int64_t step = 8 / T::kBlocks;
  constexpr size_t kGroupBytes = static_cast<size_t>(step) * sizeof(Block), kAhead = 2048;
  for (int64_t r = 0; r < rows; ++r) {
    const auto* block = reinterpret_cast<const Block*>(weights + r * row_bytes);
    F8 acc = zero_f8();
    for (int64_t g = 0; g < groups; ++g) {
      for (size_t line = 0; line < kGroupBytes; line += 64) {
        __builtin_prefetch(reinterpret_cast<const uint8_t*>(block + g * step) + kAhead + line);
      }
      acc = add_group<T>(acc, block + g * step, x.codes + 256 * g, x.scales + 8 * g, x.sums + 8 * g, last + 8 * g);
    }
    if constexpr (T::kBlocks == 1) {
      if (blocks % 8) {
        TailGroup<T> tail(x, blocks);
        tail.set_row(weights + r * row_bytes, blocks);
        acc = add_group<T>(acc, tail.blocks, tail.codes, tail.scales, tail.first, tail.last);
      }
    }
    y[r] = tree_sum(acc);
  }
}

// codes[16 rows][32] -> out[8][16 rows] dwords.
HWY_INLINE void interleave_rows(const uint8_t* codes, uint8_t* out) {
  const hn::FixedTag<uint32_t, 4> d;
  const hn::FixedTag<uint64_t, 2> dl;
  const auto low = [&](auto a, auto b) {
    return hn::BitCast(d, hn::InterleaveLower(dl, hn::BitCast(dl, a), hn::BitCast(dl, b)));
  };
  const auto high = [&](auto a, auto b) {
    return hn::BitCast(d, hn::InterleaveUpper(dl, hn::BitCast(dl, a), hn::BitCast(dl, b)));
  };
  const auto* in = reinterpret_cast<const uint32_t*>(codes);
  auto* to = reinterpret_cast<uint32_t*>(out);
  for (int row = 0; row < 16; row += 4) {
    for (int column = 0; column < 8; column += 4) {
      const uint32_t* at = in + row * 8 + column;
      const auto a = hn::Load(d, at), b = hn::Load(d, at + 8), c = hn::Load(d, at + 16), e = hn::Load(d, at + 24);
      const auto ab0 = hn::InterleaveLower(d, a, b), ab1 = hn::InterleaveUpper(d, a, b);
      const auto ce0 = hn::InterleaveLower(d, c, e), ce1 = hn::InterleaveUpper(d, c, e);
      uint32_t* o = to + column * 16 + row;
      hn::StoreU(low(ab0, ce0), d, o);
      hn::StoreU(high(ab0, ce0), d, o + 16);
      hn::StoreU(low(ab1, ce1), d, o + 32);
      hn::StoreU(high(ab1, ce1), d, o + 48);
    }
  }
}

template <class T>
HWY_INLINE void put_scales(const Scales& s, int count, int64_t row, const int64_t* position, const Int8Panel& panel) {
  HWY_ALIGN float ws[8], wm[8];
  HWY_ALIGN int32_t sub[4][8];
  store_f8(s.ws, ws);
  if constexpr (T::kMin) store_f8(s.wm, wm);
  if constexpr (T::kGroup16) {
    for (int half = 0; half < 2; ++half) {
      for (int p = 0; p < kParts; ++p) {
        hn::Store(s.sub[half].v[p], di, sub[half] + static_cast<size_t>(p) * kPart);
        if constexpr (T::kMin) hn::Store(s.sub_mins[half].v[p], di, sub[2 + half] + static_cast<size_t>(p) * kPart);
      }
    }
  }
  for (int i = 0; i < count; ++i) {
    panel.scales[position[i] * 16 + row] = ws[i];
    if constexpr (T::kMin) panel.mins[position[i] * 16 + row] = wm[i];
    if constexpr (T::kGroup16) {
      for (int half = 0; half < 2; ++half) {
        panel.sub[(position[i] * 2 + half) * 16 + row] = sub[half][i];
        if constexpr (T::kMin) panel.sub_mins[(position[i] * 2 + half) * 16 + row] = sub[2 + half][i];
      }
    }
  }
}

template <class T>
void unpack_int8(const uint8_t* weights, int64_t row_bytes, int64_t rows, int64_t k, const Int8Panel& panel) noexcept {
  using Block = typename T::Block;
  const int64_t blocks = k / 32;
  const LaneStarts lane_starts(blocks);
  HWY_ALIGN uint8_t codes[16 * 32];
  for (int64_t g = 0; g < blocks; g += 8) {
    const int count = static_cast<int>(blocks - g < 8 ? blocks - g : 8);
    int64_t position[8];
    for (int i = 0; i < count; ++i) position[i] = lane_starts(g + i);
    for (int64_t r = 0; r < 16; ++r) {
      Scales s;
      const auto* block =
          reinterpret_cast<const Block*>(weights + (r < rows ? r : rows - 1) * row_bytes) + g / T::kBlocks;
      if (count == 8) {
        T::scales(block, s);
      } else {  // the end of a row: nothing behind it is read
        Block group[8 / T::kBlocks];
        __builtin_memset(group, 0, sizeof group);
        for (int i = 0; i < count / T::kBlocks; ++i) group[i] = block[i];
        T::scales(group, s);
      }
      put_scales<T>(s, count, r, position, panel);
    }
    for (int i = 0; i < count; ++i) {
      for (int64_t r = 0; r < 16; ++r) {
        const auto* block = reinterpret_cast<const Block*>(weights + (r < rows ? r : 0) * row_bytes);
        const Codes x = T::kBlocks == 8 ? T::unpack(block[g / 8], i) : T::unpack(block[g + i], 0);
        for (int p = 0; p < kParts; ++p)
          hn::Store(x.v[p], d8, codes + 32 * r + static_cast<size_t>(p) * hn::MaxLanes(d8));
      }
      interleave_rows(codes, panel.codes + position[i] * 512);
    }
  }
}

// One vector of rows times kTokens tokens, from token t0 of the tile.
template <class T, int kTokens>
HWY_NOINLINE void gemm_tokens(const Int8Panel& panel, const Int8Tile& tile, int64_t blocks, int64_t t0, int64_t r0,
                              float* y) noexcept {
  const hn::Repartition<uint8_t, DI16> du;
  using V = hn::Vec<DI16>;
  constexpr size_t kLanes = hn::MaxLanes(d16);
  HWY_ALIGN float stack[4][kTokens][kLanes];
  int depth = 0;
  int64_t at = 0;
  for (int lane_index = 0; lane_index < 8; ++lane_index) {
    const int lane = ((lane_index & 1) << 2) | (lane_index & 2) | ((lane_index & 4) >> 2);
    V16 acc[kTokens];
    for (int t = 0; t < kTokens; ++t) acc[t] = hn::Zero(d16);
    const int64_t end = at + (blocks - lane + 7) / 8;
    for (; at < end; ++at) {
      const int32_t* codes = tile.codes + at * 8 * kTileTokens + t0;
      const int32_t* first = tile.sums + at * 2 * kTileTokens + t0;
      const int32_t* last = first + kTileTokens;
      const float* scales = tile.scales + at * kTileTokens + t0;
      const uint8_t* w = panel.codes + at * 512 + r0 * 4;
      V sums[kTokens];
      const auto dots = [&](int from, int to) HWY_ATTR {
        for (int k4 = from; k4 < to; ++k4) {
          const auto weight = hn::LoadU(du, w + k4 * 64);
#pragma GCC unroll 12
          for (int t = 0; t < kTokens; ++t) {
            sums[t] =
                dot4<T::kSmall>(di16, sums[t], weight, hn::BitCast(du, hn::Set(di16, codes[k4 * kTileTokens + t])));
          }
        }
      };
      if constexpr (T::kGroup16) {
        const V sub0 = hn::LoadU(di16, panel.sub + at * 32 + r0), sub1 = hn::LoadU(di16, panel.sub + at * 32 + 16 + r0);
        V total[kTokens];
        for (int t = 0; t < kTokens; ++t) sums[t] = hn::Set(di16, -T::kZero * first[t]);
        dots(0, 4);
        for (int t = 0; t < kTokens; ++t) {
          total[t] = hn::Mul(sums[t], sub0);
          sums[t] = hn::Set(di16, -T::kZero * last[t]);
        }
        dots(4, 8);
        for (int t = 0; t < kTokens; ++t) sums[t] = hn::Add(total[t], hn::Mul(sums[t], sub1));
      } else {
        for (int t = 0; t < kTokens; ++t) {
          sums[t] = T::kZero ? hn::Set(di16, -T::kZero * (first[t] + last[t])) : hn::Zero(di16);
        }
#pragma GCC unroll 1
        for (int k4 = 0; k4 < 8; k4 += 2) dots(k4, k4 + 2);
      }
      const V16 ws = hn::LoadU(d16, panel.scales + at * 16 + r0);
      for (int t = 0; t < kTokens; ++t) {
        acc[t] = hn::MulAdd(hn::ConvertTo(d16, sums[t]), hn::Mul(ws, hn::Set(d16, scales[t])), acc[t]);
      }
      if constexpr (T::kMin) {
        const V16 wm = hn::LoadU(d16, panel.mins + at * 16 + r0);
        for (int t = 0; t < kTokens; ++t) {
          if constexpr (T::kGroup16) {
            const V m0 = hn::LoadU(di16, panel.sub_mins + at * 32 + r0),
                    m1 = hn::LoadU(di16, panel.sub_mins + at * 32 + 16 + r0);
            const V m = hn::Add(hn::Mul(m0, hn::Set(di16, first[t])), hn::Mul(m1, hn::Set(di16, last[t])));
            acc[t] = hn::NegMulAdd(hn::Mul(wm, hn::Set(d16, scales[t])), hn::ConvertTo(d16, m), acc[t]);
          } else {
            const float block_sum = scales[t] * static_cast<float>(first[t] + last[t]);
            acc[t] = hn::NegMulAdd(wm, hn::Set(d16, block_sum), acc[t]);
          }
        }
      }
    }
    for (int done = lane_index; done & 1; done >>= 1) {
      --depth;
      for (int t = 0; t < kTokens; ++t) acc[t] = hn::Add(hn::Load(d16, stack[depth][t]), acc[t]);
    }
    for (int t = 0; t < kTokens; ++t) hn::Store(acc[t], d16, stack[depth][t]);
    ++depth;
  }
  for (int t = 0; t < kTokens; ++t) hn::StoreU(hn::Load(d16, stack[0][t]), d16, y + (t0 + t) * 16 + r0);
}

template <class T>
void gemm_int8(const Int8Panel& panel, const Int8Tile& tile, int64_t k, int64_t tokens, float* y) noexcept {
  constexpr int kLanes = static_cast<int>(hn::MaxLanes(d16));
  constexpr int kMost = kLanes == 16 ? (T::kGroup16 ? 8 : 12) : 4;  // what the registers hold
  for (int64_t r = 0; r < 16; r += kLanes) {
    int64_t t = 0;
    while (t < tokens) {
      const int64_t left = tokens - t;
      if (kMost >= 12 && left >= 12) {
        gemm_tokens<T, kMost >= 12 ? 12 : 1>(panel, tile, k / 32, t, r, y), t += 12;
      } else if (kMost >= 8 && left >= 8) {
        gemm_tokens<T, kMost >= 8 ? 8 : 1>(panel, tile, k / 32, t, r, y), t += 8;
      } else if (left >= 4) {
        gemm_tokens<T, 4>(panel, tile, k / 32, t, r, y), t += 4;
      } else if (left >= 2) {
        gemm_tokens<T, 2>(panel, tile, k / 32, t, r, y), t += 2;
      } else {
        gemm_tokens<T, 1>(panel, tile, k / 32, t, r, y), t += 1;
      }
    }
  }
}

template <class T>
constexpr Int8Kernels int8_kernels() {
  return {gemv_int8<T>, unpack_int8<T>, gemm_int8<T>};
}

}  // namespace moiety::simd::MOIETY_LEVEL
