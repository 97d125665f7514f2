// Linear: x[T,K] times W[O,K]. Tasks are tiles of output columns; each unpacks its weights once for all rows.
#include <algorithm>
#include <cmath>
#include <vector>

#include "core/blocks.h"
#include "simd/prepare.h"

namespace moiety::simd {
namespace {

std::vector<float> decode_vector(const Tensor& tensor) {
  std::vector<float> values(tensor ? static_cast<size_t>(tensor.elements()) : 0);
  if (tensor) decode(tensor.dtype, tensor.data, values.data(), tensor.elements());
  return values;
}

class LinearKernel final : public Kernel {
 public:
  LinearKernel(const Linear& op, const Matmul& matmul)
      : weight_(op.weight), bias_(decode_vector(op.bias)), matmul_(matmul), form_(matmul.form(op.weight.dtype)) {}

  std::string name() const override { return "linear " + matmul_.name(weight_) + ", " + matmul_.kernels().level; }

  size_t scratch_bytes(int64_t rows, int workers) const override {
    const int64_t k = weight_.cols(), tiles = (rows + kTileTokens - 1) / kTileTokens;
    return static_cast<size_t>(rows) * Matmul::prepared_bytes(form_, k) +
           static_cast<size_t>(tiles) * Matmul::tile_bytes(form_, k) +
           static_cast<size_t>(workers) * matmul_.panel_bytes(weight_);
  }

  void run(const KernelCall& call) const noexcept override {
    const Tensor& x = call.inputs[0].tensor;
    const int64_t rows = x.rows(), k = weight_.cols();
    const size_t prepared_bytes = Matmul::prepared_bytes(form_, k);
    std::byte* prepared = call.scratch;
    const auto prepare = [&](int64_t row, int) {
      matmul_.prepare(form_, reinterpret_cast<const float*>(x.row(row)), k,
                      prepared + static_cast<size_t>(row) * prepared_bytes);
    };
    if (prepared_bytes) {
      if (rows == 1)
        prepare(0, 0);
      else
        call.threads->run(rows, prepare);
    }
    if (rows < matmul_.gemm_rows(weight_))
      run_gemv(call, prepared, prepared + static_cast<size_t>(rows) * prepared_bytes);
    else
      run_gemm(call, prepared, prepared + static_cast<size_t>(rows) * prepared_bytes);
  }

 private:
  void run_gemv(const KernelCall& call, const std::byte* prepared, std::byte* free) const noexcept {
    const Tensor& x = call.inputs[0].tensor;
    const size_t panel_bytes = matmul_.panel_bytes(weight_);
    const int64_t outputs = weight_.rows();
    // Long pieces stream best; a router's few outputs are shared too. Whole panels: a packed weight begins at no other
    // row.
    const int64_t share = outputs / (2 * call.threads->size()) / kPanelRows * kPanelRows;
    const int64_t chunk = std::clamp<int64_t>(share, kPanelRows, 64);
    const Tensor& y = call.output.tensor;
    const auto stride = y.row_bytes / static_cast<int64_t>(sizeof(float));
    const auto task = [&](int64_t index, int worker) {
      const int64_t first = index * chunk, count = std::min(chunk, outputs - first);
      for (int64_t row = 0; row < x.rows(); row += kTileTokens) {
        const int64_t rows = std::min<int64_t>(kTileTokens, x.rows() - row);
        const float* sources[kTileTokens];
        const std::byte* parts[kTileTokens];
        for (int64_t t = 0; t < rows; ++t) {
          sources[t] = reinterpret_cast<const float*>(x.row(row + t));
          parts[t] = prepared + static_cast<size_t>(row + t) * Matmul::prepared_bytes(form_, weight_.cols());
        }
        float* out = reinterpret_cast<float*>(y.row(row)) + first;
        matmul_.gemvs(weight_, first, count, sources, parts, rows, free + static_cast<size_t>(worker) * panel_bytes,
                      out, stride, row > 0 ? weight_.row(first) : nullptr);
        for (int64_t t = 0; t < rows; ++t)
          for (int64_t i = 0; !bias_.empty() && i < count; ++i)
            out[t * stride + i] += bias_[static_cast<size_t>(first + i)];
      }
    };
    call.threads->run((outputs + chunk - 1) / chunk, task);
  }

  void run_gemm(const KernelCall& call, const std::byte* prepared, std::byte* tiles) const noexcept {
    const Tensor& x = call.inputs[0].tensor;
    const int64_t rows = x.rows(), k = weight_.cols(), outputs = weight_.rows();
    const int64_t tile_count = (rows + kTileTokens - 1) / kTileTokens;
    const size_t tile_bytes = Matmul::tile_bytes(form_, k), prepared_bytes = Matmul::prepared_bytes(form_, k);
    const auto pack = [&](int64_t tile, int) {
      const float* sources[kTileTokens];
      const std::byte* parts[kTileTokens];
      const int64_t first = tile * kTileTokens, count = std::min<int64_t>(kTileTokens, rows - first);
      for (int64_t t = 0; t < count; ++t) {
        sources[t] = reinterpret_cast<const float*>(x.row(first + t));
        parts[t] = prepared + static_cast<size_t>(first + t) * prepared_bytes;
      }
      matmul_.pack(form_, sources, parts, count, k, tiles + static_cast<size_t>(tile) * tile_bytes);
    };
    call.threads->run(tile_count, pack);

    std::byte* panels = tiles + static_cast<size_t>(tile_count) * tile_bytes;
    const size_t panel_bytes = matmul_.panel_bytes(weight_);
    const auto task = [&](int64_t index, int worker) {
      std::byte* panel = panels + static_cast<size_t>(worker) * panel_bytes;
      const int64_t first = index * kPanelRows, count = std::min<int64_t>(kPanelRows, outputs - first);
      const Panel unpacked = matmul_.unpack(weight_, first, count, rows, panel);
      const Tensor& y = call.output.tensor;
      const auto stride = y.row_bytes / static_cast<int64_t>(sizeof(float));
      float part[kTileTokens * kPanelRows];  // of a panel whose last rows are absent
      for (int64_t tile = 0; tile < tile_count; ++tile) {
        const int64_t tokens = std::min<int64_t>(kTileTokens, rows - tile * kTileTokens);
        float* to = reinterpret_cast<float*>(y.row(tile * kTileTokens)) + first;
        const GemmOut out = count == kPanelRows ? GemmOut{to, stride, tokens} : GemmOut{part, kPanelRows, tokens};
        matmul_.gemm(weight_, unpacked, tiles + static_cast<size_t>(tile) * tile_bytes, out,
                     Matmul::panel_at(weight_, first + kPanelRows).part(tile, tile_count));
        for (int64_t t = 0; t < tokens; ++t) {
          if (out.y == part) std::copy_n(part + t * kPanelRows, count, to + t * stride);
          for (int64_t i = 0; !bias_.empty() && i < count; ++i)
            to[t * stride + i] += bias_[static_cast<size_t>(first + i)];
        }
      }
    };
    call.threads->run((outputs + kPanelRows - 1) / kPanelRows, task);
  }

  Tensor weight_;
  std::vector<float> bias_;
  Matmul matmul_;
  Form form_;
};

class EmbeddingKernel final : public Kernel {
 public:
  explicit EmbeddingKernel(const Embedding& op) : op_(op) {}
  std::string name() const override { return std::string("embedding ") + dtype_info(op_.table.dtype).name; }
  void run(const KernelCall& call) const noexcept override {
    for (int64_t row = 0; row < call.output.tensor.rows(); ++row) {
      auto* y = reinterpret_cast<float*>(call.output.tensor.row(row));
      decode(op_.table.dtype, op_.table.row(call.batch->ids[static_cast<size_t>(row)]), y, op_.table.cols());
      if (op_.scale != 1)
        for (int64_t i = 0; i < op_.table.cols(); ++i) y[i] *= op_.scale;
    }
  }

 private:
  Embedding op_;
};

class SelectRowsKernel final : public Kernel {
 public:
  std::string name() const override { return "copy rows"; }
  void run(const KernelCall& call) const noexcept override {
    const Tensor& x = call.inputs[0].tensor;
    for (size_t i = 0; i < call.batch->wanted.size(); ++i) {
      const auto* from = reinterpret_cast<const float*>(x.row(call.batch->wanted[i]));
      std::copy_n(from, x.cols(), reinterpret_cast<float*>(call.output.tensor.row(static_cast<int64_t>(i))));
    }
  }
};

}  // namespace

Offer prepare(const Linear& op, const Context& context) {
  if (std::string reason = Matmul::refusal(op.weight); !reason.empty()) return refuse(std::move(reason));
  return {std::make_unique<LinearKernel>(op, context.matmul), {}};
}

Offer prepare(const Embedding& op, const Context&) {
  if (op.table.layout != Layout::kRows) return refuse("an embedding table in panels");
  return {std::make_unique<EmbeddingKernel>(op), {}};
}
Offer prepare(const SelectRows&, const Context&) { return {std::make_unique<SelectRowsKernel>(), {}}; }

}  // namespace moiety::simd
