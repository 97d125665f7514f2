#include "graph/builder.h"

#include "core/error.h"

namespace moiety {

Scope Scope::in(std::string_view name) const {
  return Scope(*store_, prefix_.empty() ? std::string(name) : prefix_ + "." + std::string(name));
}

namespace {
std::string join(const std::string& prefix, std::string_view name) {
  return prefix.empty() ? std::string(name) : prefix + "." + std::string(name);
}
}  // namespace

bool Scope::has(std::string_view name) const {
  const std::string base = join(prefix_, name);
  return store_->contains(base + ".weight") || store_->contains(base);
}

Tensor Scope::operator[](std::string_view name) const {
  const std::string base = join(prefix_, name);
  if (const Weight* weight = store_->find(base + ".weight")) return weight->tensor;
  if (const Weight* weight = store_->find(base)) return weight->tensor;
  return store_->require(base + ".weight").tensor;  // throws
}

Tensor Scope::bias(std::string_view name) const {
  const Weight* weight = store_->find(join(prefix_, name) + ".bias");
  return weight ? weight->tensor : Tensor{};
}

namespace {

void expect_vector(const Tensor& tensor, int64_t size, const std::string& node, const char* what) {
  if (!tensor) return;
  if (tensor.elements() != size) {
    fail(Status::kFormat, "{}: {} has shape {}, expected {} values", node, what, shape_string(tensor), size);
  }
}

void expect_matrix(const Tensor& tensor, int64_t rows, int64_t cols, const std::string& node, const char* what) {
  if (tensor.rank != 2 || tensor.cols() != cols || (rows >= 0 && tensor.rows() != rows) || tensor.rows() <= 0) {
    fail(Status::kFormat, "{}: {} has shape {}, expected [{}, {}]", node, what, shape_string(tensor),
         rows >= 0 ? std::to_string(rows) : "any", cols);
  }
}

}  // namespace

namespace {

// Only matrices are read in panels: what is read value by value lies in rows.
void expect_rows(const Tensor& tensor, const std::string& node, const char* what) {
  if (tensor.layout != Layout::kRows) fail(Status::kFormat, "{}: {} {} is not a vector", node, what, shape_string(tensor));
}
void expect_layouts(const Op& op, const std::string& node) {
  std::visit(
      [&](const auto& o) {
        using T = std::decay_t<decltype(o)>;
        if constexpr (requires { o.bias; }) expect_rows(o.bias, node, "bias");
        if constexpr (requires { o.sinks; }) expect_rows(o.sinks, node, "sinks");
        if constexpr (requires { o.selection_bias; }) expect_rows(o.selection_bias, node, "selection bias");
        if constexpr (requires { o.weight; } && !std::is_same_v<T, Linear>) expect_rows(o.weight, node, "weight");
        if constexpr (std::is_same_v<T, Experts>) {
          for (int e = 0; o.bank && e < o.bank->size(); ++e) {
            const Expert& x = o.bank->expert(e);
            for (const Tensor* t : {&x.gate_bias, &x.up_bias, &x.down_bias}) expect_rows(*t, node, "an expert's bias");
          }
        }
      },
      op);
}

}  // namespace

Value Builder::push(Op op, std::array<Value, 3> inputs, int64_t cols, std::string_view name) {
  Node node;
  node.extent = inputs[0] ? graph_.node(inputs[0]).extent : Extent::kTokens;
  node.op = std::move(op);
  node.inputs = inputs;
  node.cols = cols;
  node.name = join(prefix_, name);
  if (const int count = ++names_[node.name]; count > 1) node.name += "." + std::to_string(count);
  expect_layouts(node.op, node.name);
  for (int i = 1; i < 3; ++i) {
    const Value v = inputs[static_cast<size_t>(i)];
    if (v && graph_.node(v).kind != Kind::kKv && graph_.node(v).extent != node.extent) {
      fail(Status::kInternal, "{}: its operands have different rows (a wanted_rows() is missing)", node.name);
    }
  }
  return graph_.add(std::move(node));
}

Value Builder::embedding(Tensor table, float scale) {
  expect_matrix(table, -1, table.cols(), "embedding", "table");
  return push(Embedding{table, scale}, {}, table.cols(), "embedding");
}

Value Builder::rms_norm(Value x, Tensor weight, float eps, int groups, std::string_view name) {
  const int64_t cols = node(x).cols;
  if (groups <= 0 || cols % groups != 0) fail(Status::kFormat, "{}: {} columns in {} groups", name, cols, groups);
  if (weight.elements() != cols) expect_vector(weight, cols / groups, prefix_ + "." + std::string(name), "weight");
  return push(RmsNorm{weight, eps, groups}, {x}, cols, name);
}

Value Builder::layer_norm(Value x, Tensor weight, Tensor bias, float eps, std::string_view name) {
  const int64_t cols = node(x).cols;
  expect_vector(weight, cols, prefix_ + "." + std::string(name), "weight");
  expect_vector(bias, cols, prefix_ + "." + std::string(name), "bias");
  return push(LayerNorm{weight, bias, eps}, {x}, cols, name);
}

Value Builder::linear(Value x, Tensor weight, Tensor bias, std::string_view name) {
  const std::string full = prefix_ + "." + std::string(name);
  expect_matrix(weight, -1, node(x).cols, full, "weight");
  expect_vector(bias, weight.rows(), full, "bias");
  return push(Linear{weight, bias}, {x}, weight.rows(), name);
}

Value Builder::clamp(Value x, float limit) { return push(Clamp{limit}, {x}, node(x).cols, "clamp"); }

Value Builder::scale(Value x, float factor) {
  return factor == 1 ? x : push(Scale{factor}, {x}, node(x).cols, "scale");
}

Value Builder::add(Value a, Value b, float scale) {
  if (node(a).cols != node(b).cols) {
    fail(Status::kFormat, "{}.add: operands have {} and {} columns", prefix_, node(a).cols, node(b).cols);
  }
  return push(Add{scale}, {a, b}, node(a).cols, "add");
}

Value Builder::act(Value x, Activation kind) { return push(Act{kind}, {x}, node(x).cols, "act"); }

Value Builder::glu(Value gate, Value up, Glu op) {
  if (node(gate).cols != node(up).cols) {
    fail(Status::kFormat, "{}.glu: gate has {} columns, up {}", prefix_, node(gate).cols, node(up).cols);
  }
  return push(op, {gate, up}, node(gate).cols, "glu");
}

Value Builder::rope(Value x, Rope op) {
  if (node(x).cols != static_cast<int64_t>(op.heads) * op.head_dim ||
      2 * static_cast<int64_t>(op.frequencies.size()) > op.head_dim) {
    fail(Status::kFormat, "{}.rope: {} columns for {} heads of {} values, {} of them rotated", prefix_, node(x).cols,
         op.heads, op.head_dim, 2 * op.frequencies.size());
  }
  const int64_t cols = node(x).cols;
  return push(std::move(op), {x}, cols, "rope");
}

Value Builder::add_sinusoid(Value x, std::vector<float> frequencies, int offset) {
  const int64_t cols = node(x).cols;
  if (cols != 2 * static_cast<int64_t>(frequencies.size())) {
    fail(Status::kFormat, "{}.add_sinusoid: {} columns for {} frequencies", prefix_, cols, frequencies.size());
  }
  return push(AddSinusoid{std::move(frequencies), offset}, {x}, cols, "add_sinusoid");
}

Value Builder::kv_store(Value k, Value v, int layer) {
  const Value kv = push(KvStore{layer}, {k, v}, node(k).cols, "kv_store");
  graph_.set_kind(kv, Kind::kKv);
  return kv;
}

Value Builder::attention(Value q, Value kv, Attention op) {
  const int64_t expected_q = static_cast<int64_t>(op.heads) * op.head_dim;
  const int64_t expected_kv = static_cast<int64_t>(op.kv_heads) * op.head_dim;
  if (op.kv_heads <= 0 || op.heads % op.kv_heads != 0 || node(q).cols != expected_q || node(kv).cols != expected_kv) {
    fail(Status::kFormat, "{}.attention: q has {} columns, k {}, for {} heads, {} kv-heads of {} values", prefix_,
         node(q).cols, node(kv).cols, op.heads, op.kv_heads, op.head_dim);
  }
  expect_vector(op.sinks, op.heads, prefix_ + ".attention", "sinks");
  return push(std::move(op), {q, kv}, expected_q, "attention");
}

Value Builder::route(Value logits, Route op) {
  const int64_t experts = node(logits).cols;
  if (op.top_k < 1 || op.top_k > experts) {
    fail(Status::kFormat, "{}.route: top-k is {}, expected 1..{}", prefix_, op.top_k, experts);
  }
  op.experts = static_cast<int>(experts);
  expect_vector(op.selection_bias, experts, prefix_ + ".route", "selection bias");
  const int top_k = op.top_k;
  const Value routing = push(std::move(op), {logits}, top_k, "route");
  graph_.set_kind(routing, Kind::kRouting);
  return routing;
}

Value Builder::experts(Value x, Value routing, Experts op) {
  const int64_t width = node(x).cols;
  const int routed = std::get<Route>(node(routing).op).experts;
  const std::string& name = op.bank->name();
  if (op.bank->size() != routed) {
    fail(Status::kFormat, "{}: {} experts, the router has {}", name, op.bank->size(), routed);
  }
  for (int e = 0; e < op.bank->size(); ++e) {
    const Expert& expert = op.bank->expert(e);
    const std::string full = name + "." + std::to_string(e);
    expect_matrix(expert.up, -1, width, full, "up");
    if (expert.gate) expect_matrix(expert.gate, expert.up.rows(), width, full, "gate");
    expect_matrix(expert.down, width, expert.up.rows(), full, "down");
    if (expert.up.rows() != op.bank->expert(0).up.rows()) fail(Status::kFormat, "{}: experts differ in width", full);
    expect_vector(expert.gate_bias, expert.up.rows(), full, "gate bias");
    expect_vector(expert.up_bias, expert.up.rows(), full, "up bias");
    expect_vector(expert.down_bias, width, full, "down bias");
  }
  return push(op, {x, routing}, width, "experts");
}

Value Builder::wanted_rows(Value x) {
  if (node(x).extent == Extent::kWanted) return x;
  const Value rows = push(SelectRows{}, {x}, node(x).cols, "wanted_rows");
  graph_.set_extent(rows, Extent::kWanted);
  return rows;
}

}  // namespace moiety
