#include "simd/matmul.h"

#include <fmt/format.h>

#include <algorithm>

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

// From more columns on half a panel is unpacked at a time: with half a tile it fits an L1 cache of 48 KB, and hardly one
// of 32.
constexpr int64_t kWholePanel = 1024;

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

namespace {

// Calls body(tile, its outputs, what to fetch) for the tiles of a GEMM.
template <class Body>
void for_tiles(const std::byte* tiles, size_t tile_bytes, const GemmOut& out, Soon soon, const Body& body) noexcept {
  const int64_t count = (out.tokens + kTileTokens - 1) / kTileTokens;
  for (int64_t i = 0, done = 0; i < count; ++i, done += kTileTokens) {
    body(tiles + static_cast<size_t>(i) * tile_bytes,
         GemmOut{out.y + done * out.stride, out.stride, std::min<int64_t>(kTileTokens, out.tokens - done)},
         soon.part(i, count));
  }
}

}  // namespace

void Matmul::gemm_int8(const Tensor& weight, int64_t row, int64_t rows, const std::byte* tiles, const GemmOut& out,
                       std::byte* scratch, Soon soon) const noexcept {
  const int64_t k = weight.cols();
  const uint8_t* at = bytes(weight.row(row));
  const Int8Kernels& of_rows = kernels_->int8[static_cast<int>(weight.dtype)];
  const PanelKernels& of_panels = panels(weight.dtype);
  const bool in_panels = reads_panels(weight);
  // The views are shared with the writers, hence the cast.
  const auto acts = [&](const std::byte* tile, int64_t tokens) {
    return int8_tile(const_cast<std::byte*>(tile), k, tokens);
  };
  if (out.tokens <= kTileTokens) {
    if (in_panels)
      of_panels.gemm(at, acts(tiles, out.tokens), k, out, soon);
    else
      of_rows.gemm_rows(at, weight.row_bytes, rows, k, acts(tiles, out.tokens), out, soon);
    return;
  }
  const bool with_unit = in_panels ? of_panels.unpack_signed != nullptr : of_rows.unpack_signed != nullptr;
  const size_t bytes_each = tile_bytes(Form::kInt8, k);
  const int64_t rest = out.tokens % kTileTokens, wide = out.tokens / kTileTokens + (tile_width(rest) == kTileTokens),
                wide_tokens = std::min(wide * kTileTokens, out.tokens);  // in tiles of full width
  Int8Panel panel = int8_panel(scratch, k);
  const auto multiply = [&](Lanes lanes, Soon fetch) {
    panel.lanes = lanes;
    if (in_panels)
      (with_unit ? of_panels.unpack_signed : of_panels.unpack)(at, k, panel);
    else
      (with_unit ? of_rows.unpack_signed : of_rows.unpack)(at, weight.row_bytes, rows, k, panel);
    if (!with_unit) {
      for_tiles(tiles, bytes_each, out, fetch, [&](const std::byte* tile, const GemmOut& y, Soon part) {
        of_rows.gemm(panel, acts(tile, y.tokens), k, y, part);
      });
      return;
    }
    const auto stride = static_cast<int64_t>(bytes_each);
    of_rows.gemm_signed(panel, {acts(tiles, kTileTokens), wide, stride}, k, {out.y, out.stride, wide_tokens}, fetch);
    if (wide_tokens == out.tokens) return;
    const int64_t narrow = out.tokens - wide_tokens;
    of_rows.gemm_signed(panel, {acts(tiles + wide * stride, narrow)}, k,
                        {out.y + wide_tokens * out.stride, out.stride, narrow}, {});
  };
  if (with_unit) of_rows.begin_signed(rest);
  if (k > kWholePanel && (in_panels || of_rows.halves)) {
    multiply(Lanes::kFirst, soon.part(0, 2));
    multiply(Lanes::kLast, soon.part(1, 2));
  } else {
    multiply(Lanes::kAll, soon);
  }
  if (with_unit) kernels_->end_signed();
}

void Matmul::gemm(const Tensor& weight, int64_t row, int64_t rows, const std::byte* tiles, const GemmOut& out,
                  std::byte* panel, Soon soon) const noexcept {
  const int64_t k = weight.cols();
  const Form form = this->form(weight.dtype);
  const uint8_t* at = bytes(weight.row(row));
  const auto each = [&](const auto& body) { for_tiles(tiles, tile_bytes(form, k), out, soon, body); };
  if (form == Form::kInt8) {
    gemm_int8(weight, row, rows, tiles, out, panel, soon);
  } else if (form == Form::kBf16) {
    const auto* pairs = reinterpret_cast<const uint32_t*>(weight.row(row));  // weights in panels are what unpack() gives
    if (!reads_panels(weight)) {
      kernels_->bf16_dot.unpack(at, weight.row_bytes, rows, k, reinterpret_cast<uint32_t*>(panel));
      pairs = reinterpret_cast<const uint32_t*>(panel);
    }
    each([&](const std::byte* tile, const GemmOut& y, Soon part) {
      kernels_->bf16_dot.gemm(pairs, reinterpret_cast<const uint32_t*>(tile), k, y, part);
    });
  } else if (reads_panels(weight) && out.tokens <= kTileTokens && float_panels(*kernels_, weight.dtype).gemm) {
    float_panels(*kernels_, weight.dtype).gemm(at, reinterpret_cast<const float*>(tiles), k, out, soon);
  } else {
    auto* floats = reinterpret_cast<float*>(panel);
    if (reads_panels(weight)) {
      float_panels(*kernels_, weight.dtype).unpack(at, k, floats);
    } else if (plain(weight.dtype)) {
      float_kernels(*kernels_, weight.dtype).unpack(at, weight.row_bytes, rows, k, floats);
    } else {
      auto* decoded = reinterpret_cast<float*>(panel + aligned(k * kPanelRows * 4));
      for (int64_t r = 0; r < rows; ++r) decode_row(weight, row + r, decoded + r * k);
      kernels_->f32.unpack(reinterpret_cast<const uint8_t*>(decoded), k * 4, rows, k, floats);
    }
    each([&](const std::byte* tile, const GemmOut& y, Soon part) {
      kernels_->gemm_f32(floats, reinterpret_cast<const float*>(tile), k, y, part);
    });
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
