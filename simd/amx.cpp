// The level of avx512_vnni with AMX under attention (amx_attention.cpp) and here under the int8 GEMMs: the tile unit sums
// the products of a block for 16 weight rows and up to 12 tokens at once, what is left for the vectors are the scales. A
// block's sum is an exact integer, so a GEMM's bits are those of the other levels. Few tokens are faster without it.
#include <immintrin.h>

#include "simd/int8_gemm-inl.h"
#include "simd/level.h"
#include "simd/panels-inl.h"
#include "simd/rows_parts.h"

namespace moiety::simd {

namespace avx512_vnni {
Kernels kernels() noexcept;
}

namespace MOIETY_LEVEL {
namespace {

HWY_INLINE VB signed_codes(VB codes, int zero) { return hn::Sub(codes, hn::Set(db, static_cast<uint8_t>(zero))); }

template <class T>
struct Signed : T {
  static constexpr int kZero = 0;
  static HWY_INLINE Halves codes(const typename T::Row& row, int slice) {
    const Halves x = T::codes(row, slice);
    return {signed_codes(x.first, T::kZero), signed_codes(x.last, T::kZero)};
  }
};
}  // namespace
template <class T>
struct Turned<Signed<T>> : Turned<T> {
  template <class Put>
  static HWY_INLINE void codes(const TurnRows& turned, const typename Turned<T>::Shared& shared, int part,
                               const Put& put) {
    Turned<T>::codes(turned, shared, part,
                     [&](int block, int k4, VB x) HWY_ATTR { put(block, k4, signed_codes(x, T::kZero)); });
  }
};
namespace {
template <class P>
struct SignedPanels : P {
  template <int k4>
  static HWY_INLINE VB codes(const uint8_t* at) {
    return signed_codes(P::template codes<k4>(at), P::kZero);
  }
};

// Of full tiles of activations: sums 0 and 1 [token][row], codes 2 [token][k]; 4, 5 and 6 are the same of a narrower
// last tile. 3: codes of the weights [k / 4][row][4]. To load it takes as long as three blocks.
struct alignas(64) TileConfig {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};
  constexpr TileConfig() = default;
  constexpr TileConfig(uint8_t last, uint8_t k) {
    for (int i = 0; i < 2; ++i) {
      const uint8_t tokens = i == 0 ? kTileTokens : last;
      rows[4 * i] = rows[4 * i + 1] = rows[4 * i + 2] = tokens;
      row_bytes[4 * i] = row_bytes[4 * i + 1] = 64, row_bytes[4 * i + 2] = k;
    }
    rows[3] = k / 4, row_bytes[3] = 64;
  }
};
template <class T>
inline constexpr int kEach = T::kGroup16 ? 2 : 1;  // products a block

template <class T>
void begin(int64_t last) noexcept {
  constexpr auto k = static_cast<uint8_t>(32 / kEach<T>);
  static constexpr TileConfig kConfigs[] = {{2, k}, {4, k}, {8, k}, {12, k}};
  _tile_loadconfig(&kConfigs[last > 8 ? 3 : last > 4 ? 2 : last > 2 ? 1 : 0]);
}
void end() noexcept { _tile_release(); }

// The integer sums of the blocks of some tiles, one tile after the other, which are asked for in order: of all 32 codes,
// or of the first 16, then of the last 16 of them. While the caller scales those of a product the next one is stored and
// the one behind that is under way: 25 % faster than one at a time (Granite Rapids). To begin anew costs as much as
// four blocks, hence several tiles.
template <class T, int kTokens>
class TileDots {
 public:
  HWY_INLINE TileDots(const Int8Panel& panel, const Int8Tiles& tiles, const LaneBlocks& part)
      : panel_(reinterpret_cast<const char*>(panel.codes)), weights_(panel_),
        acts_(reinterpret_cast<const char*>(tiles.first.codes + part.begin * kTokens * 8)),
        to_next_tile_(tiles.bytes - (part.end - part.begin) * kTokens * 32),
        panel_end_(panel_ + (part.end - part.begin) * 512), left_(tiles.count * (part.end - part.begin) * kEach<T>) {
    start<0>();
    start<1>();
    store<0>();
    start<0>();
  }

  HWY_INLINE void next(VQ (&sums)[kTokens]) {
    if (odd_ == 0) {
      store<1>();
      start<1>();
    } else {
      store<0>();
      start<0>();
    }
#pragma GCC unroll 12
    for (int t = 0; t < kTokens; ++t) sums[t] = hn::Load(di16, sums_[odd_] + t * 16);
    odd_ ^= 1;
  }

 private:
  static constexpr uintptr_t kAhead = 8 * kTokens * 32;  // the caches don't see the stream in the tile unit's loads

  template <int set>  // of sums, the second product of a block in the second one; g++ wants numbers as they stand
  HWY_INLINE void start() {
    if (left_ == 0) return;
    --left_;
    constexpr bool kFull = kTokens == kTileTokens;
    const char* acts = acts_ + (kEach<T> == 2 && set == 1 ? 16 : 0);
    if constexpr (kFull) _tile_loadd(2, acts, 32);
    else _tile_loadd(6, acts, 32);
    _tile_loadd(3, weights_, 64);
    if constexpr (kFull && set == 0) {
      _tile_zero(0);
      _tile_dpbssd(0, 2, 3);
    } else if constexpr (kFull) {
      _tile_zero(1);
      _tile_dpbssd(1, 2, 3);
    } else if constexpr (set == 0) {
      _tile_zero(4);
      _tile_dpbssd(4, 6, 3);
    } else {
      _tile_zero(5);
      _tile_dpbssd(5, 6, 3);
    }
    weights_ += 512 / kEach<T>;
    if (kEach<T> == 1 || set == 1) {
      acts_ += kTokens * 32;
      const auto ahead = reinterpret_cast<uintptr_t>(acts_) + kAhead;  // maybe behind the last tile
      for (uintptr_t at = 0; at < kTokens * 32; at += 64)
        __builtin_prefetch(reinterpret_cast<const void*>(ahead + at), 0, 3);
    }
    if (weights_ == panel_end_) weights_ = panel_, acts_ += to_next_tile_;
  }
  template <int set>
  HWY_INLINE void store() {
    constexpr bool kFull = kTokens == kTileTokens;
    if constexpr (kFull && set == 0) _tile_stored(0, sums_[0], 64);
    else if constexpr (kFull) _tile_stored(1, sums_[1], 64);
    else if constexpr (set == 0) _tile_stored(4, sums_[0], 64);
    else _tile_stored(5, sums_[1], 64);
  }

  const char *panel_, *weights_, *acts_;
  int64_t to_next_tile_;
  const char* panel_end_;
  int64_t left_;
  int odd_ = 0;
  alignas(64) int32_t sums_[2][kTokens * 16];
};

// As panel_tokens, of all rows and the tiles from the first one on.
template <class T, int kTokens>
HWY_NOINLINE void tile_gemm(const Int8Panel& panel, const Int8Tiles& tiles, int64_t blocks, const GemmOut& out,
                            const Soon& soon) noexcept {
  HWY_ALIGN float stack[4][kTokens][16];
  const LaneBlocks part(panel.lanes, blocks);
  TileDots<T, kTokens> products(panel, tiles, part);
  Spread fetch(soon, tiles.count * (part.end - part.begin));
  for (int64_t i = 0; i < tiles.count; ++i) {
    const Int8Tile tile = tiles.at(i);
    int depth = 0;
    int64_t at = part.begin;
    for (int lane_index = part.first; lane_index < part.last; ++lane_index) {
      const int64_t lane = lane_at(lane_index);
      V16 acc[kTokens];
      for (int t = 0; t < kTokens; ++t) acc[t] = hn::Zero(d16);
      const int64_t end = at + (blocks - lane + 7) / 8;
      for (; at < end; ++at) {
        const float* scales = tile.scales + at * kTokens;
        fetch.step();
        VQ sums[kTokens];
        V16 values[kTokens];
        if constexpr (T::kGroup16) {
          const auto sub = [&](int half) HWY_ATTR {
            return hn::ConvertTo(d16, hn::LoadU(di16, panel.sub + at * 32 + half * 16));
          };
          const V16 first = sub(0), last = sub(1);
          products.next(sums);
          for (int t = 0; t < kTokens; ++t) values[t] = hn::Mul(hn::ConvertTo(d16, sums[t]), first);
          products.next(sums);
          for (int t = 0; t < kTokens; ++t) values[t] = hn::MulAdd(hn::ConvertTo(d16, sums[t]), last, values[t]);
        } else {
          products.next(sums);
          for (int t = 0; t < kTokens; ++t) values[t] = hn::ConvertTo(d16, sums[t]);
        }
        const V16 ws = hn::LoadU(d16, panel.scales + at * 16);
        for (int t = 0; t < kTokens; ++t) acc[t] = hn::MulAdd(values[t], hn::Mul(ws, hn::Set(d16, scales[t])), acc[t]);
        if constexpr (T::kMin) {
          const V16 wm = hn::LoadU(d16, panel.mins + at * 16);
          for (int t = 0; t < kTokens; ++t) {
            if constexpr (T::kGroup16) {
              const VQ both = hn::Set(di16, tile.sums[3][at * kTokens + t]);
              const VQ m = dot2(di16, hn::LoadU(di16, panel.sub_mins + at * 16), both);
              acc[t] = hn::NegMulAdd(hn::Mul(wm, hn::Set(d16, scales[t])), hn::ConvertTo(d16, m), acc[t]);
            } else {
              acc[t] = hn::NegMulAdd(wm, hn::Set(d16, tile.block_sums[at * kTokens + t]), acc[t]);
            }
          }
        }
      }
      for (int done = lane_index - part.first; done & 1; done >>= 1) {
        --depth;
        for (int t = 0; t < kTokens; ++t) acc[t] = hn::Add(hn::Load(d16, stack[depth][t]), acc[t]);
      }
      for (int t = 0; t < kTokens; ++t) hn::Store(acc[t], d16, stack[depth][t]);
      ++depth;
    }
    for (int t = 0; t < kTokens; ++t) put(out, i * kTokens + t, 0, hn::Load(d16, stack[0][t]), panel.lanes);
  }
}

// Absent tokens are zero.
template <class T>
void gemm(const Int8Panel& panel, const Int8Tiles& tiles, int64_t k, const GemmOut& out, Soon soon) noexcept {
  switch (tiles.first.width) {
    case 12: return tile_gemm<T, 12>(panel, tiles, k / 32, out, soon);
    case 8: return tile_gemm<T, 8>(panel, tiles, k / 32, out, soon);
    case 4: return tile_gemm<T, 4>(panel, tiles, k / 32, out, soon);
    default: return tile_gemm<T, 2>(panel, tiles, k / 32, out, soon);
  }
}

template <class T>
void set_rows(Kernels& table, DType type) {
  Int8Kernels& kernels = table.int8[static_cast<int>(type)];
  kernels.unpack_signed = unpack_int8<Signed<T>>;
  kernels.begin_signed = begin<Signed<T>>;
  kernels.gemm_signed = gemm<Signed<T>>;
}
template <class P>
void set_panels(Kernels& table) {
  table.panels[static_cast<int>(P::kType)].unpack_signed = panel_unpack<SignedPanels<P>>;
}

}  // namespace

Kernels kernels() noexcept;
Kernels kernels() noexcept {
  Kernels table = avx512_vnni::kernels();
  table.level = "avx512_amx";
  table.end_signed = end;
  table.rows.attention = attention_block;
  table.rows.attention_floats = attention_floats;
  set_rows<TypeQ8_0>(table, DType::kQ8_0);
  set_rows<TypeQ4_0>(table, DType::kQ4_0);
  set_rows<TypeQ4_1>(table, DType::kQ4_1);
  set_rows<TypeQ5_0>(table, DType::kQ5_0);
  set_rows<TypeQ5_1>(table, DType::kQ5_1);
  set_rows<TypeQ2_K>(table, DType::kQ2_K);
  set_rows<TypeQ3_K>(table, DType::kQ3_K);
  set_rows<TypeQ4_K>(table, DType::kQ4_K);
  set_rows<TypeQ5_K>(table, DType::kQ5_K);
  set_rows<TypeQ6_K>(table, DType::kQ6_K);
  set_rows<TypeIQ4_NL>(table, DType::kIQ4_NL);
  set_rows<TypeIQ4_XS>(table, DType::kIQ4_XS);
  set_rows<TypeMXFP4>(table, DType::kMXFP4);
  set_panels<PanelsQ8_0>(table);
  set_panels<PanelsQ4_0>(table);
  set_panels<PanelsMXFP4>(table);
  set_panels<PanelsQ4_K>(table);
  set_panels<PanelsQ5_K>(table);
  set_panels<PanelsQ6_K>(table);
  return table;
}

}  // namespace MOIETY_LEVEL
}  // namespace moiety::simd
