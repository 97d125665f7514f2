#include "graph/cost.h"

#include <algorithm>
#include <unordered_set>

namespace moiety {
namespace {

template <class F>
void each_expert_weight(const ExpertBank& bank, const F& f) {
  for (int e = 0; e < bank.size(); ++e) {
    const Expert& x = bank.expert(e);
    for (const Tensor* t : x.tensors()) {
      if (*t) f(*t);
    }
  }
}

struct OwnClass {
  CostClass operator()(const Embedding&) const { return CostClass::kEmbedding; }
  CostClass operator()(const RmsNorm&) const { return CostClass::kNorms; }
  CostClass operator()(const LayerNorm&) const { return CostClass::kNorms; }
  CostClass operator()(const Linear&) const { return CostClass::kFfn; }  // unless cost_classes finds what it feeds
  CostClass operator()(const Act&) const { return CostClass::kFfn; }
  CostClass operator()(const Glu&) const { return CostClass::kFfn; }
  CostClass operator()(const Rope&) const { return CostClass::kAttention; }
  CostClass operator()(const KvStore&) const { return CostClass::kAttention; }
  CostClass operator()(const Attention&) const { return CostClass::kAttention; }
  CostClass operator()(const Route&) const { return CostClass::kRouter; }
  CostClass operator()(const Experts&) const { return CostClass::kExperts; }
  template <class T>
  CostClass operator()(const T&) const { return CostClass::kOther; }
};

CostClass own_class(const Op& op) { return std::visit(OwnClass{}, op); }

bool is_linear(const Node& node) { return std::holds_alternative<Linear>(node.op); }

// The linear layer whose output reaches `value` through norms, rotations, scales and the like; or none.
Value linear_behind(const Graph& graph, Value value) {
  while (value && !is_linear(graph.node(value))) {
    const CostClass part = own_class(graph.node(value).op);
    const bool rotates = std::holds_alternative<Rope>(graph.node(value).op);
    const bool passes = part == CostClass::kNorms || part == CostClass::kOther || rotates;
    if (!passes || graph.node(value).input_count() != 1) return {};
    value = graph.node(value).inputs[0];
  }
  return value;
}

}  // namespace

const char* cost_class_name(CostClass part) {
  constexpr const char* kNames[kCostClasses] = {"attention", "dense ffn", "experts", "router",
                                                "head",      "embedding", "norms",   "other"};
  return kNames[static_cast<size_t>(part)];
}

std::vector<CostClass> cost_classes(const Graph& graph) {
  std::vector<CostClass> out;
  for (const Node& node : graph.nodes()) out.push_back(own_class(node.op));
  const auto mark = [&](Value linear, CostClass part) {
    if (linear) out[static_cast<size_t>(linear.node)] = part;
  };
  for (const Node& node : graph.nodes()) {
    const auto i = static_cast<size_t>(&node - graph.nodes().data());
    if (is_linear(node) && std::holds_alternative<Attention>(graph.node(node.inputs[0]).op)) out[i] = CostClass::kAttention;
    const bool attends = std::holds_alternative<Attention>(node.op) || std::holds_alternative<KvStore>(node.op);
    for (int j = 0; attends && j < node.input_count(); ++j) {
      mark(linear_behind(graph, node.inputs[static_cast<size_t>(j)]), CostClass::kAttention);
    }
    if (std::holds_alternative<Route>(node.op)) mark(linear_behind(graph, node.inputs[0]), CostClass::kRouter);
  }
  if (graph.output) mark(linear_behind(graph, graph.output), CostClass::kHead);
  return out;
}

PartCost& PartCost::operator+=(const PartCost& other) {
  parameters += other.parameters, active += other.active, stored_bytes += other.stored_bytes;
  bytes += other.bytes, flops += other.flops;
  return *this;
}

ModelCost model_cost(const Graph& graph, int64_t context) {
  const std::vector<CostClass> classes = cost_classes(graph);
  std::unordered_set<const std::byte*> seen, used_whole;
  for (const Node& node : graph.nodes()) {
    if (!std::holds_alternative<Embedding>(node.op)) each_weight(node.op, [&](const Tensor& t) { used_whole.insert(t.data); });
  }
  ModelCost cost;
  for (size_t i = 0; i < graph.nodes().size(); ++i) {
    const Node& node = graph.nodes()[i];
    PartCost part;
    const auto add = [&](const Tensor& t, double share) {
      if (!seen.insert(t.data).second) return;
      const auto elements = static_cast<double>(t.elements());
      part.parameters += elements, part.active += elements * share;
      part.stored_bytes += static_cast<double>(t.bytes());
    };
    each_weight(node.op, [&](const Tensor& t) {
      const bool looked_up = std::holds_alternative<Embedding>(node.op) && !used_whole.contains(t.data);
      add(t, looked_up ? 1.0 / static_cast<double>(t.rows()) : 1.0);
    });
    if (const auto* experts = std::get_if<Experts>(&node.op)) {
      const double share = static_cast<double>(graph.node(node.inputs[1]).cols) / experts->bank->size();
      each_expert_weight(*experts->bank, [&](const Tensor& t) { add(t, share); });
    }
    const Cost step = node_cost(graph, node, 1, context);
    part.bytes = step.weight_bytes, part.flops = step.flops;
    cost.parts[static_cast<size_t>(classes[i])] += part;
  }
  for (const PartCost& part : cost.parts) cost.total += part;
  return cost;
}

double training_flops(const Graph& graph, int64_t context, int64_t vocabulary) {
  const std::vector<CostClass> classes = cost_classes(graph);
  double total = 0;
  for (size_t i = 0; i < graph.nodes().size(); ++i) {
    const Node& node = graph.nodes()[i];
    const bool product = is_linear(node) || std::holds_alternative<Attention>(node.op) ||
                         std::holds_alternative<Experts>(node.op);
    if (!product || classes[i] == CostClass::kRouter) continue;
    const double flops = node_cost(graph, node, 1, context).flops;
    if (classes[i] != CostClass::kHead) {
      total += 4 * flops;
    } else {
      total += 3 * flops * (vocabulary > 0 ? static_cast<double>(vocabulary) / static_cast<double>(node.cols) : 1);
    }
  }
  return total;
}

}  // namespace moiety
