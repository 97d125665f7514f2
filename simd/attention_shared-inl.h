// Attention of many queries, who share a tile of keys and values as floats: vectors hold queries, so that neither
// maxima nor sums of exponentials go across a vector, and keys are read as they lie. The order is rows_attention.cpp's.
#pragma once

#include "simd/attention-inl.h"

namespace moiety::simd::MOIETY_LEVEL {

// Register tiles: of the dots kDotPositions x kDotVecs vectors of queries x kDotLanes, of the values kGroup queries x
// kValueVecs vectors of columns.
inline constexpr int kDotPositions = 4, kDotVecs = kRowParts == 1 ? 3 : 2, kDotLanes = kRowParts == 1 ? 2 : 1;
inline constexpr int kGroup = kRowParts == 1 ? 6 : kRowParts == 2 ? 2 : 1, kValueVecs = 4;
static_assert(kTile % kDotPositions == 0 && kStackFloats >= 5 * kDotPositions * kDotVecs * kRowLanes);

// Calls body<count>(first) for groups of [first, last), of kMost, kFew or one.
template <int kMost, int kFew, class Body>
HWY_INLINE void in_groups(int64_t first, int64_t last, const Body& body) {
  for (; last - first >= kMost && last - first != 2 * kFew; first += kMost) body.template operator()<kMost>(first);
  for (; last - first >= kFew; first += kFew) body.template operator()<kFew>(first);
  for (; first < last; ++first) body.template operator()<1>(first);
}

// The lane that is visited at step v: bits reversed, so that partial sums meet in the order of the tree.
HWY_INLINE int64_t lane_at(int64_t v) { return (v & 1) * 8 + (v & 2) * 2 + (v & 4) / 2 + (v & 8) / 8; }

inline void queries_to_lanes(const Work& w) noexcept {
  for (int64_t i = 0; i < w.stride; ++i) {
    const float* from = i < w.queries ? w.query(i) : nullptr;
    for (int64_t v = 0; v < 16; ++v)
      for (int64_t c = 0; c < w.chunks; ++c) {
        const int64_t d = 16 * c + lane_at(v);
        w.q[(v * w.chunks + c) * w.stride + i] = from && d < w.block.head_dim ? from[d] : 0;
      }
  }
}

// Logits of kDotPositions positions from p on for kVecs vectors of queries from q on. Lanes that meet first are summed
// side by side, the others through a stack of partial sums.
template <int kVecs>
HWY_INLINE void shared_dots(const Work& w, int64_t p, int64_t q) noexcept {
  constexpr int64_t kStep = kDotPositions * kVecs * kRowLanes;
  float* top = w.stack;
  for (int64_t v = 0; v < 16; v += kDotLanes) {
    RowVec sum[kDotLanes][kDotPositions][kVecs];
    for (auto& lane : sum)
      for (auto& position : lane)
        for (RowVec& x : position) x = hn::Zero(kRow);
    for (int64_t c = 0; c < w.chunks; ++c) {
      for (int l = 0; l < kDotLanes; ++l) {
        const float* key = w.rows + p * w.padded + 16 * c + lane_at(v + l);
        RowVec x[kVecs];
        for (int k = 0; k < kVecs; ++k)
          x[k] = hn::LoadU(kRow, w.q + ((v + l) * w.chunks + c) * w.stride + q + k * kRowLanes);
        for (int i = 0; i < kDotPositions; ++i) {
          const RowVec y = set(key[i * w.padded]);
          for (int k = 0; k < kVecs; ++k) sum[l][i][k] = hn::MulAdd(x[k], y, sum[l][i][k]);
        }
      }
    }
    if constexpr (kDotLanes == 2) {
      for (int i = 0; i < kDotPositions; ++i)
        for (int k = 0; k < kVecs; ++k) sum[0][i][k] = hn::Add(sum[0][i][k], sum[kDotLanes - 1][i][k]);
    }
    for (int64_t t = v / kDotLanes; t & 1; t >>= 1) {
      top -= kStep;
      for (int i = 0; i < kDotPositions; ++i)
        for (int k = 0; k < kVecs; ++k)
          sum[0][i][k] = hn::Add(hn::LoadU(kRow, top + (i * kVecs + k) * kRowLanes), sum[0][i][k]);
    }
    const bool last = v + kDotLanes == 16;
    float* to = last ? w.logits + p * w.stride + q : top;
    const int64_t stride = last ? w.stride : kVecs * kRowLanes;
    for (int i = 0; i < kDotPositions; ++i)
      for (int k = 0; k < kVecs; ++k) hn::StoreU(sum[0][i][k], kRow, to + i * stride + k * kRowLanes);
    top += kStep;
  }
}

// The tree over 16 lanes of exponentials, position p in lane p % 16: lanes i, i + kNext, i + 2 kNext and so on.
template <int kNext>
HWY_INLINE RowVec sum_positions(const float* x, int64_t stride) {
  if constexpr (kNext == 16) return hn::Add(hn::LoadU(kRow, x), hn::LoadU(kRow, x + 16 * stride));
  else return hn::Add(sum_positions<2 * kNext>(x, stride), sum_positions<2 * kNext>(x + kNext * stride, stride));
}

// Logits of the vector of queries from q on become exponentials; running maximum, total and sums follow.
inline void soften_shared(const Work& w, int64_t q) noexcept {
  float* x = w.logits + q;
  const auto begin = hn::LoadU(kRowInt, w.begin + q), end = hn::LoadU(kRowInt, w.end + q);
  bool masked = false;
  for (int64_t i = q; i < q + kRowLanes; ++i) masked |= w.begin[i] > 0 || w.end[i] < kTile;
  RowVec most = set(kMinusInf);
  for (int32_t p = 0; p < kTile; ++p) {
    RowVec logit = capped(w.block, hn::LoadU(kRow, x + p * w.stride));
    if (masked) {
      const auto at = hn::Set(kRowInt, p);
      const auto hidden = hn::RebindMask(kRow, hn::Or(hn::Lt(at, begin), hn::Not(hn::Lt(at, end))));
      logit = hn::IfThenElse(hidden, set(kMinusInf), logit);
    }
    hn::StoreU(logit, kRow, x + p * w.stride);
    most = hn::Max(most, logit);
  }
  const RowVec before = hn::LoadU(kRow, w.most + q), total = hn::LoadU(kRow, w.total + q);
  const RowMask grown = hn::Gt(most, before);
  const RowVec now = hn::IfThenElse(grown, most, before);
  const RowVec base = hn::IfThenElse(hn::Eq(now, set(kMinusInf)), hn::Zero(kRow), now);  // nothing was seen so far
  for (int64_t p = 0; p < kTile; ++p)
    hn::StoreU(exp_row(hn::Sub(hn::LoadU(kRow, x + p * w.stride), base)), kRow, x + p * w.stride);
  const RowVec shrink = exp_row(hn::Sub(before, base));
  const RowVec kept = hn::IfThenElse(grown, hn::Mul(total, shrink), total);
  hn::StoreU(hn::Add(kept, sum_positions<1>(x, w.stride)), kRow, w.total + q);
  hn::StoreU(now, kRow, w.most + q);
  if (hn::AllFalse(kRow, grown)) return;
  HWY_ALIGN float factors[16];
  hn::Store(hn::IfThenElse(grown, shrink, set(1.0f)), kRow, factors);
  for (int64_t i = q; i < least(q + kRowLanes, w.queries); ++i) {
    const RowVec factor = set(factors[i - q]);
    float* sums = w.sums + i * w.padded;
    for (int64_t d = 0; d < w.padded; d += kRowLanes)
      hn::Store(hn::Mul(hn::Load(kRow, sums + d), factor), kRow, sums + d);
  }
}

// sums += exponentials x values, positions [begin, end), for kCount queries from `first` on and kWidth vectors of
// columns from `at` on.
template <int kCount, int kWidth>
HWY_INLINE void shared_values(const Work& w, int64_t first, int64_t begin, int64_t end, int64_t at) {
  if (begin >= end) return;
  RowVec sum[kCount][kWidth];
  float* sums = w.sums + first * w.padded + at * kRowLanes;
  for (int i = 0; i < kCount; ++i)
    for (int d = 0; d < kWidth; ++d) sum[i][d] = hn::LoadU(kRow, sums + i * w.padded + d * kRowLanes);
  for (int64_t p = begin; p < end; ++p) {
    RowVec value[kWidth];
    for (int d = 0; d < kWidth; ++d) value[d] = hn::LoadU(kRow, w.rows + p * w.padded + (at + d) * kRowLanes);
    for (int i = 0; i < kCount; ++i) {
      const RowVec weight = set(w.logits[p * w.stride + first + i]);
      for (int d = 0; d < kWidth; ++d) sum[i][d] = hn::MulAdd(weight, value[d], sum[i][d]);
    }
  }
  for (int i = 0; i < kCount; ++i)
    for (int d = 0; d < kWidth; ++d) hn::StoreU(sum[i][d], kRow, sums + i * w.padded + d * kRowLanes);
}

// A group of queries: what all see together, before and after it each alone, so that masked values are never touched.
template <int kCount, int kWidth>
HWY_INLINE void group_values(const Work& w, int64_t first, int64_t at) noexcept {
  const int64_t behind = first + kCount, begin = w.begin[behind - 1], end = w.end[first];
  if (w.begin[first] == begin && w.end[behind - 1] == end) {
    shared_values<kCount, kWidth>(w, first, begin, end, at);
    return;
  }
  const bool any = begin < end;
  for (int64_t i = first; i < behind; ++i) shared_values<1, kWidth>(w, i, w.begin[i], any ? begin : w.end[i], at);
  if (!any) return;
  shared_values<kCount, kWidth>(w, first, begin, end, at);
  for (int64_t i = first; i < behind; ++i) shared_values<1, kWidth>(w, i, end, w.end[i], at);
}

// Columns outside, queries inside: some columns of the values stay in the L1 cache, all of them beside the sums would
// not.
template <int kWidth>
void tile_values(const Work& w, int64_t first, int64_t last, int64_t at) noexcept {
  in_groups<kGroup, kGroup < 4 ? kGroup : 4>(
      first, last, [&]<int kCount>(int64_t i) HWY_ATTR { group_values<kCount, kWidth>(w, i, at); });
}

inline void shared_tile(const Work& w, int64_t tile) noexcept {
  const Seen seen = w.seen();
  unpack_keys(w, tile, seen);
  const int64_t from = seen.first / kRowLanes, to = (seen.last + kRowLanes - 1) / kRowLanes;
  in_groups<kDotVecs, 2>(from, to, [&]<int kVecs>(int64_t i) HWY_ATTR {
    for (int64_t p = seen.begin / kDotPositions * kDotPositions; p < seen.end; p += kDotPositions)
      shared_dots<kVecs>(w, p, i * kRowLanes);
  });
  for (int64_t i = from; i < to; ++i) soften_shared(w, i * kRowLanes);
  unpack_values(w, tile, seen);
  int64_t at = 0;
  for (const int64_t vecs = w.padded / kRowLanes; at < vecs;) {
    if (at + kValueVecs <= vecs) tile_values<kValueVecs>(w, seen.first, seen.last, at), at += kValueVecs;
    else tile_values<1>(w, seen.first, seen.last, at), ++at;
  }
}

}  // namespace moiety::simd::MOIETY_LEVEL
