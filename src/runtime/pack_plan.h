// Which tensors a packed model has, in the order of its files.
#pragma once

#include <string>
#include <vector>

#include "runtime/model.h"

namespace moiety {

struct PackItem {
  std::string name;
  Tensor from;
  Tensor to;  // its form in the file; no data

  uint64_t bytes() const { return to.bytes(); }
};

// The dense part as the store has it, then the experts, layer by layer: gate, up and down of each together. Matrices of
// experts and linear layers are in panels if their type has them, but for a table that is also read row by row. An
// expert that the file keeps in one tensor with others becomes PREFIX.experts.ID.ROLE.weight. Throws Error where the
// model's graph can't be built.
std::vector<PackItem> packed_items(const ModelSource& source);

}  // namespace moiety
