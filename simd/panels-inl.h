// Weights in panels (core/panels.h) times int8 activations. The bits are those of the same weights in rows.
#pragma once

#include "core/panels.h"
#include "simd/block-inl.h"
#include "simd/types-inl.h"

namespace moiety::simd::MOIETY_LEVEL {

HWY_INLINE V16 halves_at(const uint8_t* at) {
  const hn::Rebind<uint16_t, D16> du;
  const hn::Rebind<hwy::float16_t, D16> dh;
  const auto bits = hn::LoadU(hn::Repartition<uint8_t, decltype(du)>(), at);
  return hn::PromoteTo(d16, hn::BitCast(dh, hn::BitCast(du, bits)));
}
// Bytes, one a row, as int32. N: uint8_t or int8_t.
template <class N>
HWY_INLINE VQ bytes_at(const uint8_t* at) {
  return hn::PromoteTo(di16, hn::LoadU(hn::Rebind<N, DI16>(), reinterpret_cast<const N*>(at)));
}

// A type in panels.
template <class T, DType type>
struct InPanels : T {
  static constexpr DType kType = type;
  static constexpr PanelForm kForm = panel_form(type);
  // A block's numbers, for row 0.
  struct Place {
    const uint8_t *codes, *scales, *head, *first_head;
    HWY_INLINE Place(const uint8_t* panel, int64_t k)
        : codes(panel), scales(panel + panel_parts(type, k).scales), head(panel + panel_parts(type, k).head),
          first_head(head) {}
    HWY_INLINE void lane() { head = first_head; }
    HWY_INLINE void skip(int64_t blocks) { codes += blocks * kForm.codes, scales += blocks * kForm.scales; }
    HWY_INLINE void next() { codes += kForm.codes, scales += kForm.scales, head += kForm.head; }
  };
  template <int k4>
  static HWY_INLINE VB nibbles(const uint8_t* at) {
    const VB x = hn::LoadU(db, at + k4 % 4 * 64);
    if constexpr (k4 < 4)
      return low_nibbles(x);
    else
      return high_nibbles(x);
  }
  // The bits of `mask`, moved up (or down) so many bits within their bytes.
  template <int up, uint8_t mask>
  static HWY_INLINE VB moved(VB x) {
    if constexpr (up > 0)
      return masked(shifted_left(x, up), mask);
    else if constexpr (up < 0)
      return masked(shifted_right(x, -up), mask);
    else
      return masked(x, mask);
  }
  static HWY_INLINE V16 scales(const Place& block, int64_t r0) { return halves_at(block.scales + 2 * r0); }
};
struct PanelsQ8_0 : InPanels<TypeQ8_0, DType::kQ8_0> {
  template <int k4>
  static HWY_INLINE VB codes(const uint8_t* at) {
    return hn::LoadU(db, at + k4 * 64);
  }
};
struct PanelsQ4_0 : InPanels<TypeQ4_0, DType::kQ4_0> {
  template <int k4>
  static HWY_INLINE VB codes(const uint8_t* at) {
    return nibbles<k4>(at);
  }
};
struct PanelsMXFP4 : InPanels<TypeMXFP4, DType::kMXFP4> {
  template <int k4>
  static HWY_INLINE VB codes(const uint8_t* at) {
    return lookup(nibbles<k4>(at), kMXFP4Values, kZero);
  }
  static HWY_INLINE V16 scales(const Place& block, int64_t r0) {
    return e8m0_halves(bytes_at<uint8_t>(block.scales + r0));
  }
};
template <class T, DType type>
struct KPanels : InPanels<T, type> {
  using Place = typename InPanels<T, type>::Place;
  static HWY_INLINE V16 scaled(const uint8_t* scales, const uint8_t* factors) {
    return hn::Mul(hn::ConvertTo(d16, bytes_at<uint8_t>(scales)), halves_at(factors));
  }
  static HWY_INLINE V16 scales(const Place& block, int64_t r0) {
    return scaled(block.scales + r0, block.head + 2 * r0);
  }
  static HWY_INLINE V16 mins(const Place& block, int64_t r0) {
    return scaled(block.scales + 16 + r0, block.head + 32 + 2 * r0);
  }
};
struct PanelsQ4_K : KPanels<TypeQ4_K, DType::kQ4_K> {
  template <int k4>
  static HWY_INLINE VB codes(const uint8_t* at) {
    return nibbles<k4>(at);
  }
};
struct PanelsQ5_K : KPanels<TypeQ5_K, DType::kQ5_K> {
  template <int k4>
  static HWY_INLINE VB codes(const uint8_t* at) {
    return hn::Or(nibbles<k4>(at), moved<4 - k4, 0x10>(hn::LoadU(db, at + 256)));
  }
};
struct PanelsQ6_K : InPanels<TypeQ6_K, DType::kQ6_K> {
  template <int k4>
  static HWY_INLINE VB codes(const uint8_t* at) {
    return hn::Or(nibbles<k4>(at), moved<4 - k4 % 4 * 2, 0x30>(hn::LoadU(db, at + 256 + k4 / 4 * 64)));
  }
  static HWY_INLINE V16 scales(const Place& block, int64_t r0) { return halves_at(block.head + 2 * r0); }
  static HWY_INLINE VQ sub(const Place& block, int half, int64_t r0) {
    return bytes_at<int8_t>(block.scales + 16 * half + r0);
  }
};

// One row of activations, as TileActs.
struct RowActs {
  const Int8Row& x;
  int64_t padded;
  struct Block {
    const int8_t* codes;
    int32_t first, last;
    float factor;
    HWY_INLINE int32_t dword(int k4, int) const {
      int32_t four;
      __builtin_memcpy(&four, codes + k4 / 4 * 128 + k4 % 4 * 4, 4);
      return four;
    }
    template <int zero>
    HWY_INLINE VQ seed(int half, int) const {
      return hn::Set(di16, -zero * (half == 0 ? first : half == 1 ? last : first + last));
    }
    HWY_INLINE float scale(int) const { return factor; }
    HWY_INLINE float block_sum(int) const { return factor * static_cast<float>(first + last); }
  };
  HWY_INLINE Block block(int64_t, int64_t lane, int64_t step) const {
    const int64_t b = 8 * step + lane;
    return {x.codes + 256 * step + 16 * lane, x.sums[b], x.sums[padded + b], x.scales[b]};
  }
};

// A GEMV's prefetching: in the order of addresses, whatever lies there.
template <class P>
struct FetchAhead {
  Ahead ahead;
  static constexpr int64_t kBytes = P::kForm.codes + P::kForm.scales;
  HWY_INLINE void block() { ahead.turn(); }
  template <int k4>
  HWY_INLINE void dword() {
    ahead.template fetch<(k4 + 1) * kBytes / 8 - k4 * kBytes / 8>();
  }
};

template <class P>
void panel_gemv(const uint8_t* panels, int64_t rows, int64_t k, const Int8Row& x, float* y,
                const uint8_t* next) noexcept {
  const int64_t bytes = panel_parts(P::kType, k).bytes;
  FetchAhead<P> fetch{{panels, (rows + kPanelRows - 1) / kPanelRows * bytes, next}};
  const RowActs acts{x, (k / 32 + 7) / 8 * 8};
  for (int64_t r = 0; r < rows; r += kPanelRows, panels += bytes) {
    HWY_ALIGN float out[kPanelRows];
    panel_tokens<P, 1, kParts16>(typename P::Place(panels, k), k, acts, 0, 0, {out, kPanelRows, 1}, fetch);
    __builtin_memcpy(y + r, out, static_cast<size_t>(rows - r < kPanelRows ? rows - r : kPanelRows) * 4);
  }
  fetch.ahead.done();
}

template <class P, int kTokens>
HWY_NOINLINE void panel_gemm_tokens(const uint8_t* panel, int64_t k, const Int8Tile& tile, int64_t t0, int64_t r0,
                                    const GemmOut& out, const Soon& soon) noexcept {
  FetchBlocks<P::kForm.codes + P::kForm.scales + P::kForm.head / 8> fetch(soon, panel);
  panel_tokens<P, kTokens, 1>(typename P::Place(panel, k), k, TileActs{tile, t0}, t0, r0, out, fetch);
}

template <class P>
void panel_gemm(const uint8_t* panel, const Int8Tile& tile, int64_t k, const GemmOut& out, Soon soon) noexcept {
  in_token_groups<P>(out.tokens, [&]<int kTokens>(int64_t t, int64_t r) HWY_ATTR {
    panel_gemm_tokens<P, kTokens>(panel, k, tile, t, r, out, soon);
    soon = {};  // the first call has seen to it
  });
}

template <class P, int... k4>
HWY_INLINE void unpack_codes(const uint8_t* codes, uint8_t* to, std::integer_sequence<int, k4...>) {
  (hn::StoreU(P::template codes<k4>(codes), db, to + k4 * 64), ...);
}

template <class P>
void panel_unpack(const uint8_t* panel, int64_t k, const Int8Panel& out) noexcept {
  typename P::Place w(panel, k);
  const int64_t blocks = k / 32;
  const LaneBlocks part(out.lanes, blocks);
  w.skip(part.begin);
  uint8_t* codes = out.codes;
  for (int64_t index = part.first, place = part.begin; index < part.last; ++index) {
    const int64_t end = place + (blocks - lane_at(static_cast<int>(index)) + 7) / 8;
    w.lane();
    for (; place < end; ++place, codes += 512) {
      for (int64_t r = 0; r < kPanelRows; r += kVectorRows) {
        unpack_codes<P>(w.codes + r * 4, codes + r * 4, std::make_integer_sequence<int, 8>());
        hn::StoreU(P::scales(w, r), d16, out.scales + place * 16 + r);
        if constexpr (P::kMin) hn::StoreU(P::mins(w, r), d16, out.mins + place * 16 + r);
        if constexpr (P::kGroup16) {
          for (int half = 0; half < 2; ++half)
            hn::StoreU(P::sub(w, half, r), di16, out.sub + place * 32 + half * 16 + r);
        }
      }
      w.next();
    }
  }
}

}  // namespace moiety::simd::MOIETY_LEVEL
