// Linear: x[T,K] times W[O,K]. Tasks are pieces of the outputs and some rows.
#include <algorithm>
#include <cmath>
#include <vector>

#include "core/blocks.h"
#include "simd/prepare.h"

namespace moiety::simd {
namespace {

constexpr int64_t kSpan = 64;                  // outputs of a GEMM's task: 4 panels
constexpr size_t kTogether = size_t{2} << 20;  // bytes of tiles and outputs; of tiles kernels read 60 %

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
           static_cast<size_t>(workers) * worker_bytes(rows);
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

    std::byte* own = tiles + static_cast<size_t>(tile_count) * tile_bytes;
    const size_t panel_bytes = matmul_.panel_bytes(weight_), own_bytes = worker_bytes(rows);
    const int64_t share = outputs / (4 * call.threads->size()) / kPanelRows * kPanelRows;
    const int64_t span = std::clamp(share, kPanelRows, kSpan);
    const int64_t pieces = (outputs + span - 1) / span, batch = tiles_together(tile_count);
    const Tensor& y = call.output.tensor;
    const bool past_caches = static_cast<size_t>(rows * y.row_bytes) > kTogether;
    const auto task = [&](int64_t index, int worker) {
      std::byte* panel = own + static_cast<size_t>(worker) * own_bytes;
      auto* part = reinterpret_cast<float*>(panel + panel_bytes);  // [token][span]
      const int64_t first = index % pieces * span, count = std::min(span, outputs - first);
      const int64_t tile = index / pieces * batch, row = tile * kTileTokens;
      const int64_t tokens = std::min(batch * kTileTokens, rows - row);
      for (int64_t i = 0; i < count; i += kPanelRows) {
        matmul_.gemm(weight_, first + i, std::min<int64_t>(kPanelRows, count - i),
                     tiles + static_cast<size_t>(tile) * tile_bytes, {part + i, span, tokens}, panel,
                     Matmul::panel_at(weight_, first + i + kPanelRows));
      }
      matmul_.kernels().rows.put_rows(part, span, bias_.empty() ? nullptr : bias_.data() + first, tokens, count,
                                      past_caches, reinterpret_cast<float*>(y.row(row)) + first,
                                      y.row_bytes / static_cast<int64_t>(sizeof(float)));
    };
    call.threads->run((tile_count + batch - 1) / batch * pieces, task);
  }

  // All outputs meet some tiles, then the next ones: those stay in the L2 cache, as do the outputs of a task, which go
  // to y at last, a few cache lines a row. (One line a row, 16 KB from the next, is slow.)
  int64_t most_together() const noexcept {
    const size_t each = Matmul::tile_bytes(form_, weight_.cols()) + kTileTokens * kSpan * sizeof(float);
    return std::max<int64_t>(static_cast<int64_t>(kTogether / each), 1);
  }
  int64_t tiles_together(int64_t tile_count) const noexcept {
    const int64_t batches = (tile_count + most_together() - 1) / most_together();
    return (tile_count + batches - 1) / batches;
  }
  // Never less for more rows, as the scratch of a step has room for the most rows.
  size_t worker_bytes(int64_t rows) const noexcept {
    const int64_t tokens = std::min((rows + kTileTokens - 1) / kTileTokens, most_together()) * kTileTokens;
    return matmul_.panel_bytes(weight_) + static_cast<size_t>(tokens * kSpan) * sizeof(float);
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
