// WeightStore: owns the mapped shards (and any repacked copy) and gives const views by canonical name.
// Canonical names are those of the Hugging Face checkpoint ("model.layers.0.self_attn.q_proj.weight").
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/buffer.h"
#include "core/mapped_file.h"
#include "core/tensor.h"

namespace moiety {

// What a byte of model memory is: a view of the file, or a copy that somebody made.
enum class MemoryClass { kMapped, kCopy, kRepacked };

struct Weight {
  Tensor tensor;
  MemoryClass memory = MemoryClass::kMapped;
  std::string origin;     // "model-00001-of-00002.safetensors @0x1A40", for errors and `inspect`
  std::string file_name;  // the tensor's name in its file
};

// A tensor whose type we do not compute with: it is listed, and asking for it is an error.
struct UnsupportedWeight {
  std::string name, type;  // the type as the file's format calls it: "IQ2_XS"
  std::string shape;       // "[64, 256]"
  uint64_t bytes = 0;
  std::string origin;
};

class WeightStore {
 public:
  // Keeps a mapping alive as long as the store.
  void own(std::shared_ptr<MappedFile> file) { files_.push_back(std::move(file)); }
  // Keeps a copied or repacked buffer alive; returns its memory.
  std::byte* own(Buffer buffer);

  // Integers count as unsupported. Throws Error kFormat on a duplicate name.
  void add(std::string name, Weight weight);

  void add(UnsupportedWeight weight);

  // All three throw Error kUnsupported naming tensor and type if the type is not supported.
  const Weight* find(std::string_view name) const;     // nullptr if absent
  const Weight& require(std::string_view name) const;  // throws Error kFormat naming the tensor if absent
  bool contains(std::string_view name) const { return find(name) != nullptr; }

  size_t bytes(MemoryClass memory) const;
  // True if `at` lies in a mapped file.
  bool is_mapped(const std::byte* at) const { return file_of(at) != nullptr; }
  // The bytes behind an address in a mapped file, read past the mapping (MappedFile::read). Throws Error kIo.
  void read(const std::byte* at, std::span<std::byte> out) const;
  const std::vector<std::shared_ptr<MappedFile>>& files() const { return files_; }
  // In the order they were added.
  const std::vector<std::string>& names() const { return names_; }
  const std::vector<UnsupportedWeight>& unsupported() const { return unsupported_; }

 private:
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view s) const { return std::hash<std::string_view>{}(s); }
  };
  const MappedFile* file_of(const std::byte* at) const;
  std::vector<std::shared_ptr<MappedFile>> files_;
  std::vector<Buffer> buffers_;
  std::unordered_map<std::string, Weight, Hash, std::equal_to<>> weights_;
  std::vector<std::string> names_;
  std::vector<UnsupportedWeight> unsupported_;  // few or none
};

}  // namespace moiety
