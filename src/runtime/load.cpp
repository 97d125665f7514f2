#include "runtime/load.h"

#include <algorithm>
#include <set>

#include "backends/list.h"
#include "core/error.h"
#include "formats/output_file.h"
#include "runtime/fairseq_files.h"
#include "runtime/fairseq_model.h"
#include "runtime/gguf_model.h"
#include "runtime/hf_model.h"
#include "runtime/pack.h"
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
  if (!fs::is_directory(status) && is_fairseq_path(path)) return {ModelKind::kFairseq, path};
  if (!fs::exists(status)) fail(Status::kIo, "{}: no such file or folder", shown);
  if (fs::is_directory(status)) {
    if (fs::exists(path / "config.json", code)) return {ModelKind::kHuggingFace, path};
    if (const fs::path file = gguf_in(path); !file.empty()) return {ModelKind::kGguf, file};
    if (const fs::path file = fairseq_checkpoint_in(path); !file.empty()) return {ModelKind::kFairseq, file};
    fail(Status::kInvalidArgument, "{}: no config.json, no .gguf file and no .pt file in the folder", shown);
  }
  const std::string name = path.filename().string();
  const fs::path beside = path.has_parent_path() ? path.parent_path() : fs::path(".");
  if (name.ends_with(".gguf") && fs::exists(beside / "config.json", code) && same_file(path, packed_weights_in(beside)))
    return {ModelKind::kHuggingFace, beside};
  if (name.ends_with(".gguf")) return {ModelKind::kGguf, path};
  if (name.ends_with(".safetensors") || name.ends_with(".safetensors.index.json")) {
    const fs::path folder = path.has_parent_path() ? path.parent_path() : fs::path(".");
    if (!fs::exists(folder / "config.json", code))
      fail(Status::kInvalidArgument, "{}: no config.json beside it", shown);
    return {ModelKind::kHuggingFace, folder};
  }
  fail(Status::kInvalidArgument, "{}: expected a model folder, a .gguf, .safetensors or .pt file", shown);
}

namespace {

ModelSource read_located(const ModelLocation& location, const fs::path& vocabulary) {
  switch (location.kind) {
    case ModelKind::kGguf: return read_gguf_model(location.file);
    case ModelKind::kFairseq: return read_fairseq_model(location.file, vocabulary);
    case ModelKind::kHuggingFace: break;
  }
  return read_hf_model(location.file);
}

}  // namespace

ModelSource read_model(const fs::path& path, const fs::path& vocabulary) {
  const ModelLocation location = find_model(path);
  if (!vocabulary.empty() && location.kind != ModelKind::kFairseq)
    fail(Status::kInvalidArgument, "{}: the model has its vocabulary with it, a folder for it is for fairseq checkpoints",
         printable(path.string()));
  ModelSource source = read_located(location, vocabulary);
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
  ModelSource source = read_model(path, options.vocabulary);
  poll(0.4f);
  return std::make_unique<Model>(std::move(source), std::move(backends), options);
}

}  // namespace moiety
