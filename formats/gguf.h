// GGUF, versions 2 and 3, single and split files (-00001-of-0000N.gguf). Zero-copy: names, strings and arrays are views
// into the mapping; only the header's pages are read. Source: the GGUF specification of the ggml project.
// Every error is Error(kFormat) (kIo for a missing shard) and names file, byte offset and field.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/mapped_file.h"
#include "core/tensor.h"
#include "formats/name_index.h"

namespace moiety {

enum class GgufType : uint32_t {
  kU8 = 0,
  kI8 = 1,
  kU16 = 2,
  kI16 = 3,
  kU32 = 4,
  kI32 = 5,
  kF32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kU64 = 10,
  kI64 = 11,
  kF64 = 12,
};

const char* gguf_type_name(GgufType type);  // "u32", "string"
uint64_t gguf_type_bytes(GgufType type);    // of one value; 0 for strings and arrays

// One entry: a scalar (count 1) or an array of `count` values of `type`. Checked to lie inside the file.
struct GgufValue {
  std::string_view key;
  GgufType type = GgufType::kU8;  // of the elements
  bool is_array = false;
  uint64_t count = 0;
  std::span<const std::byte> data;  // the values as they stand in the file (strings: lengths and bytes)
};

// Typed access to the metadata. An integer of any width that holds the value is accepted, as converters differ. get_*
// is empty where the key is absent; require_* throws then; a value of another type or out of range always throws.
class GgufMetadata {
 public:
  GgufMetadata() = default;
  // `file` is the mapping that the values point into, used for names and offsets in errors.
  GgufMetadata(std::shared_ptr<const MappedFile> file, std::vector<GgufValue> values);

  std::span<const GgufValue> values() const { return values_; }  // in file order
  const GgufValue* find(std::string_view key) const;
  bool contains(std::string_view key) const { return find(key) != nullptr; }

  std::optional<uint64_t> get_u64(std::string_view key) const;
  std::optional<int64_t> get_i64(std::string_view key) const;
  std::optional<uint32_t> get_u32(std::string_view key) const;
  std::optional<float> get_f32(std::string_view key) const;  // f32 or f64; finite, else an error
  std::optional<bool> get_bool(std::string_view key) const;
  std::optional<std::string_view> get_string(std::string_view key) const;
  std::optional<std::vector<int64_t>> get_integers(std::string_view key) const;  // an array of any integers or bools
  std::optional<std::vector<float>> get_floats(std::string_view key) const;      // an array of f32 or f64
  std::optional<std::vector<std::string_view>> get_strings(std::string_view key) const;

  uint32_t require_u32(std::string_view key) const;
  // As require_u32, and the value must lie in [low, high].
  uint32_t require_u32(std::string_view key, uint32_t low, uint32_t high) const;
  float require_f32(std::string_view key) const;
  std::string_view require_string(std::string_view key) const;
  std::vector<std::string_view> require_strings(std::string_view key) const;

  // Throws Error(kFormat) "FILE @0xOFFSET: key 'KEY': WHAT"; for checks that a loader makes.
  [[noreturn]] void reject(std::string_view key, const std::string& what) const;
  std::string where(const GgufValue& value) const;  // "FILE @0xOFFSET: key 'KEY'"

 private:
  const GgufValue& require(std::string_view key) const;
  std::shared_ptr<const MappedFile> file_;
  std::vector<GgufValue> values_;
  NameIndex index_;
};

// Types of our own: the file's number of a type plus this, for a matrix in panels (core/panels.h). Other programs refuse
// a type that they do not know.
inline constexpr uint32_t kGgufPanels = 0x6d6f0000;

struct GgufTensor {
  std::string_view name;
  Layout layout = Layout::kRows;          // kPanels: rank 2, of a type that has panels
  std::optional<DType> dtype;             // nothing: a type that we do not compute with; type_name says which
  const char* type_name = "";             // as ggml calls it: "Q4_K", "IQ2_XS"
  uint32_t rank = 0;                      // 1 to 4
  std::array<int64_t, kMaxRank> shape{};  // outermost first (the file lists them innermost first); no zeros
  uint64_t offset = 0;                    // in its shard's file
  uint64_t bytes = 0;
  uint32_t shard = 0;
};

struct GgufFile {
  std::vector<std::shared_ptr<MappedFile>> shards;
  uint32_t version = 0;
  GgufMetadata metadata;            // of the first shard
  std::vector<GgufTensor> tensors;  // of all shards, in file order; no name twice

  const GgufTensor* find(std::string_view name) const;  // nullptr if absent
  // A read-only view of a tensor's bytes in the mapping; the file's data may start at any byte. Throws where the type
  // is not supported.
  Tensor view(const GgufTensor& tensor) const;
  std::string where(const GgufTensor& tensor) const;  // "FILE @0xOFFSET: tensor 'NAME'"

  NameIndex index;
};

// Opens a file; of a split model any shard may be named, and all are opened and checked against each other.
GgufFile open_gguf(const std::filesystem::path& path);

// The name of shard `number` (from 0) of `count`: prefix-00001-of-00003.gguf.
std::string gguf_shard_name(std::string_view prefix, uint32_t number, uint32_t count);

}  // namespace moiety
