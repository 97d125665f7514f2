// Attention of a block of queries, tile by tile of 32 absolute positions, with an online softmax.
//
// Written order, the same whatever the block: a dot has 16 lanes (dim i in lane i % 16, ascending) and the tree; a
// tile's maximum joins the running one; its exponentials are added in 16 lanes (position p in lane p % 16) and the
// tree; sums of values get one fma a position, ascending. One query reads the cache directly, some take turns at a tile
// of floats, many share it (attention_shared-inl.h).
#include "simd/attention_shared-inl.h"

namespace moiety::simd::MOIETY_LEVEL {
namespace {

constexpr int64_t kShareQueries = 24;  // from here on vectors hold queries

void start(const Work& w, bool shared) noexcept {
  const AttentionBlock& b = w.block;
  for (int64_t i = 0; i < w.stride; ++i) {
    const bool sink = b.sinks && i < w.queries;
    w.most[i] = sink ? b.sinks[i % b.heads] : kMinusInf;
    w.total[i] = sink ? 1 : 0;
    w.begin[i] = 0, w.end[i] = kTile;  // of absent ones, who need no mask so
  }
  for (int64_t i = 0; i < w.queries * w.padded; ++i) w.sums[i] = 0;
  if (shared) {
    queries_to_lanes(w);
    return;
  }
  for (int64_t i = 0; i < w.queries; ++i) {
    const float* from = w.query(i);
    for (int64_t d = 0; d < w.padded; ++d) w.q[i * w.padded + d] = d < b.head_dim ? from[d] : 0;
  }
}

// Rows of a tile, as the cache has them up to the last one, and as unpack_rows() left them: chunk() is 16 values of
// one, of `whole` chunks; a last one that is not whole is tail().
template <bool kF16>
struct CacheRows {
  const uint8_t* at;
  int64_t bytes, head_dim, last, whole = head_dim / 16;
  HWY_INLINE const uint8_t* row(int64_t p) const { return at + least(p, last) * bytes; }
  HWY_INLINE Lanes chunk(const uint8_t* row, int64_t c) const {
    if constexpr (kF16) return load_f16(row + 32 * c);
    else return load_lanes(reinterpret_cast<const float*>(row) + 16 * c);
  }
  Lanes tail(const uint8_t* row) const noexcept { return load_chunk(row, kF16, whole, head_dim); }
};
struct FloatRows {
  const float* at;
  int64_t padded, whole;
  HWY_INLINE const float* row(int64_t p) const { return at + p * padded; }
  HWY_INLINE Lanes chunk(const float* row, int64_t c) const { return load_lanes(row + 16 * c); }
  Lanes tail(const float*) const noexcept { return lanes_of(0); }
};

// Logits of kQueries queries from `query` on against four keys from p on.
template <int kQueries, class Rows>
HWY_INLINE void quad_dots(const Work& w, int64_t query, const Rows& keys, int64_t p) {
  const float* q = w.q + query * w.padded;
  Lanes sum[kQueries][4];
  for (auto& of_query : sum)
    for (Lanes& lanes : of_query) lanes = lanes_of(0);
  const auto add = [&](int64_t c, const Lanes(&k)[4]) HWY_ATTR {
    for (int i = 0; i < kQueries; ++i) {
      const Lanes x = load_lanes(q + i * w.padded + 16 * c);
      for (int j = 0; j < 4; ++j)
        for (int part = 0; part < kRowParts; ++part)
          sum[i][j].v[part] = hn::MulAdd(x.v[part], k[j].v[part], sum[i][j].v[part]);
    }
  };
  const auto *k0 = keys.row(p), *k1 = keys.row(p + 1), *k2 = keys.row(p + 2), *k3 = keys.row(p + 3);
  for (int64_t c = 0; c < keys.whole; ++c)
    add(c, {keys.chunk(k0, c), keys.chunk(k1, c), keys.chunk(k2, c), keys.chunk(k3, c)});
  if (keys.whole < w.chunks) add(keys.whole, {keys.tail(k0), keys.tail(k1), keys.tail(k2), keys.tail(k3)});
  HWY_ALIGN float quads[16];
  for (int i = 0; i < kQueries; ++i) {
    for (int j = 0; j < 4; ++j) hn::Store(fold_to_quad(sum[i][j]), kQuad, quads + 4 * j);
    hn::Vec<QuadTag> l0, l1, l2, l3;
    hn::LoadInterleaved4(kQuad, quads, l0, l1, l2, l3);
    hn::StoreU(hn::Add(hn::Add(l0, l2), hn::Add(l1, l3)), kQuad, w.logits + (query + i) * kTile + p);
  }
}

// Logits [begin, end) of one query become exponentials; running maximum, total and sums follow.
void soften(const Work& w, int64_t query, int64_t begin, int64_t end) noexcept {
  float* logits = w.logits + query * kTile;
  const bool masked = begin > 0 || end < kTile;
  if (masked) {  // they may hold anything
    for (int64_t p = 0; p < begin; ++p) logits[p] = 0;
    for (int64_t p = end; p < kTile; ++p) logits[p] = 0;
  }
  Lanes x[2] = {load_lanes(logits), load_lanes(logits + 16)};
  for (auto& half : x)
    for (auto& v : half.v) v = capped(w.block, v);
  if (masked) {
    store_lanes(x[0], logits), store_lanes(x[1], logits + 16);
    for (int64_t p = 0; p < begin; ++p) logits[p] = kMinusInf;
    for (int64_t p = end; p < kTile; ++p) logits[p] = kMinusInf;
    x[0] = load_lanes(logits), x[1] = load_lanes(logits + 16);
  }
  Lanes larger;
  for (int part = 0; part < kRowParts; ++part) larger.v[part] = hn::Max(x[0].v[part], x[1].v[part]);
  const float tile_most = max_lanes(larger), before = w.most[query];
  const float now = tile_most > before ? tile_most : before;
  Lanes sum;
  for (int part = 0; part < kRowParts; ++part) {
    for (auto& half : x) half.v[part] = exp_row(hn::Sub(half.v[part], set(now)));
    sum.v[part] = hn::Add(x[0].v[part], x[1].v[part]);
  }
  store_lanes(x[0], logits), store_lanes(x[1], logits + 16);
  if (now > before) {
    const RowVec shrink = exp_row(set(before - now));
    w.total[query] *= hn::GetLane(shrink);
    float* sums = w.sums + query * w.padded;
    for (int64_t i = 0; i < w.padded; i += kRowLanes)
      hn::Store(hn::Mul(hn::Load(kRow, sums + i), shrink), kRow, sums + i);
  }
  w.total[query] += sum_lanes(sum);
  w.most[query] = now;
}

// sums += exponentials x values, positions [begin, end), for one query and kChunks chunks of columns from c on.
template <int kChunks, class Rows>
HWY_INLINE void chunk_values(const float* weights, const Rows& values, int64_t begin, int64_t end, int64_t c,
                             float* sums) {
  Lanes sum[kChunks];
  for (int i = 0; i < kChunks; ++i) sum[i] = load_lanes(sums + 16 * (c + i));
  for (int64_t p = begin; p < end; ++p) {
    const RowVec weight = set(weights[p]);
    for (int i = 0; i < kChunks; ++i) {
      const Lanes v = values.chunk(values.row(p), c + i);
      for (int part = 0; part < kRowParts; ++part) sum[i].v[part] = hn::MulAdd(weight, v.v[part], sum[i].v[part]);
    }
  }
  for (int i = 0; i < kChunks; ++i) store_lanes(sum[i], sums + 16 * (c + i));
}

template <class Rows>
void direct_values(const Work& w, int64_t query, const Rows& values, int64_t begin, int64_t end) noexcept {
  constexpr int kChunks = kRowParts == 1 ? 8 : 4 / kRowParts;
  float* sums = w.sums + query * w.padded;
  const float* weights = w.logits + query * kTile;
  int64_t c = 0;
  for (; c + kChunks <= values.whole; c += kChunks) chunk_values<kChunks>(weights, values, begin, end, c, sums);
  for (; c < values.whole; ++c) chunk_values<1>(weights, values, begin, end, c, sums);
  if (c == w.chunks) return;
  Lanes sum = load_lanes(sums + 16 * c);
  for (int64_t p = begin; p < end; ++p) {
    const Lanes v = values.tail(values.row(p));
    for (int part = 0; part < kRowParts; ++part) sum.v[part] = hn::MulAdd(set(weights[p]), v.v[part], sum.v[part]);
  }
  store_lanes(sum, sums + 16 * c);
}

template <bool kKeysF16, bool kValuesF16>
void cached_tile(const Work& w, int64_t tile) noexcept {
  const AttentionBlock& b = w.block;
  const int64_t begin = w.begin[0], end = w.end[0];
  if (begin >= end) return;
  const CacheRows<kKeysF16> keys{w.keys_of(tile), b.key_bytes, b.head_dim, end - 1};
  for (int64_t p = begin / 4 * 4; p < end; p += 4) quad_dots<1>(w, 0, keys, p);
  soften(w, 0, begin, end);
  direct_values(w, 0, CacheRows<kValuesF16>{w.values_of(tile), b.value_bytes, b.head_dim, end - 1}, begin, end);
}

void one_tile(const Work& w, int64_t tile) noexcept {
  const AttentionBlock& b = w.block;
  if (b.keys_f16) b.values_f16 ? cached_tile<true, true>(w, tile) : cached_tile<true, false>(w, tile);
  else b.values_f16 ? cached_tile<false, true>(w, tile) : cached_tile<false, false>(w, tile);
}

// Parts [from, to) of n of the rows that follow a tile's: what is read next, while the queries are at work.
HWY_INLINE void fetch_next(const uint8_t* rows, int64_t row_bytes, int64_t from, int64_t to, int64_t n) {
  const int64_t bytes = kTile * row_bytes;
  const uintptr_t next = reinterpret_cast<uintptr_t>(rows) + static_cast<uintptr_t>(bytes);
  for (int64_t at = bytes * from / n / 64 * 64; at < bytes * to / n; at += 64)
    __builtin_prefetch(reinterpret_cast<const void*>(next + static_cast<uintptr_t>(at)), 0, 2);
}

void few_tile(const Work& w, int64_t tile) noexcept {
  const AttentionBlock& b = w.block;
  const Seen seen = w.seen();
  const int64_t count = seen.last - seen.first;
  const FloatRows rows{w.rows, w.padded, w.chunks};
  unpack_keys(w, tile, seen);
  for (int64_t p = seen.begin / 4 * 4; p < seen.end; p += 4) {
    int64_t i = 0;
    for (; i + 2 <= count; i += 2) {
      fetch_next(w.keys_of(tile), b.key_bytes, p * count + 4 * i, p * count + 4 * i + 8, kTile * count);
      quad_dots<2>(w, seen.first + i, rows, p);
    }
    if (i < count) quad_dots<1>(w, seen.first + i, rows, p);
  }
  for (int64_t i = seen.first; i < seen.last; ++i) soften(w, i, w.begin[i], w.end[i]);
  unpack_values(w, tile, seen);
  for (int64_t i = 0; i < count; ++i) {
    fetch_next(w.values_of(tile), b.value_bytes, i, i + 1, count);
    direct_values(w, seen.first + i, rows, w.begin[seen.first + i], w.end[seen.first + i]);
  }
}

}  // namespace

int64_t attention_floats(int64_t queries, int64_t head_dim) noexcept { return Work::floats(queries, head_dim); }

void attention_block(const AttentionBlock& block) noexcept {
  const Work w(block);
  const bool shared = w.queries >= kShareQueries;
  start(w, shared);
  const int64_t start_at = block.window > 0 ? greatest(block.position - block.window + 1, 0) : 0;
  const int64_t end_at = block.position + block.rows;
  for (int64_t tile = start_at / kTile * kTile; tile < end_at; tile += kTile) {
    w.look_at(tile);
    if (shared) shared_tile(w, tile);
    else if (w.queries > 1) few_tile(w, tile);
    else one_tile(w, tile);
  }
  for (int64_t i = 0; i < w.queries; ++i) {
    float* y = block.y + i / block.heads * block.row_stride + i % block.heads * block.head_dim;
    const float inverse = 1.0f / w.total[i];
    map_row(w.sums + i * w.padded, block.head_dim, y, [&](RowVec v) { return hn::Mul(v, set(inverse)); });
  }
}

}  // namespace moiety::simd::MOIETY_LEVEL
