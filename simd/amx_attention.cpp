// Attention on the tile unit, whose products are of bf16 pairs, where keys and values are f16. A key or a value is the
// sum of two bf16 (11 bits are 8 + 3), a query or an exponential is to 17 bits; a product is three, without the one of
// both low parts.
//
// Written order, the same whatever the block: tiles of 32 absolute positions, ascending. A logit adds 32 dims after the
// other: high x high, high x low, low x high. Exponentials are of 2, relative to a base that grows only when a logit is
// far above it. Sums of values add a tile's positions: high x high, low x high, high x low.
#include "simd/amx_attention-inl.h"

namespace moiety::simd {

namespace avx512_vnni {
int64_t attention_floats(int64_t queries, int64_t head_dim) noexcept;
void attention_block(const AttentionBlock& block) noexcept;
}  // namespace avx512_vnni

namespace MOIETY_LEVEL {
namespace {

constexpr float kSlack = 8;  // exponentials are up to 2^kSlack

struct alignas(64) SquareTiles {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

// Exponentials stay in tiles 2 and 3.
HWY_INLINE void load_weights(const float* exponentials) {
  _tile_loadd(2, exponentials, 64);
  _tile_loadd(3, exponentials + kSquareFloats, 64);
}

// The tile unit's work for a group, dealt out product by product while vectors do theirs: a CPU that meets all of it at
// once doesn't look so far ahead that it would see what can be done meanwhile (1900 cycles for 32 positions and 128
// dims, 1280 so). First dots, then sums.
class Products {
 public:
  Products(const Squares& w, int64_t group) : w_(w), group_(group) {}

  // Dots of `blocks` pairs of squares of keys, of 2 * steps from the `first` on, [step][half]. With the last one
  // logits_of(turn) are there.
  HWY_INLINE void dots(const std::byte* keys, int64_t first, int64_t blocks, int64_t turn) {
    keys_ = keys;
    queries_ = w_.query_squares(group_, first / 2);
    logits_ = first + blocks == 2 * w_.steps ? w_.logits_of(turn) : nullptr;
    dots_ = 3 * blocks;
    if (first > 0) return;
    _tile_zero(0);
    _tile_zero(1);
  }
  // Sums of `chunks` pairs of squares of values, from the `first` of the group's on, weighted with the exponentials
  // that logits_of(turn) have become, which may be written over once this was called with the first.
  HWY_INLINE void sums(const std::byte* values, int64_t first, int64_t chunks, int64_t turn) {
    values_ = values;
    sums_ = w_.sums_of(group_) + first * kSquareFloats;
    chunks_ = 3 * chunks;
    if (first == 0) load_weights(w_.logits_of(turn));
  }
  HWY_INLINE void in_parts(int64_t parts) { each_ = ((dots_ + chunks_) << 8) / parts, due_ = 0; }
  HWY_INLINE void part() {
    for (due_ += each_; due_ >= 256; due_ -= 256) next();
  }
  HWY_INLINE void rest() {
    while (dots_ + chunks_ > 0) next();
  }

 private:
  HWY_INLINE void next() {
    if (dots_ > 0) next_dot();
    else if (chunks_ > 0) next_sum();
  }
  HWY_INLINE void next_dot() {
    --dots_;
    switch (dot_) {
      case 0:
        _tile_loadd(6, keys_, 64);
        _tile_loadd(7, queries_, 64);
        _tile_dpbf16ps(0, 6, 7);
        break;
      case 1:
        _tile_loadd(5, queries_ + kSquareBytes, 64);
        _tile_dpbf16ps(0, 6, 5);
        break;
      case 2:
        _tile_loadd(6, keys_ + kSquareBytes, 64);
        _tile_dpbf16ps(0, 6, 7);
        keys_ += kPairBytes;
        break;
      case 3:
        _tile_loadd(4, keys_, 64);
        _tile_dpbf16ps(1, 4, 7);
        break;
      case 4: _tile_dpbf16ps(1, 4, 5); break;
      case 5:
        _tile_loadd(4, keys_ + kSquareBytes, 64);
        _tile_dpbf16ps(1, 4, 7);
        keys_ += kPairBytes, queries_ += kPairBytes;
    }
    dot_ = dot_ == 5 ? 0 : dot_ + 1;
    if (dots_ > 0 || !logits_) return;
    _tile_stored(0, logits_, 64);
    _tile_stored(1, logits_ + kSquareFloats, 64);
  }
  HWY_INLINE void next_sum() {
    --chunks_;
    switch (sum_) {
      case 0:
        _tile_loadd(4, sums_, 64);
        _tile_loadd(5, values_, 64);
        _tile_dpbf16ps(4, 2, 5);
        break;
      case 1: _tile_dpbf16ps(4, 3, 5); break;
      case 2:
        _tile_loadd(6, values_ + kSquareBytes, 64);
        _tile_dpbf16ps(4, 2, 6);
        _tile_stored(4, sums_, 64);
        values_ += kPairBytes, sums_ += kSquareFloats;
    }
    sum_ = sum_ == 2 ? 0 : sum_ + 1;
  }

  const Squares& w_;
  int64_t group_, dots_ = 0, chunks_ = 0, each_ = 0, due_ = 0;
  int dot_ = 0, sum_ = 0;  // of the six of a step, of the three of a chunk
  const std::byte *keys_ = nullptr, *queries_ = nullptr, *values_ = nullptr;
  float *logits_ = nullptr, *sums_ = nullptr;
};

// 2^(x - base), to 1.5e-7; 0 for minus infinity, NaN stays NaN.
HWY_INLINE __m512 power(__m512 x, __m512 base) {
  const __m512 y = _mm512_sub_ps(x, base), r = _mm512_reduce_ps(y, 9);  // y - floor(y)
  __m512 p = _mm512_set1_ps(0.0018775766749385724f);
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.008989340091090604f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.055826318052817479f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.24015361704452493f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.69315307320015573f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.99999992506352697f));
  return _mm512_scalef_ps(p, y);
}

// Softcap and mask, in place.
void adjust(const Squares& w, int64_t group, int64_t tile, float* x) noexcept {
  const AttentionBlock& b = w.block;
  const __m512i position = _mm512_load_si512(w.positions + group * kSide);
  const __m512i window = _mm512_set1_epi32(static_cast<int>(least(b.window, INT32_MAX)));
  for (int64_t p = 0; p < kTile; ++p) {
    RowVec v = hn::Load(kRow, x + p * kSide);
    if (b.softcap > 0) v = hn::Mul(tanh_row(hn::Div(v, set(b.softcap))), set(b.softcap * kLog2e));
    const __m512i at = _mm512_set1_epi32(static_cast<int>(tile + p));
    __mmask16 visible = _mm512_cmple_epi32_mask(at, position);
    if (b.window > 0) visible &= _mm512_cmpgt_epi32_mask(at, _mm512_sub_epi32(position, window));
    _mm512_store_ps(x + p * kSide, _mm512_mask_mov_ps(_mm512_set1_ps(kMinusInf), visible, v.raw));
  }
}

// Logits of a group become exponentials; products are dealt out meanwhile, in so many parts.
constexpr int64_t kSoftenParts = 18;
HWY_INLINE void soften(const Squares& w, int64_t group, float* x, Products& products) {
  __m512 most[4];
  for (int i = 0; i < 4; ++i) most[i] = _mm512_load_ps(x + i * kSide);
  for (int64_t p = 4; p < kTile; p += 4)
    for (int i = 0; i < 4; ++i) most[i] = _mm512_max_ps(_mm512_load_ps(x + (p + i) * kSide), most[i]);
  most[0] = _mm512_max_ps(_mm512_max_ps(most[0], most[1]), _mm512_max_ps(most[2], most[3]));
  __m512 base = _mm512_load_ps(w.base + group * kSide), total = _mm512_load_ps(w.total + group * kSide);
  const __mmask16 grown = _mm512_cmp_ps_mask(most[0], _mm512_add_ps(base, _mm512_set1_ps(kSlack)), _CMP_GT_OQ);
  if (grown) {
    products.rest();
    HWY_ALIGN float factors[16];
    const __m512 factor = power(base, most[0]);
    base = _mm512_mask_mov_ps(base, grown, most[0]);
    total = _mm512_mask_mul_ps(total, grown, total, factor);
    _mm512_store_ps(factors, factor);
    _mm512_store_ps(w.base + group * kSide, base);
    for (unsigned rest = grown; rest; rest &= rest - 1) {
      const int i = __builtin_ctz(rest);
      float* sums = w.sums_of(group) + i * kSide;
      for (int64_t c = 0; c < w.chunks; ++c, sums += kSquareFloats)
        _mm512_store_ps(sums, _mm512_mul_ps(_mm512_load_ps(sums), _mm512_set1_ps(factors[i])));
    }
  }
  // Minus infinity: nothing was seen so far.
  base = _mm512_mask_mov_ps(base, _mm512_cmp_ps_mask(base, _mm512_set1_ps(kMinusInf), _CMP_EQ_OQ), _mm512_setzero_ps());
  __m512 sum[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()};
  __m512i high[16], low[16];
  for (int i = 0; i < 16; ++i) {
    const __m512 a = power(_mm512_load_ps(x + 2 * i * kSide), base);
    const __m512 b = power(_mm512_load_ps(x + (2 * i + 1) * kSide), base);
    sum[0] = _mm512_add_ps(sum[0], a), sum[1] = _mm512_add_ps(sum[1], b);
    const Split s = split(a, b);
    high[i] = s.high, low[i] = s.low;
    products.part();
  }
  _mm512_store_ps(w.total + group * kSide, _mm512_add_ps(total, _mm512_add_ps(sum[0], sum[1])));
  put_transposed(high, reinterpret_cast<std::byte*>(x));
  products.part();
  put_transposed(low, reinterpret_cast<std::byte*>(x) + kSquareBytes);
  products.part();
}

// Where a value is not finite a query must not meet one that it does not see, as 0 times it is NaN: query by query,
// with the values that it sees alone, and sums of the others as they were.
void add_values_apart(const Squares& w, int64_t group, int64_t tile, int64_t index, int64_t turn) noexcept {
  alignas(64) float before[kSide][kSide];
  Products products(w, group);
  for (int64_t i = 0; i < least(w.queries - group * kSide, kSide); ++i) {
    const int64_t position = w.positions[group * kSide + i];
    const Range range = seen(w.block, position, position, tile);
    if (range.begin >= range.end) continue;
    std::byte* values = w.value_squares(index);
    for (int64_t chunk = 0; chunk < w.chunks; ++chunk) {
      put_values(w, w.values_of(tile), chunk, range, values + chunk * kPairBytes, [] {});
      float* sums = w.sums_of(group) + chunk * kSquareFloats;
      __builtin_memcpy(before, sums, sizeof(before));
      products.sums(values + chunk * kPairBytes, chunk, 1, turn);
      products.rest();
      for (int64_t other = 0; other < kSide; ++other)
        if (other != i) _mm512_store_ps(sums + other * kSide, _mm512_load_ps(before[other]));
    }
  }
}

// Logits as the softmax takes them.
HWY_INLINE void adjust_where_needed(const Squares& w, int64_t group, int64_t tile, float* x) {
  const int64_t last = least((group + 1) * kSide, w.queries) - 1;
  const Range by_all = seen(w.block, w.positions[last], w.positions[group * kSide], tile);
  if (w.block.softcap > 0 || by_all.begin > 0 || by_all.end < kTile) adjust(w, group, tile, x);
}

// A group of queries and `count` tiles from `tile` on, which are there; bit i of `apart`: values of tile i are not all
// finite.
void attend(const Squares& w, int64_t group, int64_t tile, int64_t count, unsigned apart) noexcept {
  const int64_t last = least((group + 1) * kSide, w.queries) - 1;
  const auto sees = [&](int64_t i) noexcept {
    const Range by_any = seen(w.block, w.positions[group * kSide], w.positions[last], tile + i * kTile);
    return by_any.begin < by_any.end;
  };
  int64_t i = 0;
  while (i < count && !sees(i)) ++i;
  while (i < count && !sees(count - 1)) --count;
  if (i == count) return;
  Products products(w, group);
  products.dots(w.key_squares(i), 0, 2 * w.steps, i);
  products.rest();
  bool sums = false;  // of the tile before are to be added
  for (; i < count; ++i) {
    if (i + 1 < count) products.dots(w.key_squares(i + 1), 0, 2 * w.steps, i + 1);
    if (sums) products.sums(w.value_squares(i - 1), 0, w.chunks, i - 1);
    products.in_parts(kSoftenParts);
    adjust_where_needed(w, group, tile + i * kTile, w.logits_of(i));
    soften(w, group, w.logits_of(i), products);
    products.rest();
    sums = !(apart >> i & 1);
    if (!sums) add_values_apart(w, group, tile + i * kTile, i, i);
  }
  if (sums) products.sums(w.value_squares(count - 1), 0, w.chunks, count - 1);
  products.rest();
}

void attend_rows(const Squares& w, int64_t tile) noexcept {
  const AttentionBlock& b = w.block;
  const int64_t last = b.position + b.rows - 1;
  for (int64_t count; tile <= last; tile += count * kTile) {
    count = least(w.together, (last - tile) / kTile + 1);
    unsigned apart = 0;
    for (int64_t i = 0; i < count; ++i) {
      const int64_t at = tile + i * kTile;
      const Range range = seen(b, b.position, last, at);
      std::byte *keys = w.key_squares(i), *values = w.value_squares(i);
      bool finite = true;
      for (int64_t block = 0; block < 2 * w.steps; ++block, keys += kPairBytes)
        put_keys(w, w.keys_of(at), block % 2, block / 2, range, keys, [] {});
      for (int64_t chunk = 0; chunk < w.chunks; ++chunk, values += kPairBytes)
        finite &= put_values(w, w.values_of(at), chunk, range, values, [] {});
      if (!finite && b.rows > 1) apart |= 1u << i;
    }
    for (int64_t group = 0; group < w.groups; ++group) attend(w, group, tile, count, apart);
  }
}

// The only group of an only row. It meets each tile once, so pairs of squares are made one by one, in two places that
// take turns, while the tile unit has the one before.
void attend_row(const Squares& w, int64_t tile) noexcept {
  const int64_t position = w.block.position;
  Products products(w, 0);
  const auto meanwhile = [&]() noexcept { products.part(); };
  int64_t pairs = 0, turn = 0;
  const auto place = [&]() noexcept { return w.keys + (pairs++ & 1) * kPairBytes; };
  const auto sums = [&](int64_t at, int64_t of_turn) noexcept {
    const Range range = seen(w.block, position, position, at);
    for (int64_t chunk = 0; chunk < w.chunks; ++chunk) {
      std::byte* to = place();
      put_values(w, w.values_of(at), chunk, range, to, meanwhile);
      products.rest();
      products.sums(to, chunk, 1, of_turn);
      products.in_parts(kSide);
    }
  };
  for (; tile <= position; tile += kTile, ++turn) {
    const Range range = seen(w.block, position, position, tile);
    for (int64_t block = 0; block < 2 * w.steps; ++block) {
      std::byte* to = place();
      put_keys(w, w.keys_of(tile), block % 2, block / 2, range, to, meanwhile);
      products.rest();
      products.dots(to, block, 1, turn);
      products.in_parts(kSide);
    }
    if (turn > 0) sums(tile - kTile, turn - 1);
    else products.rest();
    adjust_where_needed(w, 0, tile, w.logits_of(turn));
    soften(w, 0, w.logits_of(turn), products);
  }
  products.rest();
  sums(tile - kTile, turn - 1);
  products.rest();
}

void finish(const Squares& w) noexcept {
  const AttentionBlock& b = w.block;
  for (int64_t i = 0; i < w.queries; ++i) {
    float* y = b.y + i / b.heads * b.row_stride + i % b.heads * b.head_dim;
    const float* sums = w.sums_of(i / kSide) + i % kSide * kSide;
    const __m512 inverse = _mm512_set1_ps(1.0f / w.total[i]);
    for (int64_t d = 0; d < b.head_dim; d += 16, sums += kSquareFloats)
      _mm512_mask_storeu_ps(y + d, left_of(b.head_dim - d), _mm512_mul_ps(_mm512_load_ps(sums), inverse));
  }
}

}  // namespace

int64_t attention_floats(int64_t queries, int64_t head_dim) noexcept {
  return greatest(Squares::floats(queries, head_dim), avx512_vnni::attention_floats(queries, head_dim));
}

void attention_block(const AttentionBlock& block) noexcept {
  if (!block.keys_f16 || !block.values_f16) return avx512_vnni::attention_block(block);
  static constexpr SquareTiles kConfig;
  _tile_loadconfig(&kConfig);
  const Squares w(block);
  begin(w);
  const int64_t tile = block.window > 0 ? greatest(block.position - block.window + 1, 0) / kTile * kTile : 0;
  if (block.rows == 1 && w.groups == 1) attend_row(w, tile);
  else attend_rows(w, tile);
  finish(w);
  _tile_release();
}

}  // namespace MOIETY_LEVEL
}  // namespace moiety::simd
