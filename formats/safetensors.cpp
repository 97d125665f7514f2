#include "formats/safetensors.h"

#include <map>
#include <utility>

#include "core/error.h"
#include "formats/safetensors_parse.h"

namespace moiety {
namespace {

namespace fs = std::filesystem;

constexpr const char* kIndexName = "model.safetensors.index.json";
constexpr const char* kSingleName = "model.safetensors";

auto entry_name(const SafetensorsFile& file) {
  return [&file](size_t i) -> std::string_view { return file.entries[i].name; };
}

SafetensorsFile open_single(const fs::path& path) {
  SafetensorsFile out;
  out.shards.push_back(std::make_shared<MappedFile>(path));
  SafetensorsShard shard = parse_safetensors(*out.shards[0]);
  out.entries = std::move(shard.entries);
  out.metadata = std::move(shard.metadata);
  out.index = NameIndex(out.entries.size(), entry_name(out));
  return out;
}

struct Mapped {
  std::string_view shard;
  bool found = false;
};

std::shared_ptr<MappedFile> open_shard(const fs::path& path, const std::string& index_name) {
  std::error_code code;
  if (!fs::exists(path, code)) {
    fail(Status::kIo, "{}: the shard is missing, but {} names it", printable(path.string()), printable(index_name));
  }
  return std::make_shared<MappedFile>(path);
}

SafetensorsFile open_indexed(const fs::path& path) {
  const MappedFile index_file(path);
  const SafetensorsIndex index = parse_safetensors_index(index_file);
  const std::string index_name = printable(index_file.name());
  std::map<std::string_view, Mapped> wanted;  // tensor -> shard
  std::map<std::string_view, uint32_t> shards;
  for (const auto& [tensor, shard] : index.weights) {
    wanted[tensor] = {shard, false};
    shards.emplace(shard, 0);
  }
  SafetensorsFile out;
  for (const auto& [name, number] : shards) {
    const auto file = open_shard(path.parent_path() / fs::path(name), index_file.name());
    SafetensorsShard shard = parse_safetensors(*file);
    for (SafetensorsEntry& entry : shard.entries) {
      const auto at = wanted.find(entry.name);
      if (at == wanted.end()) continue;
      if (at->second.shard != name) {
        fail(Status::kFormat, "{} @{:#x}: tensor '{}' stands here, but {} says it is in {}", printable(name),
             entry.offset, printable(entry.name), index_name, printable(at->second.shard));
      }
      at->second.found = true;
      entry.shard = static_cast<uint32_t>(out.shards.size());
      out.entries.push_back(std::move(entry));
    }
    if (out.shards.empty()) out.metadata = std::move(shard.metadata);
    out.shards.push_back(file);
  }
  for (const auto& [tensor, mapped] : wanted) {
    if (mapped.found) continue;
    fail(Status::kFormat, "{} @0x0: weight_map '{}': it is not in {}", index_name, printable(tensor),
         printable(mapped.shard));
  }
  out.index = NameIndex(out.entries.size(), entry_name(out));
  return out;
}

}  // namespace

SafetensorsFile open_safetensors(const fs::path& path) {
  std::error_code code;
  if (!fs::is_directory(path, code)) return path.extension() == ".json" ? open_indexed(path) : open_single(path);
  if (fs::exists(path / kIndexName, code)) return open_indexed(path / kIndexName);
  if (fs::exists(path / kSingleName, code)) return open_single(path / kSingleName);
  fail(Status::kIo, "{}: the folder has neither {} nor {}", printable(path.string()), kIndexName, kSingleName);
}

const SafetensorsEntry* SafetensorsFile::find(std::string_view name) const {
  const auto at = index.find(name, entry_name(*this));
  return at ? &entries[*at] : nullptr;
}

std::string SafetensorsFile::where(const SafetensorsEntry& entry) const {
  return fmt::format("{} @{:#x}: tensor '{}'", printable(shards[entry.shard]->name()), entry.offset,
                     printable(entry.name));
}

Tensor SafetensorsFile::view(const SafetensorsEntry& entry) const {
  if (!entry.dtype) {
    fail(Status::kFormat, "{} has the type {}, which is not supported (F32, F16, BF16, I32 are)", where(entry),
         printable(entry.dtype_name));
  }
  if (entry.shape.size() > kMaxRank)
    fail(Status::kFormat, "{} has rank {}, limit {}", where(entry), entry.shape.size(), kMaxRank);
  Tensor out;
  for (uint64_t dim : entry.shape) {
    if (dim == 0) fail(Status::kFormat, "{} dim {} is 0", where(entry), out.rank);
    out.shape[static_cast<size_t>(out.rank++)] = static_cast<int64_t>(dim);
  }
  if (out.rank == 0) out.shape[static_cast<size_t>(out.rank++)] = 1;
  out.data =
      const_cast<std::byte*>(shards[entry.shard]->bytes().data() + entry.offset);  // views are read-only by contract
  out.dtype = *entry.dtype;
  out.row_bytes = static_cast<int64_t>(dtype_bytes(out.dtype, out.cols()));
  return out;
}

}  // namespace moiety
