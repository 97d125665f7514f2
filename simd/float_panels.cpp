// f16 and bf16 weights in panels (core/panels.h): rows are lanes. A panel of bf16 is what bf16 dot products unpack to.
#include "core/panels.h"
#include "simd/float-inl.h"
#include "simd/level.h"

namespace moiety::simd::MOIETY_LEVEL {
namespace {

constexpr int64_t kStepRows = static_cast<int64_t>(kStep);

// Column 16 * step + lane of kStep rows of a panel, from row r0 on.
struct PanelF16 {
  static constexpr DType kType = DType::kF16;
  const uint8_t* panel;
  LaneStarts16 starts;
  PanelF16(const uint8_t* at, int64_t k) : panel(at), starts(k) {}
  HWY_INLINE V16 load(int64_t lane, int64_t step, int64_t r0) const {
    return LoadF16::load(panel + ((starts.start[lane] + step) * kPanelRows + r0) * 2);
  }
};
struct PanelBF16 {
  static constexpr DType kType = DType::kBF16;
  const uint8_t* panel;
  LaneStarts16 starts;  // of pairs
  PanelBF16(const uint8_t* at, int64_t k) : panel(at), starts((k + 1) / 2) {}
  HWY_INLINE V16 load(int64_t lane, int64_t step, int64_t r0) const {
    const int64_t pair = 8 * step + lane / 2;
    const hn::Repartition<uint32_t, D16> dw;
    const hn::Repartition<uint8_t, D16> db;
    const auto two =
        hn::BitCast(dw, hn::LoadU(db, panel + ((starts.start[pair % 16] + pair / 16) * kPanelRows + r0) * 4));
    return hn::BitCast(d16, lane % 2 ? hn::And(two, hn::Set(dw, 0xffff0000u)) : hn::ShiftLeft<16>(two));
  }
};

// y[0..16) = sums of 16 lanes of `count` items; add(lane, step, r0, acc) adds item 16 * step + lane of a vector of
// rows, Add::kAtOnce lanes side by side. It is no lambda: one that is not inlined would keep the sums in memory.
template <class Add>
HWY_INLINE void sum_in_lanes(int64_t count, float* y, Ahead& ahead, const Add& add) {
  constexpr int kAtOnce = Add::kAtOnce;
  for (int64_t r0 = 0; r0 < kPanelRows; r0 += kStepRows) {
    HWY_ALIGN float lanes[16][kStep];
    for (int v = 0; v < 16; v += kAtOnce) {
      int64_t lane[kAtOnce];
      V16 acc[kAtOnce];
      for (int i = 0; i < kAtOnce; ++i) {
        const int at = v + i;
        lane[i] = (at & 1) << 3 | (at & 2) << 1 | (at & 4) >> 1 | (at & 8) >> 3;
        acc[i] = hn::Zero(d16);
      }
      const int64_t whole = count / 16;  // steps that every lane has
      for (int64_t step = 0; step < whole; ++step) {
#pragma GCC unroll 4
        for (int i = 0; i < kAtOnce; ++i) {
          if (r0 == 0) ahead.fetch<Add::kBytes>();
          acc[i] = add(lane[i], step, r0, acc[i]);
        }
        ahead.turn();
      }
      for (int i = 0; i < kAtOnce; ++i) {
        if (16 * whole + lane[i] < count) acc[i] = add(lane[i], whole, r0, acc[i]);
      }
      for (int i = 0; i < kAtOnce; ++i) hn::Store(acc[i], d16, lanes[v + i]);
    }
    for (int half = 1; half < 16; half *= 2) {  // neighbours in this order are halves of the tree
      for (int v = 0; v < 16; v += 2 * half)
        hn::Store(hn::Add(hn::Load(d16, lanes[v]), hn::Load(d16, lanes[v + half])), d16, lanes[v]);
    }
    hn::StoreU(hn::Load(d16, lanes[0]), d16, y + r0);
  }
}

template <class Panel>
struct AddColumn {
  static constexpr int kAtOnce = 2;
  static constexpr int64_t kBytes = kPanelRows * 2;  // of an item
  const Panel& panel;
  const float* x;
  HWY_INLINE V16 operator()(int64_t lane, int64_t step, int64_t r0, V16 acc) const {
    return hn::MulAdd(panel.load(lane, step, r0), hn::Set(d16, x[16 * step + lane]), acc);
  }
};
template <class Panel>
void gemv_panels(const uint8_t* panels, int64_t rows, int64_t k, const float* x, float* y,
                 const uint8_t* next) noexcept {
  const int64_t bytes = panel_parts(Panel::kType, k).bytes;
  Ahead ahead(panels, (rows + kPanelRows - 1) / kPanelRows * bytes, next);
  for (int64_t r = 0; r < rows; r += kPanelRows, panels += bytes) {
    const Panel panel(panels, k);
    HWY_ALIGN float out[kPanelRows];
    sum_in_lanes(k, out, ahead, AddColumn<Panel>{panel, x});
    __builtin_memcpy(y + r, out, static_cast<size_t>(rows - r < kPanelRows ? rows - r : kPanelRows) * 4);
  }
  ahead.done();
}

template <class Panel>
void unpack_panel(const uint8_t* at, int64_t k, float* out) noexcept {
  const Panel panel(at, k);
  lane_order<16>(k, [&](int64_t item, int64_t place) {
    for (int64_t r0 = 0; r0 < kPanelRows; r0 += kStepRows)
      hn::StoreU(panel.load(item % 16, item / 16, r0), d16, out + place * kPanelRows + r0);
  });
}

template <int kTokens>
HWY_NOINLINE void gemm_f16_tokens(const uint8_t* panel, const float* tile, int64_t k, int64_t t0, int64_t r0,
                                  const GemmOut& out, const Soon& soon) {
  gemm_tokens<kTokens>(k, t0, r0, out, soon, [&](int64_t at, V16* acc) HWY_ATTR {
    const V16 w = LoadF16::load(panel + (at * kPanelRows + r0) * 2);
#pragma GCC unroll 12
    for (int t = 0; t < kTokens; ++t) acc[t] = hn::MulAdd(w, hn::Set(d16, tile[at * kTileTokens + t0 + t]), acc[t]);
  });
}

void gemm_f16(const uint8_t* panel, const float* tile, int64_t k, const GemmOut& out, Soon soon) noexcept {
  for (int64_t r = 0; r < kPanelRows; r += kStepRows) {
    if (out.tokens > 8)  // absent tokens are zero: more of them cost less than another call
      gemm_f16_tokens<12>(panel, tile, k, 0, r, out, soon);
    else if (out.tokens > 4)
      gemm_f16_tokens<8>(panel, tile, k, 0, r, out, soon);
    else
      gemm_f16_tokens<4>(panel, tile, k, 0, r, out, soon);
    soon = {};  // the first call has seen to it
  }
}

#if defined(__AVX512BF16__)
struct AddPair {
  static constexpr int kAtOnce = 2;
  static constexpr int64_t kBytes = kPanelRows * 4;  // of an item
  const uint8_t* panel;
  const LaneStarts16& starts;
  const uint16_t* x;
  int64_t k;
  HWY_INLINE V16 operator()(int64_t lane, int64_t step, int64_t, V16 acc) const {
    const int64_t pair = 16 * step + lane;
    int32_t two = 0;
    if (2 * pair + 2 <= k)
      __builtin_memcpy(&two, x + 2 * pair, 4);
    else
      two = x[2 * pair];
    const __m512i w = _mm512_loadu_si512(panel + (starts.start[lane] + step) * 64);
    return V16{dot2(acc.raw, w, _mm512_set1_epi32(two))};
  }
};
void gemv_bf16_panels(const uint8_t* panels, int64_t rows, int64_t k, const uint16_t* x, float* y,
                      const uint8_t* next) noexcept {
  const int64_t bytes = panel_parts(DType::kBF16, k).bytes, pairs = (k + 1) / 2;
  Ahead ahead(panels, (rows + kPanelRows - 1) / kPanelRows * bytes, next);
  const LaneStarts16 starts(pairs);
  for (int64_t r = 0; r < rows; r += kPanelRows, panels += bytes) {
    HWY_ALIGN float out[kPanelRows];
    sum_in_lanes(pairs, out, ahead, AddPair{panels, starts, x, k});
    __builtin_memcpy(y + r, out, static_cast<size_t>(rows - r < kPanelRows ? rows - r : kPanelRows) * 4);
  }
  ahead.done();
}
#endif

}  // namespace

void fill_float_panels(Kernels& table) noexcept {
  table.f16_panels = {gemv_panels<PanelF16>, unpack_panel<PanelF16>, gemm_f16};
  table.bf16_panels = {gemv_panels<PanelBF16>, unpack_panel<PanelBF16>, nullptr};
#if defined(__AVX512BF16__)
  table.bf16_dot.gemv_panels = gemv_bf16_panels;
#endif
}

}  // namespace moiety::simd::MOIETY_LEVEL
