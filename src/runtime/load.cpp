#include "runtime/load.h"

#include <algorithm>
#include <set>

#include "backends/list.h"
#include "core/error.h"
#include "runtime/gguf_model.h"
#include "runtime/hf_model.h"
#include "text/tokenizer.h"

namespace moiety {

namespace fs = std::filesystem;

namespace {

// A folder's GGUF model: one file, or the first of one set of shards.
fs::path gguf_in(const fs::path& folder) {
  std::set<std::string> prefixes;
  std::set<fs::path> files;
  std::error_code code;
  for (const auto& entry : fs::directory_iterator(folder, code)) {
    if (entry.path().extension() != ".gguf") continue;
    const std::string name = entry.path().stem().string();
    constexpr size_t kTail = 15;  // "-00001-of-00003"
    const bool shard = name.size() > kTail && name.compare(name.size() - 9, 4, "-of-") == 0;
    prefixes.insert(shard ? name.substr(0, name.size() - kTail) : name);
    files.insert(entry.path());
  }
  if (files.empty()) return {};
  if (prefixes.size() > 1) {
    fail(Status::kInvalidArgument, "{}: {} GGUF models in one folder, name one of the files",
         printable(folder.string()), prefixes.size());
  }
  return *files.begin();
}

}  // namespace

ModelLocation find_model(const fs::path& path) {
  std::error_code code;
  const fs::file_status status = fs::status(path, code);
  const std::string shown = printable(path.string());
  if (!fs::exists(status)) fail(Status::kIo, "{}: no such file or folder", shown);
  if (fs::is_directory(status)) {
    if (fs::exists(path / "config.json", code)) return {ModelKind::kHuggingFace, path};
    if (const fs::path file = gguf_in(path); !file.empty()) return {ModelKind::kGguf, file};
    fail(Status::kInvalidArgument, "{}: no config.json and no .gguf file in the folder", shown);
  }
  const std::string name = path.filename().string();
  if (name.ends_with(".gguf")) return {ModelKind::kGguf, path};
  if (name.ends_with(".safetensors") || name.ends_with(".safetensors.index.json")) {
    const fs::path folder = path.has_parent_path() ? path.parent_path() : fs::path(".");
    if (!fs::exists(folder / "config.json", code))
      fail(Status::kInvalidArgument, "{}: no config.json beside it", shown);
    return {ModelKind::kHuggingFace, folder};
  }
  fail(Status::kInvalidArgument, "{}: expected a model folder, a .gguf file or a .safetensors file", shown);
}

ModelSource read_model(const fs::path& path) {
  const ModelLocation location = find_model(path);
  ModelSource source =
      location.kind == ModelKind::kGguf ? read_gguf_model(location.file) : read_hf_model(location.file);
  if (source.tokenizer) {  // its end-of-turn tokens end a text too
    std::vector<int32_t>& stops = source.config.stop_ids;
    std::set<int32_t> all(stops.begin(), stops.end());
    all.insert(source.tokenizer->end_ids().begin(), source.tokenizer->end_ids().end());
    stops.assign(all.begin(), all.end());
  }
  return source;
}

std::unique_ptr<Model> load_model(const fs::path& path, const ModelOptions& options) {
  const auto poll = [&](float done) {
    const bool cancelled =
        (options.cancel && options.cancel->cancelled()) || (options.progress && !options.progress(done));
    if (cancelled) fail(Status::kCancelled, "loading {} was cancelled", printable(path.string()));
  };
  poll(0);
  auto backends = make_backends(options.backends, options.simd);
  ModelSource source = read_model(path);
  poll(0.4f);
  return std::make_unique<Model>(std::move(source), std::move(backends), options);
}

}  // namespace moiety
