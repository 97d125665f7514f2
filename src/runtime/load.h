// load: a path becomes a model, whatever kind of files lie there.
#pragma once

#include <filesystem>
#include <memory>

#include "runtime/model.h"

namespace moiety {

enum class ModelKind : uint8_t { kHuggingFace, kGguf, kFairseq };

// What `path` is: a folder with config.json (Hugging Face), a folder with one .gguf model, a .gguf file (any shard), or
// a .safetensors file or index beside a config.json, or a fairseq checkpoint X.pt (which may not exist itself,
// fairseq_files.h) or a folder with one. `file` is what to open: the folder, or the .gguf or .pt file. Throws
// Error kIo if nothing is there, kInvalidArgument if it is none of these or several.
struct ModelLocation {
  ModelKind kind;
  std::filesystem::path file;
};
ModelLocation find_model(const std::filesystem::path& path);

// Maps and checks the files; nothing else is read. `vocabulary`: a folder for models that keep theirs apart (fairseq);
// naming one for any other model is an error. Throws Error.
ModelSource read_model(const std::filesystem::path& path, const std::filesystem::path& vocabulary = {});

// read_model, backends, plans. MOIETY_BACKENDS and MOIETY_SIMD reach the library through `options` only.
std::unique_ptr<Model> load_model(const std::filesystem::path& path, const ModelOptions& options = {});

}  // namespace moiety
