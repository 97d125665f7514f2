// safetensors: one file, or a folder with model.safetensors.index.json. Zero-copy: only headers are read, tensors stay
// in the mapping. Source: the format description of the safetensors project. Every error is Error(kFormat) (kIo for a
// missing file) and names file, byte offset and field.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/mapped_file.h"
#include "core/tensor.h"
#include "formats/name_index.h"

namespace moiety {

struct SafetensorsEntry {
  std::string name;
  std::optional<DType> dtype;      // nothing: a type that we do not compute with; dtype_name says which
  std::string dtype_name;          // as the file spells it: "BF16", "F8_E4M3"
  std::vector<uint64_t> shape;     // outermost first; [] is one value, zeros are allowed
  uint64_t offset = 0, bytes = 0;  // in its shard's file; the offset may be any byte
  uint32_t shard = 0;
};

struct SafetensorsFile {
  std::vector<std::shared_ptr<MappedFile>> shards;
  std::vector<SafetensorsEntry> entries;                      // in header order, shard by shard; no name twice
  std::vector<std::pair<std::string, std::string>> metadata;  // __metadata__ of the first shard

  const SafetensorsEntry* find(std::string_view name) const;  // nullptr if absent
  // A read-only view in the mapping. Throws where the type is not supported, the rank is above 4 or a dim is 0.
  Tensor view(const SafetensorsEntry& entry) const;
  std::string where(const SafetensorsEntry& entry) const;  // "FILE @0xOFFSET: tensor 'NAME'"

  NameIndex index;
};

// `path`: a .safetensors file, an index file (.json), or a folder that holds model.safetensors.index.json or
// model.safetensors. Of an indexed model every shard is opened and checked against the index; tensors of a shard that
// the index does not name are left out.
SafetensorsFile open_safetensors(const std::filesystem::path& path);

}  // namespace moiety
