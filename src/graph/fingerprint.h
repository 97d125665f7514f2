// What a graph computes, in 64 bits: its operations, their parameters, and the types, shapes and a sample of the values
// of their weights (all of them would mean to read a model of gigabytes). The graphs of one model file agree whatever
// runs them.
#pragma once

#include <cstdint>

#include "graph/graph.h"

namespace moiety {

uint64_t fingerprint(const Graph& graph);

}  // namespace moiety
