// Ops that compute each row alone.
#include <algorithm>
#include <cmath>

#include "backends/reference/kernels.h"
#include "core/panels.h"
#include "graph/routing.h"

namespace moiety::reference {

Offer offer(const Embedding& op, const Context& context) {
  if (op.table.cols() != context.node.cols) return refuse("embedding: the table's width is not the node's");
  return row_offer("embedding", [op](const KernelCall& call, int64_t row) {
    float* y = row_of(call.output.tensor, row);
    moiety::decode_row(op.table, call.batch->ids[static_cast<size_t>(row)], y);
    for (int64_t i = 0; i < op.table.cols(); ++i) y[i] = static_cast<float>(static_cast<double>(y[i]) * op.scale);
  });
}

Offer offer(const RmsNorm& op, const Context& context) {
  const int64_t cols = context.node.cols, size = op.groups > 0 ? cols / op.groups : 0;
  if (op.groups < 1 || cols % op.groups) return refuse("rms_norm: the width is not a multiple of the groups");
  const int64_t weights = op.weight.elements();
  if (weights != cols && weights != size) return refuse("rms_norm: the weight fits neither a row nor a group");
  return row_offer("rms_norm", [=, weight = decode_all(op.weight)](const KernelCall& call, int64_t row) {
    const float* x = row_of(call.inputs[0].tensor, row);
    float* y = row_of(call.output.tensor, row);
    for (int64_t begin = 0; begin < cols; begin += size) {
      double squares = 0;
      for (int64_t i = begin; i < begin + size; ++i) squares += static_cast<double>(x[i]) * x[i];
      const double inverse = 1 / std::sqrt(squares / static_cast<double>(size) + op.eps);
      for (int64_t i = begin; i < begin + size; ++i)
        y[i] = static_cast<float>(x[i] * inverse * weight[static_cast<size_t>(i % weights)]);
    }
  });
}

Offer offer(const LayerNorm& op, const Context& context) {
  const int64_t cols = context.node.cols;
  if (op.weight.elements() != cols || (op.bias && op.bias.elements() != cols))
    return refuse("layer_norm: weight or bias does not fit a row");
  return row_offer("layer_norm", [cols, eps = op.eps, weight = decode_all(op.weight), bias = decode_all(op.bias)](
                                     const KernelCall& call, int64_t row) {
    const float* x = row_of(call.inputs[0].tensor, row);
    float* y = row_of(call.output.tensor, row);
    double mean = 0, variance = 0;
    for (int64_t i = 0; i < cols; ++i) mean += x[i];
    mean /= static_cast<double>(cols);
    for (int64_t i = 0; i < cols; ++i) variance += (x[i] - mean) * (x[i] - mean);
    const double inverse = 1 / std::sqrt(variance / static_cast<double>(cols) + eps);
    for (int64_t i = 0; i < cols; ++i) {
      const auto at = static_cast<size_t>(i);
      y[i] = static_cast<float>((x[i] - mean) * inverse * weight[at] + (bias.empty() ? 0 : bias[at]));
    }
  });
}

namespace {

// y = body(x) on each element of each row.
template <class Body>
Offer unary(const char* name, Body body) {
  return row_offer(name, [body](const KernelCall& call, int64_t row) {
    const float* x = row_of(call.inputs[0].tensor, row);
    float* y = row_of(call.output.tensor, row);
    for (int64_t i = 0; i < call.output.tensor.cols(); ++i) y[i] = static_cast<float>(body(static_cast<double>(x[i])));
  });
}

template <class Body>
Offer binary(const char* name, Body body) {
  return row_offer(name, [body](const KernelCall& call, int64_t row) {
    const float* a = row_of(call.inputs[0].tensor, row);
    const float* b = row_of(call.inputs[1].tensor, row);
    float* y = row_of(call.output.tensor, row);
    for (int64_t i = 0; i < call.output.tensor.cols(); ++i)
      y[i] = static_cast<float>(body(static_cast<double>(a[i]), static_cast<double>(b[i])));
  });
}

}  // namespace

Offer offer(const Clamp& op, const Context&) {
  const double limit = op.limit;
  return unary("clamp", [limit](double x) { return x > limit ? limit : x < -limit ? -limit : x; });
}

Offer offer(const Scale& op, const Context&) {
  return unary("scale", [factor = static_cast<double>(op.factor)](double x) { return x * factor; });
}

Offer offer(const Add& op, const Context&) {
  return binary("add", [scale = static_cast<double>(op.scale)](double a, double b) { return a + scale * b; });
}

Offer offer(const Act& op, const Context&) {
  if (op.kind == Activation::kSwigluOai) return refuse("act: swiglu_oai takes two inputs: glu");
  return unary("act", [kind = op.kind](double x) { return activate(kind, x); });
}

Offer offer(const Glu& op, const Context&) {
  return binary("glu", [op](double gate, double up) { return gated(op.kind, op.limit, op.alpha, gate, up); });
}

Offer offer(const Rope& op, const Context& context) {
  const auto pairs = static_cast<int64_t>(op.frequencies.size());
  if (2 * pairs > op.head_dim || context.node.cols != int64_t{op.heads} * op.head_dim)
    return refuse("rope: heads and frequencies do not fit the row");
  return row_offer("rope", [op, pairs, wanted = context.wanted()](const KernelCall& call, int64_t row) {
    const double position = call.batch->positions[static_cast<size_t>(token_row(*call.batch, wanted, row))];
    for (int64_t h = 0; h < op.heads; ++h) {
      const float* x = row_of(call.inputs[0].tensor, row) + h * op.head_dim;
      float* y = row_of(call.output.tensor, row) + h * op.head_dim;
      for (int64_t i = 2 * pairs; i < op.head_dim; ++i) y[i] = x[i];
      for (int64_t i = 0; i < pairs; ++i) {
        const int64_t a = op.interleaved ? 2 * i : i, b = op.interleaved ? 2 * i + 1 : i + pairs;
        const double angle = position * static_cast<double>(op.frequencies[static_cast<size_t>(i)]);
        const double cosine = std::cos(angle) * op.magnitude, sine = std::sin(angle) * op.magnitude;
        const double first = x[a], second = x[b];
        y[a] = static_cast<float>(first * cosine - second * sine);
        y[b] = static_cast<float>(second * cosine + first * sine);
      }
    }
  });
}

Offer offer(const AddSinusoid& op, const Context& context) {
  const auto half = static_cast<int64_t>(op.frequencies.size());
  if (context.node.cols != 2 * half) return refuse("add_sinusoid: the frequencies do not fit the row");
  return row_offer("add_sinusoid", [op, half, wanted = context.wanted()](const KernelCall& call, int64_t row) {
    const float* x = row_of(call.inputs[0].tensor, row);
    float* y = row_of(call.output.tensor, row);
    const int32_t position = call.batch->positions[static_cast<size_t>(token_row(*call.batch, wanted, row))];
    if (position == kPadPosition) std::copy(x, x + 2 * half, y);
    for (int64_t i = 0; i < half && position != kPadPosition; ++i) {
      const float angle = static_cast<float>(position + op.offset) * op.frequencies[static_cast<size_t>(i)];
      y[i] = static_cast<float>(static_cast<double>(x[i]) + std::sin(static_cast<double>(angle)));
      y[half + i] = static_cast<float>(static_cast<double>(x[half + i]) + std::cos(static_cast<double>(angle)));
    }
  });
}

Offer offer(const SelectRows&, const Context&) {
  return row_offer("select_rows", [](const KernelCall& call, int64_t row) {
    const float* x = row_of(call.inputs[0].tensor, call.batch->wanted[static_cast<size_t>(row)]);
    std::copy(x, x + call.output.tensor.cols(), row_of(call.output.tensor, row));
  });
}

}  // namespace moiety::reference
