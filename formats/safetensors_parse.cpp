#include "formats/safetensors_parse.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "core/checked.h"
#include "core/error.h"
#include "formats/json_reader.h"

namespace moiety {
namespace {

constexpr uint64_t kMaxHeader = 100'000'000;
constexpr int kHeaderDepth = 4, kIndexDepth = 8;
constexpr size_t kMaxRankInFile = 64;

struct FileType {
  const char* name;
  uint32_t bits;
  std::optional<DType> dtype;
};

constexpr FileType kFileTypes[] = {
    {"F32", 32, DType::kF32},
    {"F16", 16, DType::kF16},
    {"BF16", 16, DType::kBF16},
    {"I32", 32, DType::kI32},
    {"BOOL", 8, {}},
    {"U8", 8, {}},
    {"I8", 8, {}},
    {"F8_E4M3", 8, {}},
    {"F8_E5M2", 8, {}},
    {"F8_E8M0", 8, {}},
    {"F4", 4, {}},
    {"F6_E2M3", 6, {}},
    {"F6_E3M2", 6, {}},
    {"I16", 16, {}},
    {"U16", 16, {}},
    {"U32", 32, {}},
    {"F64", 64, {}},
    {"I64", 64, {}},
    {"U64", 64, {}},
    {"C64", 64, {}},
};

const FileType* file_type(std::string_view name) {
  for (const FileType& type : kFileTypes) {
    if (name == type.name) return &type;
  }
  return nullptr;
}

// Bytes that shape and type ask for; nothing if that exceeds 2^64 or is no whole number of bytes.
std::optional<uint64_t> needed_bytes(const SafetensorsEntry& entry, const FileType& type) {
  uint64_t count = 1;
  if (std::find(entry.shape.begin(), entry.shape.end(), 0u) != entry.shape.end()) return 0;
  for (uint64_t dim : entry.shape) {
    const auto product = checked_mul(count, dim);
    if (!product) return std::nullopt;
    count = *product;
  }
  const auto bits = checked_mul(count, type.bits);
  if (!bits || *bits % 8 != 0) return std::nullopt;
  return *bits / 8;
}

class HeaderParser {
 public:
  HeaderParser(const MappedFile& file, uint64_t header)
      : file_(file), data_(8 + header), json_(file, 8, header, kHeaderDepth) {}

  SafetensorsShard parse() {
    bool has_metadata = false;
    json_.root([&](std::string_view key, JsonReader::Value value) {
      if (key != "__metadata__") return read_entry(key, value);
      if (has_metadata) json_.error("the key '__metadata__' stands twice");
      has_metadata = true;
      json_.object(value, {"__metadata__"}, [&](std::string_view name, JsonReader::Value text) {
        shard_.metadata.emplace_back(name, json_.string(text, {"__metadata__", name}));
      });
    });
    check_names();
    check_cover();
    return std::move(shard_);
  }

 private:
  void read_entry(std::string_view name, JsonReader::Value value) {
    SafetensorsEntry entry;
    entry.name = name;
    if (name.empty()) json_.error("a tensor has no name");
    bool has_shape = false, has_dtype = false;
    std::vector<uint64_t> offsets;
    json_.object(value, {"tensor", name}, [&](std::string_view key, JsonReader::Value inner) {
      const JsonField field{"tensor", name, key};
      if (key == "dtype") {
        entry.dtype_name = json_.string(inner, field);
        has_dtype = true;
      } else if (key == "shape") {
        entry.shape = integers(inner, field);
        has_shape = true;
      } else if (key == "data_offsets") {
        offsets = integers(inner, field);
      } else {
        json_.error(JsonField{"tensor", name}.text() + fmt::format(": unknown key '{}'", printable(key)));
      }
    });
    if (!has_dtype) json_.error(JsonField{"tensor", name}.text() + " has no dtype");
    if (!has_shape) json_.error(JsonField{"tensor", name}.text() + " has no shape");
    if (offsets.size() != 2)
      json_.error(
          fmt::format("{} data_offsets: expected 2 numbers, got {}", JsonField{"tensor", name}.text(), offsets.size()));
    place(entry, offsets[0], offsets[1]);
    shard_.entries.push_back(std::move(entry));
  }

  std::vector<uint64_t> integers(JsonReader::Value value, const JsonField& field) {
    std::vector<uint64_t> out;
    json_.array(value, field, [&](JsonReader::Value element) {
      if (out.size() == kMaxRankInFile)
        json_.error(fmt::format("{}: more than {} values", field.text(), kMaxRankInFile));
      out.push_back(json_.unsigned_integer(element, field));
    });
    return out;
  }

  void place(SafetensorsEntry& entry, uint64_t begin, uint64_t end) {
    const JsonField subject{"tensor", entry.name};
    const uint64_t size = file_.size() - data_;
    if (begin > end || end > size) {
      json_.error(fmt::format("{} data_offsets: [{}, {}) does not lie in the {} bytes of data", subject.text(), begin,
                              end, size));
    }
    entry.offset = data_ + begin;
    entry.bytes = end - begin;
    const FileType* type = file_type(entry.dtype_name);
    if (!type) return;
    entry.dtype = type->dtype;
    const auto needed = needed_bytes(entry, *type);
    if (!needed || *needed != entry.bytes) {
      json_.error(fmt::format("{} shape: it needs {} bytes, data_offsets give {}", subject.text(),
                              needed ? std::to_string(*needed) : "more than 2^64 or no whole number of", entry.bytes));
    }
  }

  void check_names() {
    const NameIndex names(shard_.entries.size(), [&](size_t i) -> std::string_view { return shard_.entries[i].name; });
    if (const auto twice = names.duplicate()) {
      json_.error_at(8, fmt::format("tensor '{}' stands twice", printable(shard_.entries[twice->second].name)));
    }
  }

  // No hole, no overlap, nothing behind the last tensor.
  void check_cover() {
    std::vector<uint32_t> order(shard_.entries.size());
    std::iota(order.begin(), order.end(), 0u);
    std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) {
      const SafetensorsEntry &x = shard_.entries[a], &y = shard_.entries[b];
      return x.offset != y.offset ? x.offset < y.offset : x.bytes < y.bytes;
    });
    uint64_t expected = data_;
    for (uint32_t i : order) {
      const SafetensorsEntry& entry = shard_.entries[i];
      if (entry.offset != expected) {
        json_.error_at(entry.offset,
                       fmt::format("tensor '{}' begins {} the end of the one before, at {:#x}", printable(entry.name),
                                   entry.offset < expected ? "before" : "behind", expected));
      }
      expected = entry.offset + entry.bytes;
    }
    if (expected != file_.size()) {
      json_.error_at(expected, fmt::format("{} bytes stand behind the last tensor", file_.size() - expected));
    }
  }

  const MappedFile& file_;
  uint64_t data_;  // where the data begins in the file
  JsonReader json_;
  SafetensorsShard shard_;
};

void check_base_name(const JsonReader& json, std::string_view tensor, const std::string& name) {
  const bool plain = !name.empty() && name != "." && name != ".." && name.size() <= 255 &&
                     name.find_first_of(std::string_view("/\\\0", 3)) == std::string::npos;
  if (!plain) {
    json.error(
        fmt::format("weight_map '{}': expected a plain file name, got '{}'", printable(tensor), printable(name)));
  }
}

}  // namespace

SafetensorsShard parse_safetensors(const MappedFile& file) {
  const std::string name = printable(file.name());
  if (file.size() < 8)
    fail(Status::kFormat, "{} @0x0: header length needs 8 bytes, the file has {}", name, file.size());
  uint64_t header;
  std::memcpy(&header, file.bytes().data(), 8);
  if (header > kMaxHeader) fail(Status::kFormat, "{} @0x0: header length is {}, limit {}", name, header, kMaxHeader);
  if (header > file.size() - 8) {
    fail(Status::kFormat, "{} @0x0: header length is {}, but {} bytes remain", name, header, file.size() - 8);
  }
  if (header == 0 || static_cast<char>(file.bytes()[8]) != '{')
    fail(Status::kFormat, "{} @0x8: the header does not begin with '{{'", name);
  return HeaderParser(file, header).parse();
}

SafetensorsIndex parse_safetensors_index(const MappedFile& file) {
  if (file.size() == 0 || file.size() > kMaxHeader) {
    fail(Status::kFormat, "{} @0x0: the index has {} bytes, expected 1 to {}", printable(file.name()), file.size(),
         kMaxHeader);
  }
  SafetensorsIndex index;
  JsonReader json(file, 0, file.size(), kIndexDepth);
  std::vector<std::string_view> seen;
  json.root([&](std::string_view key, JsonReader::Value value) {
    if (std::find(seen.begin(), seen.end(), key) != seen.end())
      json.error(fmt::format("the key '{}' stands twice", printable(key)));
    if (seen.size() == 64) json.error("more than 64 keys");
    seen.push_back(key);
    if (key != "weight_map") return json.skip(value, {"key", key});
    json.object(value, {"weight_map"}, [&](std::string_view tensor, JsonReader::Value shard) {
      index.weights.emplace_back(tensor, json.string(shard, {"weight_map", tensor}));
      check_base_name(json, tensor, index.weights.back().second);
    });
  });
  if (index.weights.empty()) json.error_at(0, "weight_map is missing or empty");
  return index;
}

}  // namespace moiety
