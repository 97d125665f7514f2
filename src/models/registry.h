// The architectures that can be run. A new model is one file and one word in the list of registry.cpp.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "models/parts.h"

namespace moiety {

struct Architecture {
  std::string_view name;          // config.json's model_type: "olmoe"
  std::string_view class_name;    // config.json's architectures[0]: "OlmoeForCausalLM"
  Value (*decode)(const Wiring& m, const WeightStore& store);  // ids -> logits [N,V]
  std::vector<Config> (*tiny)();  // small configurations that exercise every option, for tests
  bool gate_options = false;      // its gates follow GateOptions
};

std::span<const Architecture* const> architectures();
const Architecture* find_architecture(std::string_view name_or_class);  // nullptr if unknown

// The graph of a model: shapes are checked here, errors name the tensor. `banks` must outlive the graph. Gate options
// that change routes are refused (kUnsupported) where a model has experts and its gates do not follow them.
Graph build_graph(const Config& config, const WeightStore& store, int64_t context, Banks& banks,
                  const GateOptions& gate = {});

// A small configuration to vary: 2 layers, width 64, 4 heads of 16 (2 kv), vocabulary 97.
Config tiny_base(std::string_view architecture);

}  // namespace moiety
