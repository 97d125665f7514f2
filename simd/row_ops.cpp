// The ops that compute each row alone.
#include "core/blocks.h"
#include "graph/routing.h"
#include "simd/row_ops_parts.h"

namespace moiety::simd {

std::vector<float> decode_small(const Tensor& tensor) {
  std::vector<float> values(tensor ? static_cast<size_t>(tensor.elements()) : 0);
  const auto cols = static_cast<size_t>(tensor ? tensor.cols() : 0);
  for (int64_t row = 0; tensor && row < tensor.rows(); ++row)
    decode(tensor.dtype, tensor.row(row), values.data() + static_cast<size_t>(row) * cols, tensor.cols());
  return values;
}

namespace {

RowActivation row_activation(Activation kind) {
  switch (kind) {
    case Activation::kSilu: return RowActivation::kSilu;
    case Activation::kGelu: return RowActivation::kGelu;
    case Activation::kGeluTanh: return RowActivation::kGeluTanh;
    case Activation::kRelu: return RowActivation::kRelu;
    case Activation::kSwigluOai: break;
  }
  return RowActivation::kSwigluOai;
}

}  // namespace

Offer prepare(const RmsNorm& op, const Context& from) {
  const RowContext context(from);
  const int64_t cols = context.node.cols;
  if (op.groups < 1 || cols % op.groups) return refuse("rms_norm: the width is not a multiple of the groups");
  const int64_t size = cols / op.groups, weights = op.weight.elements();
  if (weights != cols && weights != size) return refuse("rms_norm: the weight fits neither a row nor a group");
  return row_offer(context.name("rms_norm"), cols,
                   [=, weight = decode_small(op.weight), norm = context.kernels.rms_norm, eps = op.eps](
                       const KernelCall& call, int64_t row) {
                     const float* x = row_of(call.inputs[0].tensor, row);
                     float* y = row_of(call.output.tensor, row);
                     for (int64_t at = 0; at < cols; at += size)
                       norm(x + at, weight.data() + at % weights, eps, size, y + at);
                   });
}

Offer prepare(const LayerNorm& op, const Context& from) {
  const RowContext context(from);
  const int64_t cols = context.node.cols;
  if (op.weight.elements() != cols || (op.bias && op.bias.elements() != cols))
    return refuse("layer_norm: weight or bias does not fit a row");
  return row_offer(context.name("layer_norm"), cols,
                   [cols, weight = decode_small(op.weight), bias = decode_small(op.bias),
                    norm = context.kernels.layer_norm, eps = op.eps](const KernelCall& call, int64_t row) {
                     norm(row_of(call.inputs[0].tensor, row), weight.data(), bias.empty() ? nullptr : bias.data(), eps,
                          cols, row_of(call.output.tensor, row));
                   });
}

namespace {

// Elementwise ops: body(inputs' rows, count, y).
template <class Body>
Offer unary(const char* name, const RowContext& context, Body body) {
  return row_offer(context.name(name), context.node.cols, [body](const KernelCall& call, int64_t row) {
    body(row_of(call.inputs[0].tensor, row), call.output.tensor.cols(), row_of(call.output.tensor, row));
  });
}
template <class Body>
Offer binary(const char* name, const RowContext& context, Body body) {
  return row_offer(context.name(name), context.node.cols, [body](const KernelCall& call, int64_t row) {
    body(row_of(call.inputs[0].tensor, row), row_of(call.inputs[1].tensor, row), call.output.tensor.cols(),
         row_of(call.output.tensor, row));
  });
}

}  // namespace

Offer prepare(const Clamp& op, const Context& from) {
  const RowContext context(from);
  return unary("clamp", context, [clamp = context.kernels.clamp, limit = op.limit](const float* x, int64_t n, float* y) {
    clamp(x, limit, n, y);
  });
}

Offer prepare(const Scale& op, const Context& from) {
  const RowContext context(from);
  return unary("scale", context, [scale = context.kernels.scale, factor = op.factor](const float* x, int64_t n, float* y) {
    scale(x, factor, n, y);
  });
}

Offer prepare(const Act& op, const Context& from) {
  const RowContext context(from);
  if (op.kind == Activation::kSwigluOai) return refuse("act: swiglu_oai takes two inputs: glu");
  return unary("act", context,
               [act = context.kernels.act, kind = row_activation(op.kind)](const float* x, int64_t n, float* y) {
                 act(kind, x, n, y);
               });
}

Offer prepare(const Add& op, const Context& from) {
  const RowContext context(from);
  return binary("add", context,
                [add = context.kernels.add, scale = op.scale](const float* a, const float* b, int64_t n, float* y) {
                  add(a, b, scale, n, y);
                });
}

Offer prepare(const Glu& op, const Context& from) {
  const RowContext context(from);
  return binary("glu", context,
                [glu = context.kernels.glu, kind = row_activation(op.kind), limit = op.limit, alpha = op.alpha](
                    const float* gate, const float* up, int64_t n, float* y) { glu(kind, limit, alpha, gate, up, n, y); });
}

Offer prepare(const Rope& op, const Context& from) {
  const RowContext context(from);
  const auto pairs = static_cast<int64_t>(op.frequencies.size());
  const int64_t heads = op.heads, head_dim = op.head_dim;
  if (2 * pairs > head_dim || context.node.cols != heads * head_dim)
    return refuse("rope: heads and frequencies do not fit the row");
  const auto padded = static_cast<size_t>(align_up(static_cast<size_t>(pairs), 16));
  std::vector<double> frequencies(op.frequencies.begin(), op.frequencies.end());
  frequencies.resize(padded);
  const auto scratch = [padded](int64_t, int workers) { return static_cast<size_t>(workers) * 2 * padded * sizeof(float); };
  const auto run = [=, frequencies = std::move(frequencies), &kernels = context.kernels, interleaved = op.interleaved,
                    magnitude = static_cast<double>(op.magnitude), wanted = context.wanted()](const KernelCall& call) {
    for_rows(*call.threads, call.output.tensor.rows(), heads * head_dim, [&](int64_t row, int worker) {
      float* cosines = reinterpret_cast<float*>(call.scratch) + static_cast<size_t>(worker) * 2 * padded;
      float* sines = cosines + padded;
      const int32_t position = call.batch->positions[static_cast<size_t>(token_row(*call.batch, wanted, row))];
      kernels.rope_table(position, frequencies.data(), magnitude, pairs, cosines, sines);
      const float* x = row_of(call.inputs[0].tensor, row);
      float* y = row_of(call.output.tensor, row);
      for (int64_t h = 0; h < heads; ++h)
        kernels.rope(x + h * head_dim, cosines, sines, pairs, interleaved, head_dim, y + h * head_dim);
    });
  };
  return make_offer(context.name("rope"), scratch, run);
}

Offer prepare(const AddSinusoid& op, const Context& from) {
  const RowContext context(from);
  const auto half = static_cast<int64_t>(op.frequencies.size());
  if (context.node.cols != 2 * half) return refuse("add_sinusoid: the frequencies do not fit the row");
  // Scratch of a worker: the angles, then their cosines and sines.
  const auto padded = static_cast<size_t>(align_up(static_cast<size_t>(half), 16));
  const size_t worker_bytes = padded * (sizeof(double) + 2 * sizeof(float));
  const auto scratch = [=](int64_t, int workers) { return static_cast<size_t>(workers) * worker_bytes; };
  const auto run = [=, frequencies = op.frequencies, offset = op.offset, &kernels = context.kernels,
                    wanted = context.wanted()](const KernelCall& call) {
    for_rows(*call.threads, call.output.tensor.rows(), 8 * half, [&](int64_t row, int worker) {
      const float* x = row_of(call.inputs[0].tensor, row);
      float* y = row_of(call.output.tensor, row);
      const int32_t position = call.batch->positions[static_cast<size_t>(token_row(*call.batch, wanted, row))];
      if (position == kPadPosition) {
        std::copy(x, x + 2 * half, y);
        return;
      }
      auto* angles = reinterpret_cast<double*>(call.scratch + static_cast<size_t>(worker) * worker_bytes);
      auto* cosines = reinterpret_cast<float*>(angles + padded);
      for (size_t i = 0; i < padded; ++i)
        angles[i] = i < frequencies.size() ? static_cast<double>(static_cast<float>(position + offset) * frequencies[i]) : 0;
      kernels.rope_table(1, angles, 1, half, cosines, cosines + padded);
      kernels.add(x, cosines + padded, 1, half, y);
      kernels.add(x + half, cosines, 1, half, y + half);
    });
  };
  return make_offer(context.name("add_sinusoid"), scratch, run);
}

}  // namespace moiety::simd
