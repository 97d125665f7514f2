// Panels: a weight matrix as the kernels of small batches read it. kPanelRows rows lie together, and a vector of the
// kernels has a dword of each row. Not one bit of the rows is lost: panel_row() gives them back.
//
// A panel has three parts, each starting at a multiple of 64 bytes. Blocks of 32 columns lie in lane order: b % 8 in
// the bit-reversed order 0 4 2 6 1 5 3 7, then b / 8 (simd/kernels.h: an output's sum visits them so).
//   codes:  [block] planes, whole vectors of [row][4 columns]: byte r * 4 + k % 4 belongs to row r, column k.
//           Of a code of 4 to 6 bits, the low 4 in 4 vectors: vector k / 4 % 4, the high nibble for k >= 16.
//           The fifth bit (q5_K) in a vector of bits: bit k / 4. The upper two (q6_K) in 2 of bit pairs: vector k / 16,
//           bits 2 * (k / 4 % 4). Codes of 8 bits in 8 vectors, plus 128 (q8_0).
//   scales: [block] numbers [row] that a block has: d (q8_0, q4_0), e (mxfp4), scales then minima as bytes (q4_K,
//   q5_K),
//           scales of the first 16 columns, then of the last (q6_K).
//   head:   [block of 256] d, then dmin, [row].
// f16 is [column][row], columns in lane order of 16 lanes; bf16 is [pair of columns][row][2], pairs in that order.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/tensor.h"

namespace moiety {

// Bytes of kPanelRows rows: codes and scales of 32 columns, head of 256. Internal linkage, as in blocks.h.
struct PanelForm {
  int32_t codes = 0, scales = 0, head = 0;
};
static constexpr PanelForm panel_form(DType type) {
  switch (type) {
    case DType::kQ8_0:
      return {512, 32, 0};
    case DType::kQ4_0:
      return {256, 32, 0};
    case DType::kMXFP4:
      return {256, 16, 0};
    case DType::kQ4_K:
      return {256, 32, 64};
    case DType::kQ5_K:
      return {320, 32, 64};
    case DType::kQ6_K:
      return {384, 32, 32};
    default:
      return {};
  }
}

// Types that have panels.
static constexpr bool has_panels(DType type) {
  return panel_form(type).codes != 0 || type == DType::kF16 || type == DType::kBF16;
}

// Where the parts of a panel lie, for rows of `k` values, and its size, a multiple of 64.
struct PanelParts {
  int64_t scales = 0, head = 0, bytes = 0;
};
static constexpr PanelParts panel_parts(DType type, int64_t k) {
  const auto whole = [](int64_t bytes) { return (bytes + 63) / 64 * 64; };
  if (type == DType::kF16) return {0, 0, whole(k * 32)};
  if (type == DType::kBF16) return {0, 0, (k + 1) / 2 * 64};
  const PanelForm form = panel_form(type);
  const int64_t scales = whole(k / 32 * form.codes), head = scales + whole(k / 32 * form.scales);
  return {scales, head, head + whole(k / 256 * form.head)};
}

// A view of `rows` rows of `k` values in panels at `data`.
Tensor make_panels(void* data, DType type, int64_t rows, int64_t k);

// Rows [row, row + kPanelRows) of a weight in rows of rank 2 to a panel of panel_parts().bytes; absent ones are zero.
void pack_panel(const Tensor& weight, int64_t row, std::byte* panel);

// Row `row` of a weight in panels, as it was: dtype_bytes(cols) bytes.
void panel_row(const Tensor& weight, int64_t row, std::byte* bytes);

// Row `row` of a weight of either layout, decoded (blocks.h).
void decode_row(const Tensor& weight, int64_t row, float* values);

}  // namespace moiety
