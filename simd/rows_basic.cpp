// Norms, elementwise arithmetic, softmax, and the table of a level's row kernels.
#include <hwy/cache_control.h>

#include "simd/level.h"
#include "simd/rows-inl.h"
#include "simd/rows_parts.h"

namespace moiety::simd::MOIETY_LEVEL {
namespace {

void rms_norm(const float* x, const float* weight, float eps, int64_t cols, float* y) noexcept {
  const float squares = sum_row(x, cols, [](Lanes& sum, const Lanes& v, int64_t) {
    for (int p = 0; p < kRowParts; ++p) sum.v[p] = hn::MulAdd(v.v[p], v.v[p], sum.v[p]);
  });
  const RowVec inverse = set(1.0f / sqrt_of(squares / static_cast<float>(cols) + eps));
  map_rows(x, weight, cols, y, [&](RowVec v, RowVec w) { return hn::Mul(hn::Mul(v, inverse), w); });
}

void layer_norm(const float* x, const float* weight, const float* bias, float eps, int64_t cols, float* y) noexcept {
  const float total = sum_row(x, cols, [](Lanes& sum, const Lanes& v, int64_t) {
    for (int p = 0; p < kRowParts; ++p) sum.v[p] = hn::Add(sum.v[p], v.v[p]);
  });
  const RowVec mean = set(total / static_cast<float>(cols));
  const float squares = sum_row(x, cols, [&](Lanes& sum, const Lanes& v, int64_t count) {
    Lanes off = lanes_of(0);
    for (int p = 0; p < kRowParts; ++p) off.v[p] = hn::Sub(v.v[p], mean);
    if (count < 16) {  // what is past the end counts as 0
      HWY_ALIGN float copy[16];
      store_lanes(off, copy);
      off = load_tail(copy, count, 0);
    }
    for (int p = 0; p < kRowParts; ++p) sum.v[p] = hn::MulAdd(off.v[p], off.v[p], sum.v[p]);
  });
  const RowVec inverse = set(1.0f / sqrt_of(squares / static_cast<float>(cols) + eps));
  map_rows(x, weight, cols, y, [&](RowVec v, RowVec w) { return hn::Mul(hn::Mul(hn::Sub(v, mean), inverse), w); });
  if (bias) map_rows(y, bias, cols, y, [](RowVec v, RowVec b) { return hn::Add(v, b); });
}

void scale(const float* x, float factor, int64_t count, float* y) noexcept {
  map_row(x, count, y, [&](RowVec v) { return hn::Mul(v, set(factor)); });
}

void clamp(const float* x, float limit, int64_t count, float* y) noexcept {
  const RowVec most = set(limit), least = set(-limit);
  map_row(x, count, y, [&](RowVec v) {  // NaN passes through
    v = hn::IfThenElse(hn::Gt(v, most), most, v);
    return hn::IfThenElse(hn::Lt(v, least), least, v);
  });
}

void add(const float* a, const float* b, float factor, int64_t count, float* y) noexcept {
  map_rows(a, b, count, y, [&](RowVec u, RowVec v) { return hn::MulAdd(v, set(factor), u); });
}

void softmax(const float* x, int64_t count, float* y) noexcept {
  const float kLeast = -__builtin_inff();
  Lanes most = lanes_of(kLeast);
  for (int64_t i = 0; i < count; i += 16) {
    const Lanes v = count - i < 16 ? load_tail(x + i, count - i, kLeast) : load_lanes(x + i);
    for (int p = 0; p < kRowParts; ++p) most.v[p] = hn::Max(most.v[p], v.v[p]);
  }
  const RowVec greatest = set(max_lanes(most));
  map_row(x, count, y, [&](RowVec v) { return exp_row(hn::Sub(v, greatest)); });
  const float sum = sum_row(y, count, [](Lanes& total, const Lanes& v, int64_t) {
    for (int p = 0; p < kRowParts; ++p) total.v[p] = hn::Add(total.v[p], v.v[p]);
  });
  map_row(y, count, y, [&](RowVec v) { return hn::Div(v, set(sum)); });
}

void sigmoid(const float* x, int64_t count, float* y) noexcept {
  map_row(x, count, y, [](RowVec v) { return sigmoid_row(v); });
}

void to_f16(const float* x, int64_t count, uint16_t* y) noexcept {
  int64_t i = 0;
  if constexpr (!kNativeF16) {
    for (; i < count; ++i) y[i] = f32_to_f16(x[i]);
    return;
  }
  for (; i + kRowLanes <= count; i += kRowLanes)
    hn::StoreU(hn::DemoteTo(kRowHalf, hn::LoadU(kRow, x + i)), kRowHalf, reinterpret_cast<hwy::float16_t*>(y + i));
  if (i == count) return;
  HWY_ALIGN float copy[16] = {};
  HWY_ALIGN hwy::float16_t halves[16];
  for (int64_t j = i; j < count; ++j) copy[j - i] = x[j];
  hn::Store(hn::DemoteTo(kRowHalf, hn::Load(kRow, copy)), kRowHalf, halves);
  __builtin_memcpy(y + i, halves, static_cast<size_t>(count - i) * 2);
}

void put_rows(const float* x, int64_t x_stride, const float* bias, int64_t rows, int64_t cols, bool past_caches,
              float* y, int64_t y_stride) noexcept {
  for (int64_t r = 0; r < rows; ++r, x += x_stride, y += y_stride) {
    int64_t i = 0;
    if (past_caches && reinterpret_cast<uintptr_t>(y) % 64 == 0) {
      for (; i + kRowLanes <= cols; i += kRowLanes) {
        const RowVec v = hn::Load(kRow, x + i);
        hn::Stream(bias ? hn::Add(v, hn::LoadU(kRow, bias + i)) : v, kRow, y + i);
      }
    }
    if (bias) map_rows(x + i, bias + i, cols - i, y + i, [](RowVec v, RowVec b) { return hn::Add(v, b); });
    else __builtin_memcpy(y + i, x + i, static_cast<size_t>(cols - i) * sizeof(float));
  }
  if (past_caches) hwy::FlushStream();
}

constexpr RowKernels kRowKernels{rms_norm, layer_norm, scale, clamp, add, act_row, glu_row, rope_table,
                                 rope_head, softmax, sigmoid, to_f16, put_rows, attention_block, attention_floats};

}  // namespace

void fill_rows(Kernels& table) noexcept { table.rows = kRowKernels; }

}  // namespace moiety::simd::MOIETY_LEVEL
