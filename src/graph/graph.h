// Graph: the flat node vector of a model, built once, in execution order.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "graph/ops.h"

namespace moiety {

struct Value {
  int32_t node = -1;
  explicit operator bool() const { return node >= 0; }
  bool operator==(const Value&) const = default;
};

enum class Kind : uint8_t { kRows, kRouting, kKv };
enum class Extent : uint8_t { kTokens, kWanted };  // T rows, or N wanted rows

struct Node {
  Op op;
  std::array<Value, 3> inputs{};
  Kind kind = Kind::kRows;
  Extent extent = Extent::kTokens;
  int64_t cols = 0;  // kRows: columns; kRouting: top_k
  std::string name;  // "layers.3.mlp.experts": unique, for explain, diff and errors

  int input_count() const {
    int n = 0;
    while (n < 3 && inputs[static_cast<size_t>(n)]) ++n;
    return n;
  }
};

// What the graph needs of a session.
struct StateShape { int layers = 0, kv_heads = 0, head_dim = 0; };

class Graph {
 public:
  Value add(Node node);
  const std::vector<Node>& nodes() const { return nodes_; }
  std::vector<Node>& nodes() { return nodes_; }  // for passes over the graph, before a plan is made of it
  const Node& node(Value v) const { return nodes_[static_cast<size_t>(v.node)]; }
  void set_kind(Value v, Kind kind) { nodes_[static_cast<size_t>(v.node)].kind = kind; }
  void set_extent(Value v, Extent extent) { nodes_[static_cast<size_t>(v.node)].extent = extent; }
  Value output;      // logits [N,V]
  StateShape state;

 private:
  std::vector<Node> nodes_;
};

// Calls f(tensor) for the weights of an op (const Op& or Op&) outside expert banks.
template <class O, class F>
void each_weight(O& op, const F& f) {
  const auto give = [&](auto& t) {
    if (t) f(t);
  };
  std::visit(
      [&](auto& o) {
        if constexpr (requires { o.table; }) give(o.table);
        if constexpr (requires { o.weight; }) give(o.weight);
        if constexpr (requires { o.bias; }) give(o.bias);
        if constexpr (requires { o.sinks; }) give(o.sinks);
        if constexpr (requires { o.selection_bias; }) give(o.selection_bias);
      },
      op);
}

// Why an attention node does not fit its input or the cache (empty: it does).
std::string attention_misfit(const Graph& graph, const Node& node, const Attention& op);

// Bytes of weights read and floating-point operations done for `tokens` rows of one node, counted from its shapes.
// Experts count the experts that the routing of `tokens` rows touches at most: min(E, tokens * k).
struct Cost { double weight_bytes = 0, flops = 0; };
Cost node_cost(const Graph& graph, const Node& node, int64_t tokens, int64_t context);

}  // namespace moiety
