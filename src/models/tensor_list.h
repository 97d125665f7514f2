// The tensors that a checkpoint of a configuration has, by canonical name: what a model weighs, without its weights.
#pragma once

#include <string>
#include <vector>

#include "models/config.h"
#include "weights/weight_store.h"

namespace moiety {

struct TensorSpec {
  std::string name;
  std::vector<int64_t> shape;
};

// Throws Error kUnsupported for an architecture that has no row in the table of tensor_list.cpp.
std::vector<TensorSpec> tensor_list(const Config& config);

// A store of those tensors, all of `type`, whose data lie nowhere: a graph can be built over it, never run.
WeightStore weightless_store(const Config& config, DType type);

}  // namespace moiety
