#include "formats/gguf.h"

#include <optional>
#include <utility>

#include "core/error.h"
#include "core/panels.h"
#include "formats/gguf_parse.h"

namespace moiety {
namespace {

namespace fs = std::filesystem;

constexpr uint32_t kMaxShards = 99999;

struct ShardName {
  std::string prefix;
  uint32_t number = 0, count = 0;  // number from 1, as the name has it
};

// "prefix-00002-of-00003.gguf"
std::optional<ShardName> parse_shard_name(const std::string& name) {
  constexpr std::string_view kPattern = "-#####-of-#####.gguf";
  if (name.size() < kPattern.size()) return std::nullopt;
  const std::string_view tail = std::string_view(name).substr(name.size() - kPattern.size());
  ShardName out;
  for (size_t i = 0; i < kPattern.size(); ++i) {
    if (kPattern[i] != '#') {
      if (tail[i] != kPattern[i]) return std::nullopt;
      continue;
    }
    if (tail[i] < '0' || tail[i] > '9') return std::nullopt;
    uint32_t& number = i < 9 ? out.number : out.count;
    number = number * 10 + static_cast<uint32_t>(tail[i] - '0');
  }
  out.prefix = name.substr(0, name.size() - kPattern.size());
  return out;
}

// How many shards the model has, from the metadata and the name of the shard that was given.
uint32_t shard_count(const GgufShard& shard, const std::optional<ShardName>& name) {
  const std::string file = printable(shard.file->name());
  const std::optional<uint32_t> count = shard.metadata.get_u32("split.count");
  if (!count || *count <= 1) {
    if (name && name->count > 1) {
      fail(Status::kFormat, "{} @0x0: the name says shard {} of {}, but split.count {}", file, name->number,
           name->count, count ? fmt::format("is {}", *count) : "is missing");
    }
    if (count && *count == 0) shard.metadata.reject("split.count", "expected at least 1, got 0");
    return 1;
  }
  if (*count > kMaxShards) shard.metadata.reject("split.count", fmt::format("is {}, limit {}", *count, kMaxShards));
  if (!name) {
    shard.metadata.reject("split.count",
                          fmt::format("is {}, so the name must end in -00001-of-{:05}.gguf", *count, *count));
  }
  if (name->count != *count) {
    shard.metadata.reject("split.count", fmt::format("is {}, but the name says {}", *count, name->count));
  }
  return *count;
}

void check_shard(const GgufShard& shard, uint32_t number, uint32_t count) {
  const uint32_t no = shard.metadata.require_u32("split.no"), its_count = shard.metadata.require_u32("split.count");
  if (its_count != count)
    shard.metadata.reject("split.count", fmt::format("is {}, but the other shards say {}", its_count, count));
  if (no != number) {
    shard.metadata.reject("split.no",
                          fmt::format("is {} (from 0), but the name says shard {} (from 1)", no, number + 1));
  }
}

GgufShard open_shard(const fs::path& path, uint32_t number, uint32_t count) {
  std::error_code code;
  if (!fs::exists(path, code)) {
    fail(Status::kIo, "{}: shard {} of {} is missing", printable(path.string()), number + 1, count);
  }
  return parse_gguf(std::make_shared<MappedFile>(path));
}

void append(GgufFile& out, GgufShard shard) {
  const auto number = static_cast<uint32_t>(out.shards.size());
  for (GgufTensor& tensor : shard.tensors) {
    tensor.shard = number;
    out.tensors.push_back(tensor);
  }
  if (number == 0) {
    out.version = shard.version;
    out.metadata = std::move(shard.metadata);
  }
  out.shards.push_back(std::move(shard.file));
}

void finish(GgufFile& out) {
  out.index = NameIndex(out.tensors.size(), [&](size_t i) { return out.tensors[i].name; });
  if (const auto twice = out.index.duplicate()) {
    const GgufTensor &first = out.tensors[twice->first], &second = out.tensors[twice->second];
    const std::string& file = printable(out.shards[second.shard]->name());
    const auto* base = reinterpret_cast<const char*>(out.shards[second.shard]->bytes().data());
    fail(Status::kFormat, "{} @{:#x}: tensor '{}' stands twice{}", file, second.name.data() - base,
         printable(second.name),
         first.shard == second.shard ? "" : fmt::format(", first in {}", printable(out.shards[first.shard]->name())));
  }
}

}  // namespace

std::string gguf_shard_name(std::string_view prefix, uint32_t number, uint32_t count) {
  return fmt::format("{}-{:05}-of-{:05}.gguf", prefix, number + 1, count);
}

GgufFile open_gguf(const fs::path& path) {
  GgufShard named = parse_gguf(std::make_shared<MappedFile>(path));
  const std::optional<ShardName> name = parse_shard_name(path.filename().string());
  const uint32_t count = shard_count(named, name);
  GgufFile out;
  if (count == 1) {
    append(out, std::move(named));
    finish(out);
    return out;
  }
  if (name->number < 1 || name->number > count) {
    named.metadata.reject("split.count", fmt::format("is {}, but the name says shard {}", count, name->number));
  }
  std::optional<uint32_t> total;
  for (uint32_t i = 0; i < count; ++i) {
    GgufShard shard = i + 1 == name->number
                          ? std::move(named)
                          : open_shard(path.parent_path() / gguf_shard_name(name->prefix, i, count), i, count);
    check_shard(shard, i, count);
    const std::optional<uint32_t> its_total = shard.metadata.get_u32("split.tensors.count");
    if (!total) total = its_total;
    if (its_total && *its_total != *total) {
      shard.metadata.reject("split.tensors.count", fmt::format("is {}, but another shard says {}", *its_total, *total));
    }
    append(out, std::move(shard));
  }
  if (!total) out.metadata.reject("split.tensors.count", "is missing");
  if (*total != out.tensors.size()) {
    out.metadata.reject("split.tensors.count",
                        fmt::format("is {}, but the shards have {}", *total, out.tensors.size()));
  }
  finish(out);
  return out;
}

const GgufTensor* GgufFile::find(std::string_view name) const {
  const auto at = index.find(name, [&](size_t i) { return tensors[i].name; });
  return at ? &tensors[*at] : nullptr;
}

Tensor GgufFile::view(const GgufTensor& tensor) const {
  if (!tensor.dtype) {
    fail(Status::kUnsupported, "{} has the type {}, which is not supported", where(tensor), tensor.type_name);
  }
  Tensor out;
  out.data =
      const_cast<std::byte*>(shards[tensor.shard]->bytes().data() + tensor.offset);  // views are read-only by contract
  if (tensor.layout == Layout::kPanels) return make_panels(out.data, *tensor.dtype, tensor.shape[0], tensor.shape[1]);
  out.dtype = *tensor.dtype;
  out.rank = static_cast<int>(tensor.rank);
  out.shape = tensor.shape;
  out.row_bytes = static_cast<int64_t>(dtype_bytes(out.dtype, out.cols()));
  return out;
}

std::string GgufFile::where(const GgufTensor& tensor) const {
  return fmt::format("{} @{:#x}: tensor '{}'", printable(shards[tensor.shard]->name()), tensor.offset,
                     printable(tensor.name));
}

}  // namespace moiety
