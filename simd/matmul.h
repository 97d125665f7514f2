// A weight matrix times rows of activations, on one level's kernels: which form the activations take, and the pieces
// (prepare, pack, gemm, gemv) that Linear and Experts put together. All pieces are noexcept.
#pragma once

#include <cstddef>
#include <string>

#include "core/tensor.h"
#include "graph/backend.h"
#include "simd/kernels.h"

namespace moiety::simd {

enum class Form : uint8_t { kInt8, kBf16, kF32 };  // of the activations
inline constexpr int kForms = 3;

// Matmul::gemm_rows() as it was measured; 0: it was not.
struct GemmRows {
  uint16_t at[kDTypeCount][2][kForms] = {};  // type, layout, form
};

class Matmul {
 public:
  // A reason why this weight can't be multiplied, or "".
  static std::string refusal(const Tensor& weight);

  // gemm_rows, like the kernels, outlives this; null: nothing was measured.
  Matmul(const Kernels& kernels, ActivationPrecision precision, const GemmRows* gemm_rows = nullptr)
      : kernels_(&kernels), gemm_rows_(gemm_rows), precision_(precision) {}
  const Kernels& kernels() const { return *kernels_; }
  Form form(DType weight) const;
  std::string name(const Tensor& weight) const;  // "q4_0 x int8"
  // From this many rows on a GEMM pays for the tiles and the unpacking that it needs; below, each row is a GEMV. Both
  // give the same bits.
  int64_t gemm_rows(const Tensor& weight) const {
    const uint16_t measured = gemm_rows_ ? gemm_rows_->at[static_cast<int>(weight.dtype)][static_cast<int>(weight.layout)]
                                                         [static_cast<int>(form(weight.dtype))] : uint16_t{0};
    return measured ? measured : usual_gemm_rows(weight);
  }
  // The same where nothing was measured.
  int64_t usual_gemm_rows(const Tensor& weight) const {
    if (form(weight.dtype) == Form::kF32 && weight.layout == Layout::kRows && dtype_info(weight.dtype).block == 1)
      return 10;  // gemvs() reads them once for all
    if (form(weight.dtype) != Form::kInt8) return 4;
    return reads_panels(weight) ? 2 : kernels_->int8[static_cast<int>(weight.dtype)].gemm_from;
  }

  // One row in a form; kF32 needs none: the source row is used.
  static size_t prepared_bytes(Form form, int64_t k);
  void prepare(Form form, const float* x, int64_t k, std::byte* prepared) const noexcept;

  // A tile of up to kTileTokens rows. sources: f32 rows (kF32), prepared: rows from prepare() (else).
  static size_t tile_bytes(Form form, int64_t k);
  void pack(Form form, const float* const* sources, const std::byte* const* prepared, int64_t tokens, int64_t k,
            std::byte* tile) const noexcept;

  // Rows [row, row + rows) of a weight, rows <= kPanelRows, row a multiple of it, times out.tokens rows of activations,
  // tiles that lie tile_bytes() apart; out.y[t * out.stride + r], those of absent rows of the panel unspecified. The
  // rows are unpacked to `panel`, of panel_bytes(), unless a single tile doesn't pay for that.
  size_t panel_bytes(const Tensor& weight) const;
  void gemm(const Tensor& weight, int64_t row, int64_t rows, const std::byte* tiles, const GemmOut& out,
            std::byte* panel, Soon soon) const noexcept;
  // The panel at a row of a weight.
  static Soon panel_at(const Tensor& weight, int64_t row) noexcept;

  // y[rows] = rows [row, row + rows) of a weight times one row, as it was and prepared. Of weights in panels `row` is a
  // multiple of kPanelRows. scratch: panel_bytes() of it. next: as in kernels.h.
  void gemv(const Tensor& weight, int64_t row, int64_t rows, const float* x, const std::byte* prepared,
            std::byte* scratch, float* y, const std::byte* next) const noexcept;
  // The same for some rows of activations: y[t * stride + r], t < tokens. Weights of floats are read once for all.
  void gemvs(const Tensor& weight, int64_t row, int64_t rows, const float* const* x, const std::byte* const* prepared,
             int64_t tokens, std::byte* scratch, float* y, int64_t stride, const std::byte* next) const noexcept;

 private:
  // True if the kernels compute with the weight's own panels; else its rows are restored first.
  bool reads_panels(const Tensor& weight) const;
  const PanelKernels& panels(DType type) const { return kernels_->panels[static_cast<int>(type)]; }
  void gemm_int8(const Tensor& weight, int64_t row, int64_t rows, const std::byte* tiles, const GemmOut& out,
                 std::byte* panel, Soon soon) const noexcept;

  const Kernels* kernels_;
  const GemmRows* gemm_rows_;
  ActivationPrecision precision_;
};

}  // namespace moiety::simd
