// Builder: how a model file writes its graph. Shapes are checked here, once, with the tensor's name in the error.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "graph/graph.h"
#include "weights/weight_store.h"

namespace moiety {

// A prefix in the weight store: w["q_proj"] is the tensor "<prefix>.q_proj.weight" (or "<prefix>.q_proj").
class Scope {
 public:
  Scope(const WeightStore& store, std::string prefix) : store_(&store), prefix_(std::move(prefix)) {}
  Scope in(std::string_view name) const;
  bool has(std::string_view name) const;               // "<prefix>.<name>.weight" or "<prefix>.<name>" is there
  Tensor operator[](std::string_view name) const;      // throws Error kFormat when absent
  Tensor bias(std::string_view name) const;            // "<prefix>.<name>.bias", or an absent tensor
  const std::string& prefix() const { return prefix_; }
  const WeightStore& store() const { return *store_; }

 private:
  const WeightStore* store_;
  std::string prefix_;
};

class Builder {
 public:
  explicit Builder(Graph& graph) : graph_(graph) {}

  void set_name(std::string prefix) { prefix_ = std::move(prefix); }  // of the nodes that follow: "layers.3"

  Value embedding(Tensor table, float scale = 1);
  Value rms_norm(Value x, Tensor weight, float eps, int groups = 1, std::string_view name = "norm");
  Value layer_norm(Value x, Tensor weight, Tensor bias, float eps, std::string_view name = "norm");
  Value linear(Value x, Tensor weight, Tensor bias = {}, std::string_view name = "linear");
  Value clamp(Value x, float limit);
  Value scale(Value x, float factor);                // returns x when factor is 1
  Value add(Value a, Value b, float scale = 1);
  Value act(Value x, Activation kind);
  Value glu(Value gate, Value up, Glu op = {});
  Value rope(Value x, Rope op);
  Value add_sinusoid(Value x, std::vector<float> frequencies, int offset);
  Value kv_store(Value k, Value v, int layer);
  Value attention(Value q, Value kv, Attention op);
  Value route(Value logits, Route op);
  Value experts(Value x, Value routing, Experts op);
  Value wanted_rows(Value x);                        // returns x when it is [N, ...] already

  const Node& node(Value v) const { return graph_.node(v); }

 private:
  Value push(Op op, std::array<Value, 3> inputs, int64_t cols, std::string_view name);
  Graph& graph_;
  std::string prefix_;
  std::unordered_map<std::string, int> names_;  // how often each was given: a second "rope" becomes "rope.2"
};

}  // namespace moiety
