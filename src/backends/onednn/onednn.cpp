#include "backends/onednn/onednn.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include <oneapi/dnnl/dnnl.hpp>

#include "core/blocks.h"
#include "core/error.h"

// OpenMP's, which the library runs on; <omp.h> would need a compiler with OpenMP.
extern "C" {
void omp_set_num_threads(int);
int omp_get_max_threads(void);
}

namespace moiety {

struct OneDnnBackend::Engine {
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
};

namespace {

constexpr int64_t kTileRows = 64, kTileCols = 256;

// While it lives, oneDNN calls of this thread stay on this thread: our pool spreads the tiles.
class OneThread {
 public:
  OneThread() : before_(omp_get_max_threads()) { omp_set_num_threads(1); }
  ~OneThread() { omp_set_num_threads(before_); }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  int before_;
};

using Dims = dnnl::memory::dims;
using Type = dnnl::memory::data_type;

// kTileRows x `cols` outputs: x[rows,K] times the transpose of w[cols,K], to rows of `stride` floats.
struct Tile {
  dnnl::memory::desc x, w, y, scratch;
  dnnl::primitive primitive;

  Tile(const dnnl::engine& engine, Type type, int64_t rows, int64_t k, int64_t cols, int64_t weight_stride, int64_t stride)
      : x({rows, k}, type, Dims{k, 1}), w({k, cols}, type, Dims{1, weight_stride}),
        y({rows, cols}, Type::f32, Dims{stride, 1}) {
    dnnl::primitive_attr attributes;
    attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    const dnnl::matmul::primitive_desc description({x, w, y}, attributes, engine);
    scratch = description.scratchpad_desc();
    primitive = dnnl::matmul(description);
  }

  // False if the library fails.
  bool run(const dnnl::engine& engine, const dnnl::stream& stream, const std::byte* from, const std::byte* weights,
           float* to, std::byte* scratchpad) const noexcept {
    try {
      const auto memory = [&](const dnnl::memory::desc& desc, const void* at) {
        return dnnl::memory(desc, engine, const_cast<void*>(at));
      };
      const dnnl::stream local = stream;
      primitive.execute(local, {{DNNL_ARG_SRC, memory(x, from)}, {DNNL_ARG_WEIGHTS, memory(w, weights)},
                                {DNNL_ARG_DST, memory(y, to)}, {DNNL_ARG_SCRATCHPAD, memory(scratch, scratchpad)}});
      return true;
    } catch (...) {
      return false;
    }
  }
};

class OneDnnLinear : public Kernel {
 public:
  OneDnnLinear(const dnnl::engine& engine, const Linear& op, std::vector<float> bias)
      : engine_(engine), stream_(engine), weight_(op.weight), bias_(std::move(bias)), k_(op.weight.cols()),
        outputs_(op.weight.rows()), bf16_(op.weight.dtype == DType::kBF16) {
    const OneThread one;
    for (const int64_t cols : {std::min(kTileCols, outputs_), outputs_ % kTileCols})
      if (cols) tiles_.emplace_back(engine, bf16_ ? Type::bf16 : Type::f32, kTileRows, k_, cols,
                                    weight_.row_bytes / value_bytes(), kTileCols);
  }

  std::string name() const override { return std::string("matmul ") + (bf16_ ? "bf16" : "f32") + ", onednn"; }

  size_t scratch_bytes(int64_t rows, int workers) const override {
    return padded_rows(rows) * row_bytes() + static_cast<size_t>(workers) * worker_bytes();
  }

  void run(const KernelCall& call) const noexcept override {
    const int64_t rows = call.output.tensor.rows(), row_tiles = (rows + kTileRows - 1) / kTileRows;
    copy_rows(call, rows);
    std::byte* workers = call.scratch + padded_rows(rows) * row_bytes();
    const int64_t col_tiles = (outputs_ + kTileCols - 1) / kTileCols;
    // Row tiles of one column tile are neighbours, so that its weights are read from memory once.
    const auto task = [&](int64_t index, int worker) {
      run_tile(call, index % row_tiles, index / row_tiles, workers + static_cast<size_t>(worker) * worker_bytes());
    };
    call.threads->run(row_tiles * col_tiles, task);
  }

 private:
  int64_t value_bytes() const { return bf16_ ? 2 : 4; }
  size_t row_bytes() const { return static_cast<size_t>(k_ * value_bytes()); }
  static size_t padded_rows(int64_t rows) { return align_up(static_cast<size_t>(rows), kTileRows); }
  static constexpr size_t kOutputBytes = kTileRows * kTileCols * sizeof(float);
  size_t worker_bytes() const {
    size_t most = 0;
    for (const Tile& tile : tiles_) most = std::max(most, tile.scratch.get_size());
    return kOutputBytes + align_up(most, kAlignment);
  }

  // The rows in the weight's type; those up to a whole tile are zero.
  void copy_rows(const KernelCall& call, int64_t rows) const noexcept {
    const auto copy = [&](int64_t row, int) {
      std::byte* to = call.scratch + static_cast<size_t>(row) * row_bytes();
      const auto* from = row < rows ? reinterpret_cast<const float*>(call.inputs[0].tensor.row(row)) : nullptr;
      if (!from) std::memset(to, 0, row_bytes());
      else if (!bf16_) std::memcpy(to, from, row_bytes());
      else
        for (int64_t i = 0; i < k_; ++i) store_u16(to + 2 * i, f32_to_bf16(from[i]));
    };
    call.threads->run(static_cast<int64_t>(padded_rows(rows)), 8, copy);
  }

  void run_tile(const KernelCall& call, int64_t row_tile, int64_t col_tile, std::byte* local) const noexcept {
    const int64_t first = row_tile * kTileRows, column = col_tile * kTileCols;
    const int64_t rows = std::min(kTileRows, call.output.tensor.rows() - first);
    const int64_t cols = std::min(kTileCols, outputs_ - column);
    const Tile& tile = cols == std::min(kTileCols, outputs_) ? tiles_.front() : tiles_.back();
    auto* sums = reinterpret_cast<float*>(local);
    const OneThread one;
    const bool done = tile.run(engine_, stream_, call.scratch + static_cast<size_t>(first) * row_bytes(),
                               weight_.row(column), sums, local + kOutputBytes);
    for (int64_t r = 0; r < rows; ++r) {
      float* y = reinterpret_cast<float*>(call.output.tensor.row(first + r)) + column;
      for (int64_t c = 0; c < cols; ++c) {
        // A failure of the library must not look like a result: NaN is found by whoever reads it.
        const float sum = done ? sums[r * kTileCols + c] : __builtin_nanf("");
        y[c] = bias_.empty() ? sum : sum + bias_[static_cast<size_t>(column + c)];
      }
    }
  }

  dnnl::engine engine_;
  dnnl::stream stream_;
  Tensor weight_;
  std::vector<float> bias_;
  int64_t k_, outputs_;
  bool bf16_;
  std::vector<Tile> tiles_;  // of kTileCols columns, and of what is left
};

std::string refusal(const Linear& op, const Node& node, const Graph& graph, const PlanOptions& options) {
  const DType type = op.weight.dtype;
  if (op.weight.layout != Layout::kRows) return "a weight in panels";
  if (type != DType::kF32 && type != DType::kBF16) return std::string("linear of ") + dtype_info(type).name;
  if (type == DType::kBF16 && options.activations == ActivationPrecision::kF32) return "bf16 would round the activations";
  if (options.min_rows < OneDnnBackend::kMinRows) return "few rows";
  const int64_t value = type == DType::kF32 ? 4 : 2;
  if (op.weight.rank != 2 || op.weight.cols() != graph.node(node.inputs[0]).cols || op.weight.rows() != node.cols)
    return "the weight does not fit the rows";
  if (reinterpret_cast<uintptr_t>(op.weight.data) % static_cast<uintptr_t>(value) || op.weight.row_bytes % value)
    return "the weight is not aligned";
  if (op.bias && op.bias.elements() != op.weight.rows()) return "the bias does not fit the weight";
  return {};
}

}  // namespace

OneDnnBackend::OneDnnBackend() {
  try {
    engine_ = std::make_unique<Engine>();
  } catch (const dnnl::error& error) {
    fail(Status::kUnsupported, "backend onednn: no CPU engine: {}", error.what());
  }
}

OneDnnBackend::~OneDnnBackend() = default;

std::string OneDnnBackend::target() const {
  const dnnl_version_t* v = dnnl_version();
  return fmt::format("oneDNN {}.{}.{}", v->major, v->minor, v->patch);
}

Offer OneDnnBackend::prepare(const Graph& graph, const Node& node, const PlanOptions& options) const {
  const Linear* op = std::get_if<Linear>(&node.op);
  if (!op) return refuse(std::string("no ") + op_name(node.op));
  if (std::string why = refusal(*op, node, graph, options); !why.empty()) return refuse(std::move(why));
  std::vector<float> bias(op->bias ? static_cast<size_t>(op->bias.elements()) : 0);
  if (op->bias) decode(op->bias.dtype, op->bias.data, bias.data(), op->bias.elements());
  try {
    return {std::make_unique<OneDnnLinear>(engine_->engine, *op, std::move(bias)), {}};
  } catch (const dnnl::error& error) {
    return refuse(error.what());
  }
}

}  // namespace moiety
