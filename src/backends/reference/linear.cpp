// Matrix products: linear and the experts. Weights are decoded a row at a time, sums are Eigen's dot in double.
#include <algorithm>

#include "backends/reference/kernels.h"
#include "core/blocks.h"

namespace moiety::reference {

namespace {

constexpr int64_t kRowsATask = 16;

// One worker's decoded weight row.
struct RowScratch {
  static size_t bytes(int64_t cols) {
    return align_up(static_cast<size_t>(cols) * sizeof(double), kAlignment) +
           align_up(static_cast<size_t>(cols) * sizeof(float), kAlignment);
  }
  RowScratch(std::byte* memory, int64_t cols)
      : values(reinterpret_cast<double*>(memory)),
        floats(reinterpret_cast<float*>(memory + align_up(static_cast<size_t>(cols) * sizeof(double), kAlignment))) {}
  double* values;
  float* floats;
};

// put(row, out, x[row] · weight[out]) for rows of x[rows, K] doubles. scratch: RowScratch::bytes(max_cols) a worker.
template <class Put>
void multiply(Threads& threads, std::byte* scratch, int64_t max_cols, const Tensor& weight, const double* x,
              int64_t rows, const Put& put) {
  const int64_t outputs = weight.rows(), cols = weight.cols();
  const auto task = [&](int64_t index, int worker) {
    const RowScratch local(scratch + static_cast<size_t>(worker) * RowScratch::bytes(max_cols), max_cols);
    for (int64_t o = index * kRowsATask; o < std::min(outputs, (index + 1) * kRowsATask); ++o) {
      decode_row(weight, o, local.floats, local.values);
      const ConstVector w(local.values, cols);
      for (int64_t r = 0; r < rows; ++r) put(r, o, w.dot(ConstVector(x + r * cols, cols)));
    }
  };
  threads.run((outputs + kRowsATask - 1) / kRowsATask, task);
}

void to_doubles(const float* from, double* to, int64_t count) {
  for (int64_t i = 0; i < count; ++i) to[i] = static_cast<double>(from[i]);
}

size_t doubles(int64_t count) { return align_up(static_cast<size_t>(count) * sizeof(double), kAlignment); }

}  // namespace

Offer offer(const Linear& op, const Context& context) {
  const int64_t cols = op.weight.cols();
  if (op.weight.rank != 2 || context.input_cols(0) != cols || context.node.cols != op.weight.rows())
    return refuse("linear: the weight does not fit the rows");
  if (op.bias && op.bias.elements() != op.weight.rows()) return refuse("linear: the bias does not fit the weight");
  const auto scratch = [cols](int64_t rows, int workers) {
    return doubles(rows * cols) + static_cast<size_t>(workers) * RowScratch::bytes(cols);
  };
  const auto run = [op, cols, bias = decode_all(op.bias)](const KernelCall& call) {
    const int64_t rows = call.output.tensor.rows();
    auto* x = reinterpret_cast<double*>(call.scratch);
    for (int64_t r = 0; r < rows; ++r) to_doubles(row_of(call.inputs[0].tensor, r), x + r * cols, cols);
    multiply(*call.threads, call.scratch + doubles(rows * cols), cols, op.weight, x, rows,
             [&](int64_t r, int64_t o, double sum) {
               const double shift = bias.empty() ? 0 : bias[static_cast<size_t>(o)];
               row_of(call.output.tensor, r)[o] = static_cast<float>(sum + shift);
             });
  };
  return make_offer(std::string("linear ") + dtype_info(op.weight.dtype).name, scratch, run);
}

namespace {

// Where the experts' intermediate rows lie in the scratch.
struct ExpertScratch {
  ExpertScratch(std::byte* memory, int64_t rows, int64_t width, int64_t hidden) {
    const auto take = [&](int64_t count) {
      auto* at = reinterpret_cast<double*>(memory);
      memory += doubles(count);
      return at;
    };
    x = take(rows * width), sums = take(rows * width), gate = take(rows * hidden), up = take(rows * hidden);
    workers = memory;
  }
  static size_t bytes(int64_t rows, int64_t width, int64_t hidden, int workers) {
    return 2 * doubles(rows * width) + 2 * doubles(rows * hidden) +
           static_cast<size_t>(workers) * RowScratch::bytes(std::max(width, hidden));
  }
  double *x, *sums, *gate, *up;
  std::byte* workers;
};

double bias_at(const Tensor& bias, int64_t i) {
  float value = 0;
  if (bias) decode(bias.dtype, bias.data + i * static_cast<int64_t>(dtype_info(bias.dtype).bytes), &value, 1);
  return static_cast<double>(value);
}

// Adds one expert's weighed output for its rows to scratch.sums.
void add_expert(const KernelCall& call, const Experts& op, const Expert& expert, const ExpertScratch& scratch,
                int64_t max_cols, int32_t begin, int32_t end) {
  const Routing& routing = call.inputs[1].routing;
  const int64_t width = expert.up.cols(), hidden = expert.up.rows(), rows = end - begin;
  for (int64_t r = 0; r < rows; ++r)
    to_doubles(row_of(call.inputs[0].tensor, routing.row[begin + r]), scratch.x + r * width, width);
  multiply(*call.threads, scratch.workers, max_cols, expert.up, scratch.x, rows, [&](int64_t r, int64_t o, double sum) {
    scratch.up[r * hidden + o] = sum + bias_at(expert.up_bias, o);
  });
  if (expert.gate)
    multiply(*call.threads, scratch.workers, max_cols, expert.gate, scratch.x, rows,
             [&](int64_t r, int64_t o, double sum) {
               scratch.gate[r * hidden + o] = sum + bias_at(expert.gate_bias, o);
             });
  for (int64_t i = 0; i < rows * hidden; ++i)
    scratch.up[i] = expert.gate ? gated(op.kind, op.limit, op.alpha, scratch.gate[i], scratch.up[i])
                                : activate(op.kind, scratch.up[i]);
  multiply(*call.threads, scratch.workers, max_cols, expert.down, scratch.up, rows,
           [&](int64_t r, int64_t o, double sum) {
             scratch.sums[routing.row[begin + r] * width + o] +=
                 routing.weight[begin + r] * (sum + bias_at(expert.down_bias, o));
           });
}

std::string expert_refusal(const Expert& e, int64_t width, const Experts& op) {
  const int64_t hidden = e.up.rows();
  const auto fits = [](const Tensor& t, int64_t rows, int64_t cols) { return t.rows() == rows && t.cols() == cols; };
  const auto bias_fits = [](const Tensor& t, int64_t n) { return !t || (is_bias_type(t.dtype) && t.elements() == n); };
  if (!e.up || !e.down || !fits(e.up, hidden, width) || !fits(e.down, width, hidden) ||
      (e.gate && !fits(e.gate, hidden, width)))
    return "experts: an expert's matrices do not fit the rows";
  if (!bias_fits(e.up_bias, hidden) || !bias_fits(e.gate_bias, hidden) || !bias_fits(e.down_bias, width))
    return "experts: biases must be f32, f16 or bf16, and fit";
  if (!e.gate && op.kind == Activation::kSwigluOai) return "experts: swiglu_oai needs a gate";
  return {};
}

}  // namespace

Offer offer(const Experts& op, const Context& context) {
  const int64_t width = context.node.cols;
  if (!op.bank || op.bank->size() < 1 || context.input_cols(0) != width) return refuse("experts: no bank of this width");
  int64_t hidden = 0;
  for (int e = 0; e < op.bank->size(); ++e) {
    if (std::string why = expert_refusal(op.bank->expert(e), width, op); !why.empty()) return refuse(std::move(why));
    hidden = std::max(hidden, op.bank->expert(e).up.rows());
  }
  const auto scratch = [=](int64_t rows, int workers) { return ExpertScratch::bytes(rows, width, hidden, workers); };
  const auto run = [=](const KernelCall& call) {
    const Routing& routing = call.inputs[1].routing;
    const int64_t rows = call.output.tensor.rows();
    const ExpertScratch scratch_rows(call.scratch, rows, width, hidden);
    if (call.first) std::fill(scratch_rows.sums, scratch_rows.sums + rows * width, 0.0);
    for (int e = 0; e < routing.experts; ++e) {
      const int32_t begin = routing.offsets[e], end = routing.offsets[e + 1];
      if (begin < end)
        add_expert(call, op, op.bank->expert(e), scratch_rows, std::max(width, hidden), begin, end);
    }
    for (int64_t r = 0; call.last && r < rows; ++r)
      for (int64_t i = 0; i < width; ++i)
        row_of(call.output.tensor, r)[i] = static_cast<float>(scratch_rows.sums[r * width + i]);
  };
  return make_offer("experts", scratch, run);
}

}  // namespace moiety::reference
