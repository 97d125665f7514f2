#include "simd/matmul.h"

#include <fmt/format.h>

#include "core/blocks.h"
#include "core/buffer.h"
#include "core/panels.h"

namespace moiety::simd {
namespace {

const uint8_t* bytes(const std::byte* at) { return reinterpret_cast<const uint8_t*>(at); }

// Where the parts of an int8 row lie in its prepared bytes.
Int8Row int8_row(const std::byte* at, int64_t k) {
  const auto* codes = reinterpret_cast<const int8_t*>(at);
  const auto* scales = reinterpret_cast<const float*>(at + int8_padded(k));
  return {codes, scales, reinterpret_cast<const int32_t*>(scales + int8_padded(k) / 32)};
}

Int8Tile int8_tile(std::byte* at, int64_t k, int64_t tokens) {
  const int64_t width = tile_width(tokens), part = k / 32 * width;
  auto* codes = reinterpret_cast<int32_t*>(at);
  auto* scales = reinterpret_cast<float*>(codes + 8 * part);
  auto* sums = codes + 10 * part;
  return {width, codes, scales, scales + part, {sums, sums + part, sums + 2 * part, sums + 3 * part}};
}

Int8Panel int8_panel(std::byte* at, int64_t k) {
  const int64_t blocks = k / 32 + 1;
  auto* sub = reinterpret_cast<int32_t*>(at + blocks * 512);
  auto* sub_mins = sub + blocks * 32;
  auto* scales = reinterpret_cast<float*>(sub_mins + blocks * 16);
  return {reinterpret_cast<uint8_t*>(at), scales, scales + blocks * 16, sub, sub_mins};
}

bool plain(DType type) { return type == DType::kF32 || type == DType::kF16 || type == DType::kBF16; }

const FloatKernels& float_kernels(const Kernels& kernels, DType type) {
  return type == DType::kF16 ? kernels.f16 : type == DType::kBF16 ? kernels.bf16 : kernels.f32;
}

const FloatPanelKernels& float_panels(const Kernels& kernels, DType type) {
  return type == DType::kF16 ? kernels.f16_panels : kernels.bf16_panels;
}

size_t aligned(int64_t size) { return align_up(static_cast<size_t>(size), kAlignment); }

}  // namespace

std::string Matmul::refusal(const Tensor& weight) {
  if (weight.dtype == DType::kI32) return "i32 weights";
  if (weight.layout == Layout::kPanels && !has_panels(weight.dtype))
    return fmt::format("{} in panels", dtype_info(weight.dtype).name);
  if (weight.cols() % dtype_info(weight.dtype).block != 0) {
    return fmt::format("{} needs K % {} == 0, K is {}", dtype_info(weight.dtype).name, dtype_info(weight.dtype).block,
                       weight.cols());
  }
  return {};
}

Form Matmul::form(DType weight) const {
  if (precision_ == ActivationPrecision::kF32) return Form::kF32;
  if (!plain(weight)) return Form::kInt8;
  return weight == DType::kBF16 && kernels_->bf16_dot.gemv ? Form::kBf16 : Form::kF32;
}

std::string Matmul::name(const Tensor& weight) const {
  constexpr const char* kNames[kForms] = {"int8", "bf16", "f32"};
  return fmt::format("{}{} x {}", dtype_info(weight.dtype).name, weight.layout == Layout::kPanels ? " panels" : "",
                     kNames[static_cast<int>(form(weight.dtype))]);
}

bool Matmul::reads_panels(const Tensor& weight) const {
  return weight.layout == Layout::kPanels && (plain(weight.dtype) || form(weight.dtype) == Form::kInt8);
}

size_t Matmul::prepared_bytes(Form form, int64_t k) {
  switch (form) {
    case Form::kInt8:
      return aligned(int8_padded(k) + int8_padded(k) / 32 * 12);
    case Form::kBf16:
      return aligned(2 * k);
    case Form::kF32:
      return 0;
  }
  return 0;
}

void Matmul::prepare(Form form, const float* x, int64_t k, std::byte* prepared) const noexcept {
  if (form == Form::kInt8) {
    const int64_t padded = int8_padded(k);
    auto* scales = reinterpret_cast<float*>(prepared + padded);
    kernels_->quantise(x, k, reinterpret_cast<int8_t*>(prepared), scales,
                       reinterpret_cast<int32_t*>(scales + padded / 32));
  } else if (form == Form::kBf16) {
    kernels_->bf16_dot.round(x, k, reinterpret_cast<uint16_t*>(prepared));
  }
}

size_t Matmul::tile_bytes(Form form, int64_t k) {
  switch (form) {
    case Form::kInt8:
      return aligned(k / 32 * 14 * kTileTokens * 4);
    case Form::kBf16:
      return aligned((k + 1) / 2 * kTileTokens * 4);
    case Form::kF32:
      return aligned(k * kTileTokens * 4);
  }
  return 0;
}

void Matmul::pack(Form form, const float* const* sources, const std::byte* const* prepared, int64_t tokens, int64_t k,
                  std::byte* tile) const noexcept {
  if (form == Form::kF32) {
    kernels_->pack_f32(sources, tokens, k, reinterpret_cast<float*>(tile));
  } else if (form == Form::kBf16) {
    kernels_->bf16_dot.pack(reinterpret_cast<const uint16_t* const*>(prepared), tokens, k,
                            reinterpret_cast<uint32_t*>(tile));
  } else {
    Int8Row rows[kTileTokens];
    for (int64_t t = 0; t < tokens; ++t) rows[t] = int8_row(prepared[t], k);
    kernels_->pack_int8(rows, tokens, k, int8_tile(tile, k, tokens));
  }
}

size_t Matmul::panel_bytes(const Tensor& weight) const {
  const int64_t k = weight.cols();
  switch (form(weight.dtype)) {
    case Form::kInt8:
      return aligned((k / 32 + 1) * static_cast<int64_t>(kPanelBlockBytes));
    case Form::kBf16:
      return aligned((k + 1) / 2 * kPanelRows * 4);
    case Form::kF32:
      return aligned(k * kPanelRows * 4) * (plain(weight.dtype) ? 1 : 2);  // panel, decoded rows
  }
  return 0;
}

Panel Matmul::unpack(const Tensor& weight, int64_t row, int64_t rows, int64_t tokens, std::byte* panel) const noexcept {
  const int64_t k = weight.cols();
  const uint8_t* at = bytes(weight.row(row));
  switch (form(weight.dtype)) {
    case Form::kInt8:
      if (reads_panels(weight)) {
        const PanelKernels& own = panels(weight.dtype);
        if (tokens <= kTileTokens) return {weight.row(row), Panel::kOwn, rows};
        (own.unpack_signed ? own.unpack_signed : own.unpack)(at, k, int8_panel(panel, k));
        return {panel, own.unpack_signed ? Panel::kSigned : Panel::kUnpacked, rows};
      } else {
        const Int8Kernels& own = kernels_->int8[static_cast<int>(weight.dtype)];
        if (tokens <= kTileTokens) return {weight.row(row), Panel::kOwn, rows};
        (own.unpack_signed ? own.unpack_signed : own.unpack)(at, weight.row_bytes, rows, k, int8_panel(panel, k));
        return {panel, own.unpack_signed ? Panel::kSigned : Panel::kUnpacked, rows};
      }
    case Form::kBf16:
      if (reads_panels(weight)) return {weight.row(row), Panel::kUnpacked, rows};  // they are the same
      kernels_->bf16_dot.unpack(at, weight.row_bytes, rows, k, reinterpret_cast<uint32_t*>(panel));
      break;
    case Form::kF32:
      if (reads_panels(weight)) {
        const FloatPanelKernels& kernels = float_panels(*kernels_, weight.dtype);
        if (tokens <= kTileTokens && kernels.gemm) return {weight.row(row), Panel::kOwn, rows};
        kernels.unpack(at, k, reinterpret_cast<float*>(panel));
      } else if (plain(weight.dtype)) {
        float_kernels(*kernels_, weight.dtype).unpack(at, weight.row_bytes, rows, k, reinterpret_cast<float*>(panel));
      } else {
        auto* decoded = reinterpret_cast<float*>(panel + aligned(k * kPanelRows * 4));
        for (int64_t r = 0; r < rows; ++r) decode_row(weight, row + r, decoded + r * k);
        kernels_->f32.unpack(reinterpret_cast<const uint8_t*>(decoded), k * 4, rows, k,
                             reinterpret_cast<float*>(panel));
      }
  }
  return {panel, Panel::kUnpacked, rows};
}

void Matmul::gemm(const Tensor& weight, Panel panel, const std::byte* tile, const GemmOut& out,
                  Soon soon) const noexcept {
  const int64_t k = weight.cols();
  const auto* floats = reinterpret_cast<const float*>(tile);
  switch (form(weight.dtype)) {
    case Form::kInt8: {  // the views are shared with the writers, hence the casts
      const Int8Tile acts = int8_tile(const_cast<std::byte*>(tile), k, out.tokens);
      const Int8Kernels& own = kernels_->int8[static_cast<int>(weight.dtype)];
      if (panel.kind != Panel::kOwn)
        (panel.kind == Panel::kSigned ? own.gemm_signed : own.gemm)(int8_panel(const_cast<std::byte*>(panel.at), k),
                                                                    acts, k, out, soon);
      else if (reads_panels(weight))
        panels(weight.dtype).gemm(bytes(panel.at), acts, k, out, soon);
      else
        own.gemm_rows(bytes(panel.at), weight.row_bytes, panel.rows, k, acts, out, soon);
      break;
    }
    case Form::kBf16:
      kernels_->bf16_dot.gemm(reinterpret_cast<const uint32_t*>(panel.at), reinterpret_cast<const uint32_t*>(tile), k,
                              out, soon);
      break;
    case Form::kF32:
      if (panel.kind != Panel::kOwn)
        kernels_->gemm_f32(reinterpret_cast<const float*>(panel.at), floats, k, out, soon);
      else
        float_panels(*kernels_, weight.dtype).gemm(bytes(panel.at), floats, k, out, soon);
      break;
  }
}

Soon Matmul::panel_at(const Tensor& weight, int64_t row) noexcept {
  return {bytes(weight.row(row)), weight.row_bytes * kPanelRows};
}

void Matmul::gemv(const Tensor& weight, int64_t row, int64_t rows, const float* x, const std::byte* prepared,
                  std::byte* scratch, float* y, const std::byte* next) const noexcept {
  const int64_t k = weight.cols();
  const uint8_t* at = bytes(weight.row(row));
  switch (form(weight.dtype)) {
    case Form::kInt8:
      if (reads_panels(weight))
        panels(weight.dtype).gemv(at, rows, k, int8_row(prepared, k), y, bytes(next));
      else
        kernels_->int8[static_cast<int>(weight.dtype)].gemv(at, weight.row_bytes, rows, k, int8_row(prepared, k), y,
                                                            bytes(next));
      break;
    case Form::kBf16:
      if (reads_panels(weight))
        kernels_->bf16_dot.gemv_panels(at, rows, k, reinterpret_cast<const uint16_t*>(prepared), y, bytes(next));
      else
        kernels_->bf16_dot.gemv(at, weight.row_bytes, rows, k, reinterpret_cast<const uint16_t*>(prepared), y,
                                bytes(next));
      break;
    case Form::kF32:
      if (reads_panels(weight)) {
        float_panels(*kernels_, weight.dtype).gemv(at, rows, k, x, y, bytes(next));
      } else if (plain(weight.dtype)) {
        float_kernels(*kernels_, weight.dtype).gemv(at, weight.row_bytes, rows, k, &x, 1, y, 0, bytes(next));
      } else {
        auto* decoded = reinterpret_cast<float*>(scratch);
        for (int64_t r = 0; r < rows; ++r) {
          decode_row(weight, row + r, decoded);
          kernels_->f32.gemv(reinterpret_cast<const uint8_t*>(decoded), k * 4, 1, k, &x, 1, y + r, 0, nullptr);
        }
      }
  }
}

void Matmul::gemvs(const Tensor& weight, int64_t row, int64_t rows, const float* const* x,
                   const std::byte* const* prepared, int64_t tokens, std::byte* scratch, float* y, int64_t stride,
                   const std::byte* next) const noexcept {
  if (form(weight.dtype) == Form::kF32 && plain(weight.dtype) && !reads_panels(weight)) {
    float_kernels(*kernels_, weight.dtype)
        .gemv(bytes(weight.row(row)), weight.row_bytes, rows, weight.cols(), x, tokens, y, stride, bytes(next));
    return;
  }
  for (int64_t t = 0; t < tokens; ++t)
    gemv(weight, row, rows, x[t], prepared[t], scratch, y + t * stride, t > 0 ? weight.row(row) : next);
}

}  // namespace moiety::simd
