// Attention of a block of queries, tile by tile of 32 absolute positions, with an online softmax.
//
// Written order, the same whatever the block: a dot has 16 lanes (dim i in lane i % 16, ascending) and the tree; a
// tile's maximum joins the running one; its exponentials are added in 16 lanes (position p in lane p % 16) and the
// tree; sums of values get one fma a position, ascending. Few queries read the cache directly. Many share a tile of
// keys turned to [dim in lane order][position], where a vector holds positions and a stack of partials walks the tree.
#include "simd/rows-inl.h"
#include "simd/rows_parts.h"

namespace moiety::simd::MOIETY_LEVEL {
namespace {

constexpr int64_t kTile = kAttentionTile;
constexpr int64_t kShareQueries = 4;                                       // from here on a tile is shared
constexpr int kKeyVecs = static_cast<int>(kTile / kRowLanes);              // vectors of a tile's positions
constexpr int kDotGroup = kRowParts == 1 ? 8 : kRowParts == 2 ? 2 : 1;     // queries of one register tile, of the dots,
constexpr int kGroup = kRowParts == 1 ? 4 : kRowParts == 2 ? 2 : 1;        // and of the values
constexpr int kValueVecs = 4;                                              // kValueVecs x kGroup sums in registers
constexpr float kMinusInf = -__builtin_inff();

HWY_INLINE int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
HWY_INLINE int64_t greatest(int64_t a, int64_t b) { return a > b ? a : b; }

// The block's scratch. padded: head_dim rounded up to 16; what is past head_dim is 0.
struct Work {
  const AttentionBlock& block;
  int64_t queries, padded, chunks;
  float *q, *q_lanes, *sums;   // [queries][padded]; q_lanes in lane order
  float* logits;               // [queries][kTile], then the exponentials
  float *most, *total;         // [queries] running maximum and sum of exponentials
  float *keys, *values;        // [padded in lane order][kTile], [kTile][padded]
  float* stack;

  explicit Work(const AttentionBlock& b) : block(b) {
    queries = int64_t{b.rows} * b.heads;
    padded = (b.head_dim + 15) / 16 * 16;
    chunks = padded / 16;
    float* at = b.scratch;
    q = at, at += queries * padded;
    q_lanes = at, at += queries * padded;
    sums = at, at += queries * padded;
    keys = at, at += kTile * padded;
    values = at, at += kTile * padded;
    logits = at, at += queries * kTile;
    stack = at, at += 6 * 8 * kTile;
    most = at, at += queries;
    total = at;
  }
  static const uint8_t* row(const uint8_t* const* segments, int64_t bytes, int64_t position) {
    int segment = 0;
    int64_t begin = 0;
    for (int64_t end = kFirstSegment; position >= end; end *= 2) begin = end, ++segment;
    return segments[segment] + (position - begin) * bytes;
  }
  // Where the rows of a tile begin.
  const uint8_t* keys_of(int64_t tile) const {
    return row(block.key_segments, block.key_bytes, tile);
  }
  const uint8_t* values_of(int64_t tile) const {
    return row(block.value_segments, block.value_bytes, tile);
  }
  int64_t position(int64_t query) const { return block.position + query / block.heads; }
  // The positions of the tile that a query sees, relative to the tile; empty if first >= last.
  int64_t first(int64_t query, int64_t tile) const {
    const int64_t start = block.window > 0 ? position(query) - block.window + 1 : 0;
    return greatest(start - tile, 0);
  }
  int64_t last(int64_t query, int64_t tile) const { return least(position(query) + 1 - tile, kTile); }
};

// Chunk `chunk` of 16 values of a cache row.
HWY_INLINE Lanes load_chunk(const uint8_t* row, bool f16, int64_t chunk, int64_t head_dim) {
  const int64_t left = head_dim - 16 * chunk;
  if (left >= 16) return f16 ? load_f16(row + 32 * chunk) : load_lanes(reinterpret_cast<const float*>(row) + 16 * chunk);
  HWY_ALIGN uint8_t copy[64] = {};
  const size_t size = f16 ? 2 : 4;
  __builtin_memcpy(copy, row + 16 * static_cast<size_t>(chunk) * size, static_cast<size_t>(left) * size);
  return f16 ? load_f16(copy) : load_lanes(reinterpret_cast<const float*>(copy));
}

void start(const Work& w) {
  const AttentionBlock& b = w.block;
  for (int64_t i = 0; i < w.queries; ++i) {
    const float* from = b.q + i / b.heads * b.row_stride + i % b.heads * b.head_dim;
    for (int64_t d = 0; d < w.padded; ++d) w.q[i * w.padded + d] = d < b.head_dim ? from[d] : 0;
    for (int64_t d = 0; d < w.padded; ++d) w.sums[i * w.padded + d] = 0;
    w.most[i] = b.sinks ? b.sinks[i % b.heads] : kMinusInf;
    w.total[i] = b.sinks ? 1 : 0;
  }
}

// The lane that is visited at step v: bits reversed, so that partial sums meet in the order of the tree.
HWY_INLINE int64_t lane_at(int v) { return (v & 1) * 8 + (v & 2) * 2 + (v & 4) / 2 + (v & 8) / 8; }

void queries_to_lanes(const Work& w) {
  for (int64_t i = 0; i < w.queries; ++i)
    for (int v = 0; v < 16; ++v)
      for (int64_t c = 0; c < w.chunks; ++c)
        w.q_lanes[i * w.padded + v * w.chunks + c] = w.q[i * w.padded + 16 * c + lane_at(v)];
}

// Keys [begin, end) of the tile to [dim in lane order][position]; other positions of a touched group of 4 become 0.
void pack_keys(const Work& w, int64_t tile, int64_t begin, int64_t end) {
  const AttentionBlock& b = w.block;
  const uint8_t* keys = w.keys_of(tile);
  HWY_ALIGN float turned[64];
  for (int64_t p = begin / 4 * 4; p < end; p += 4) {
    for (int64_t c = 0; c < w.chunks; ++c) {
      Lanes rows[4];
      for (int64_t i = 0; i < 4; ++i)
        rows[i] = p + i < end && p + i >= begin
                      ? load_chunk(keys + (p + i) * b.key_bytes, b.keys_f16, c, b.head_dim)
                      : lanes_of(0);
      for (int part = 0; part < kRowParts; ++part)
        hn::StoreInterleaved4(rows[0].v[part], rows[1].v[part], rows[2].v[part], rows[3].v[part], kRow,
                              turned + 4 * part * kRowLanes);
      for (int v = 0; v < 16; ++v)
        hn::StoreU(hn::Load(kQuad, turned + 4 * lane_at(v)), kQuad, w.keys + (v * w.chunks + c) * kTile + p);
    }
  }
}

void unpack_values(const Work& w, int64_t tile, int64_t begin, int64_t end) {
  const AttentionBlock& b = w.block;
  const uint8_t* from = w.values_of(tile);
  for (int64_t p = begin; p < end; ++p)
    for (int64_t c = 0; c < w.chunks; ++c)
      store_lanes(load_chunk(from + p * b.value_bytes, b.values_f16, c, b.head_dim),
                  w.values + p * w.padded + 16 * c);
}

// Logits of kCount queries from `first` against the packed tile.
template <int kCount>
HWY_INLINE void shared_dots(const Work& w, int64_t first) {
  constexpr int64_t kStep = kCount * kTile;
  float* top = w.stack;
  for (int v = 0; v < 16; ++v) {
    RowVec sum[kCount][kKeyVecs];
    for (int i = 0; i < kCount; ++i)
      for (int k = 0; k < kKeyVecs; ++k) sum[i][k] = hn::Zero(kRow);
    const float* keys = w.keys + v * w.chunks * kTile;
    const float* q = w.q_lanes + first * w.padded + v * w.chunks;
    for (int64_t c = 0; c < w.chunks; ++c, keys += kTile) {
      for (int i = 0; i < kCount; ++i) {
        const RowVec x = set(q[i * w.padded + c]);
        for (int k = 0; k < kKeyVecs; ++k) sum[i][k] = hn::MulAdd(x, hn::LoadU(kRow, keys + k * kRowLanes), sum[i][k]);
      }
    }
    for (int t = v; t & 1; t >>= 1) {
      top -= kStep;
      for (int i = 0; i < kCount; ++i)
        for (int k = 0; k < kKeyVecs; ++k)
          sum[i][k] = hn::Add(hn::LoadU(kRow, top + i * kTile + k * kRowLanes), sum[i][k]);
    }
    for (int i = 0; i < kCount; ++i)
      for (int k = 0; k < kKeyVecs; ++k) hn::StoreU(sum[i][k], kRow, top + i * kTile + k * kRowLanes);
    top += kStep;
  }
  for (int i = 0; i < kCount; ++i)
    for (int k = 0; k < kKeyVecs; ++k)
      hn::StoreU(hn::LoadU(kRow, w.stack + i * kTile + k * kRowLanes), kRow,
                 w.logits + (first + i) * kTile + k * kRowLanes);
}

// Logits of one query against keys [begin, end) of the tile, straight from the cache, four keys at a time.
void direct_dots(const Work& w, int64_t query, int64_t tile, int64_t begin, int64_t end) {
  const AttentionBlock& b = w.block;
  const float* q = w.q + query * w.padded;
  const uint8_t* keys = w.keys_of(tile);
  HWY_ALIGN float quads[16];
  for (int64_t p = begin; p < end; p += 4) {
    const int64_t count = least(4, end - p);
    for (int64_t i = 0; i < count; ++i) {
      const uint8_t* key = keys + (p + i) * b.key_bytes;
      Lanes sum = lanes_of(0);
      for (int64_t c = 0; c < w.chunks; ++c) {
        const Lanes k = load_chunk(key, b.keys_f16, c, b.head_dim), x = load_lanes(q + 16 * c);
        for (int part = 0; part < kRowParts; ++part) sum.v[part] = hn::MulAdd(x.v[part], k.v[part], sum.v[part]);
      }
      hn::Store(fold_to_quad(sum), kQuad, quads + 4 * i);
    }
    for (int64_t i = count; i < 4; ++i) hn::Store(hn::Zero(kQuad), kQuad, quads + 4 * i);
    hn::Vec<QuadTag> l0, l1, l2, l3;
    hn::LoadInterleaved4(kQuad, quads, l0, l1, l2, l3);
    HWY_ALIGN float dots[4];
    hn::Store(hn::Add(hn::Add(l0, l2), hn::Add(l1, l3)), kQuad, dots);
    for (int64_t i = 0; i < count; ++i) w.logits[query * kTile + p + i] = dots[i];
  }
}

// Logits [begin, end) of one query become exponentials; running maximum, total and sums follow.
void soften(const Work& w, int64_t query, int64_t begin, int64_t end) {
  const AttentionBlock& b = w.block;
  float* logits = w.logits + query * kTile;
  const bool masked = begin > 0 || end < kTile;
  if (masked) {  // they may hold anything
    for (int64_t p = 0; p < begin; ++p) logits[p] = 0;
    for (int64_t p = end; p < kTile; ++p) logits[p] = 0;
  }
  Lanes x[2] = {load_lanes(logits), load_lanes(logits + 16)};
  for (auto& half : x)
    for (auto& v : half.v) {
      v = hn::Mul(v, set(b.scale));
      if (b.softcap > 0) v = hn::Mul(tanh_row(hn::Div(v, set(b.softcap))), set(b.softcap));
    }
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
    for (int64_t i = 0; i < w.padded; i += kRowLanes) hn::Store(hn::Mul(hn::Load(kRow, sums + i), shrink), kRow, sums + i);
  }
  w.total[query] += sum_lanes(sum);
  w.most[query] = now;
}

// sums += exponentials x values, positions [begin, end), for kCount queries from `first` and kWidth vectors from `at`; the
// tile's values are f32.
template <int kCount, int kWidth>
HWY_INLINE void shared_values(const Work& w, int64_t first, int64_t begin, int64_t end, int64_t at) {
  if (begin >= end) return;
  RowVec sum[kCount][kWidth];
  float* sums = w.sums + first * w.padded + at * kRowLanes;
  for (int i = 0; i < kCount; ++i)
    for (int d = 0; d < kWidth; ++d) sum[i][d] = hn::LoadU(kRow, sums + i * w.padded + d * kRowLanes);
  for (int64_t p = begin; p < end; ++p) {
    const float* values = w.values + p * w.padded + at * kRowLanes;
    for (int i = 0; i < kCount; ++i) {
      const RowVec weight = set(w.logits[(first + i) * kTile + p]);
      for (int d = 0; d < kWidth; ++d) sum[i][d] = hn::MulAdd(weight, hn::LoadU(kRow, values + d * kRowLanes), sum[i][d]);
    }
  }
  for (int i = 0; i < kCount; ++i)
    for (int d = 0; d < kWidth; ++d) hn::StoreU(sum[i][d], kRow, sums + i * w.padded + d * kRowLanes);
}

// The same for one query, from the cache.
void direct_values(const Work& w, int64_t query, int64_t tile, int64_t begin, int64_t end) {
  const AttentionBlock& b = w.block;
  constexpr int64_t kChunks = kRowParts == 1 ? 8 : 4 / kRowParts;
  float* sums = w.sums + query * w.padded;
  const uint8_t* values = w.values_of(tile);
  for (int64_t c0 = 0; c0 < w.chunks; c0 += kChunks) {
    const int64_t count = least(kChunks, w.chunks - c0);
    Lanes sum[kChunks];
    for (int64_t c = 0; c < kChunks; ++c) sum[c] = c < count ? load_lanes(sums + 16 * (c0 + c)) : lanes_of(0);
    for (int64_t p = begin; p < end; ++p) {
      const RowVec weight = set(w.logits[query * kTile + p]);
      const uint8_t* value = values + p * b.value_bytes;
      const auto add = [&](int64_t c) HWY_ATTR {
        const Lanes v = load_chunk(value, b.values_f16, c0 + c, b.head_dim);
        for (int part = 0; part < kRowParts; ++part) sum[c].v[part] = hn::MulAdd(weight, v.v[part], sum[c].v[part]);
      };
      if (count == kChunks) {
        for (int64_t c = 0; c < kChunks; ++c) add(c);
      } else {
        for (int64_t c = 0; c < count; ++c) add(c);
      }
    }
    for (int64_t c = 0; c < count; ++c) store_lanes(sum[c], sums + 16 * (c0 + c));
  }
}

// A group of queries: what all see together, before and after it each alone, so that masked values are never touched.
template <int kCount, int kWidth>
HWY_INLINE void group_values(const Work& w, int64_t first, int64_t tile, int64_t at) {
  int64_t begin = 0, end = kTile;
  for (int i = 0; i < kCount; ++i) {
    begin = greatest(begin, w.first(first + i, tile));
    end = least(end, w.last(first + i, tile));
  }
  const bool any = begin < end;
  for (int i = 0; i < kCount; ++i)
    shared_values<1, kWidth>(w, first + i, w.first(first + i, tile), any ? begin : w.last(first + i, tile), at);
  if (!any) return;
  shared_values<kCount, kWidth>(w, first, begin, end, at);
  for (int i = 0; i < kCount; ++i) shared_values<1, kWidth>(w, first + i, end, w.last(first + i, tile), at);
}

// Columns outside, queries inside: some columns of the values stay in the L1 cache, all of them beside the sums would not.
template <int kWidth>
void tile_values(const Work& w, int64_t tile, int64_t at) {
  int64_t i = 0;
  for (; i + kGroup <= w.queries; i += kGroup) group_values<kGroup, kWidth>(w, i, tile, at);
  for (; i < w.queries; ++i) group_values<1, kWidth>(w, i, tile, at);
}

void shared_tile(const Work& w, int64_t tile) {
  const int64_t begin = w.first(0, tile), end = w.last(w.queries - 1, tile);
  pack_keys(w, tile, begin, end);
  unpack_values(w, tile, begin, end);
  int64_t i = 0;
  for (; i + kDotGroup <= w.queries; i += kDotGroup) shared_dots<kDotGroup>(w, i);
  for (; i + kGroup <= w.queries; i += kGroup) shared_dots<kGroup>(w, i);
  for (; i < w.queries; ++i) shared_dots<1>(w, i);
  for (i = 0; i < w.queries; ++i)
    if (w.first(i, tile) < w.last(i, tile)) soften(w, i, w.first(i, tile), w.last(i, tile));
  int64_t at = 0;
  for (const int64_t vecs = w.padded / kRowLanes; at < vecs;) {
    if (at + kValueVecs <= vecs) tile_values<kValueVecs>(w, tile, at), at += kValueVecs;
    else tile_values<1>(w, tile, at), ++at;
  }
}

void direct_tile(const Work& w, int64_t tile) {
  for (int64_t i = 0; i < w.queries; ++i) {
    const int64_t begin = w.first(i, tile), end = w.last(i, tile);
    if (begin >= end) continue;
    direct_dots(w, i, tile, begin, end);
    soften(w, i, begin, end);
    direct_values(w, i, tile, begin, end);
  }
}

}  // namespace

void attention_block(const AttentionBlock& block) noexcept {
  const Work w(block);
  start(w);
  const bool shared = w.queries >= kShareQueries;
  if (shared) queries_to_lanes(w);
  const int64_t start_at = block.window > 0 ? greatest(block.position - block.window + 1, 0) : 0;
  const int64_t end_at = block.position + block.rows;
  for (int64_t tile = start_at / kTile * kTile; tile < end_at; tile += kTile) {
    if (shared) shared_tile(w, tile);
    else direct_tile(w, tile);
  }
  for (int64_t i = 0; i < w.queries; ++i) {
    float* y = block.y + i / block.heads * block.row_stride + i % block.heads * block.head_dim;
    const float inverse = 1.0f / w.total[i];
    map_row(w.sums + i * w.padded, block.head_dim, y, [&](RowVec v) { return hn::Mul(v, set(inverse)); });
  }
}

}  // namespace moiety::simd::MOIETY_LEVEL
