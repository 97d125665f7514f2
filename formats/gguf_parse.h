// One GGUF file, parsed and checked; open_gguf() puts shards together.
#pragma once

#include <memory>
#include <vector>

#include "formats/gguf.h"

namespace moiety {

struct GgufShard {
  std::shared_ptr<MappedFile> file;
  uint32_t version = 0;
  GgufMetadata metadata;
  std::vector<GgufTensor> tensors;  // no name twice, regions inside the file and disjoint
};

GgufShard parse_gguf(std::shared_ptr<MappedFile> file);

}  // namespace moiety
