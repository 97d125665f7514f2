#include "graph/graph.h"

#include <algorithm>

namespace moiety {

const char* op_name(const Op& op) {
  struct Name {
    const char* operator()(const Embedding&) const { return "embedding"; }
    const char* operator()(const RmsNorm&) const { return "rms_norm"; }
    const char* operator()(const LayerNorm&) const { return "layer_norm"; }
    const char* operator()(const Linear&) const { return "linear"; }
    const char* operator()(const Clamp&) const { return "clamp"; }
    const char* operator()(const Scale&) const { return "scale"; }
    const char* operator()(const Add&) const { return "add"; }
    const char* operator()(const Act&) const { return "act"; }
    const char* operator()(const Glu&) const { return "glu"; }
    const char* operator()(const Rope&) const { return "rope"; }
    const char* operator()(const AddSinusoid&) const { return "add_sinusoid"; }
    const char* operator()(const KvStore&) const { return "kv_store"; }
    const char* operator()(const Attention&) const { return "attention"; }
    const char* operator()(const Route&) const { return "route"; }
    const char* operator()(const Experts&) const { return "experts"; }
    const char* operator()(const SelectRows&) const { return "select_rows"; }
  };
  return std::visit(Name{}, op);
}

Value Graph::add(Node node) {
  nodes_.push_back(std::move(node));
  return {static_cast<int32_t>(nodes_.size()) - 1};
}

namespace {

double bytes_of(const Tensor& tensor) { return tensor ? static_cast<double>(tensor.bytes()) : 0; }

struct CostOf {
  const Graph& graph;
  const Node& node;
  double tokens, context;

  Cost elementwise(double operations) const { return {0, operations * tokens * static_cast<double>(node.cols)}; }

  Cost operator()(const Embedding& op) const {
    const double row = bytes_of(op.table) / static_cast<double>(op.table.rows());
    return {std::min(tokens, static_cast<double>(op.table.rows())) * row, 0};
  }
  Cost operator()(const RmsNorm& op) const { return {bytes_of(op.weight), elementwise(4).flops}; }
  Cost operator()(const LayerNorm& op) const { return {bytes_of(op.weight) + bytes_of(op.bias), elementwise(7).flops}; }
  Cost operator()(const Linear& op) const {
    return {bytes_of(op.weight) + bytes_of(op.bias), 2 * tokens * static_cast<double>(op.weight.elements())};
  }
  Cost operator()(const Clamp&) const { return elementwise(2); }
  Cost operator()(const Scale&) const { return elementwise(1); }
  Cost operator()(const Add&) const { return elementwise(1); }
  Cost operator()(const Act&) const { return elementwise(4); }
  Cost operator()(const Glu&) const { return elementwise(5); }
  Cost operator()(const Rope& op) const {
    return {0, 6 * tokens * op.heads * static_cast<double>(op.frequencies.size())};
  }
  Cost operator()(const AddSinusoid&) const { return elementwise(2); }
  Cost operator()(const KvStore&) const { return {}; }
  Cost operator()(const Attention& op) const {
    const double seen = op.window > 0 ? std::min<double>(context, op.window) : context;
    return {0, 4 * tokens * op.heads * op.head_dim * seen};
  }
  Cost operator()(const Route& op) const { return {0, 4 * tokens * op.experts}; }
  Cost operator()(const Experts& op) const {
    double bytes = 0, elements = 0;
    for (int e = 0; e < op.bank->size(); ++e) {
      const Expert& expert = op.bank->expert(e);
      for (const Tensor* t : {&expert.gate, &expert.up, &expert.down}) {
        bytes += bytes_of(*t);
        elements += *t ? static_cast<double>(t->elements()) : 0;
      }
      for (const Tensor* t : {&expert.gate_bias, &expert.up_bias, &expert.down_bias}) bytes += bytes_of(*t);
    }
    const double active = static_cast<double>(graph.node(node.inputs[1]).cols);
    const double touched = std::min<double>(op.bank->size(), tokens * active) / op.bank->size();
    return {bytes * touched, 2 * tokens * active * elements / op.bank->size()};
  }
  Cost operator()(const SelectRows&) const { return {}; }
};

}  // namespace

Cost node_cost(const Graph& graph, const Node& node, int64_t tokens, int64_t context) {
  return std::visit(CostOf{graph, node, static_cast<double>(tokens), static_cast<double>(context)}, node.op);
}

std::string attention_misfit(const Graph& graph, const Node& node, const Attention& op) {
  const int64_t cols = int64_t{op.heads} * op.head_dim;
  if (op.kv_heads < 1 || op.heads % op.kv_heads || op.head_dim < 1) return "attention: heads do not divide";
  if (graph.node(node.inputs[0]).cols != cols || node.cols != cols) return "attention: heads do not fit the row";
  if (op.kv_heads != graph.state.kv_heads || op.head_dim != graph.state.head_dim)
    return "attention: heads do not fit the cache";
  if (op.sinks && op.sinks.elements() != op.heads) return "attention: the sinks do not fit the heads";
  return {};
}

}  // namespace moiety
