// One safetensors file and one index, parsed and checked; open_safetensors() puts shards together.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "formats/safetensors.h"

namespace moiety {

struct SafetensorsShard {
  std::vector<SafetensorsEntry> entries;  // no name twice; they cover the data exactly
  std::vector<std::pair<std::string, std::string>> metadata;
};

SafetensorsShard parse_safetensors(const MappedFile& file);

struct SafetensorsIndex {
  std::vector<std::pair<std::string, std::string>> weights;  // tensor name, shard's base name; no tensor twice
};

SafetensorsIndex parse_safetensors_index(const MappedFile& file);

}  // namespace moiety
