// load: a path becomes a model, whatever kind of files lie there.
#pragma once

#include <filesystem>
#include <memory>

#include "runtime/model.h"

namespace moiety {

enum class ModelKind : uint8_t { kHuggingFace, kGguf };

// What `path` is: a folder with config.json (Hugging Face), a folder with one .gguf model, a .gguf file (any shard), or
// a .safetensors file or index beside a config.json. `file` is what to open: the folder, or the .gguf file. Throws
// Error kIo if nothing is there, kInvalidArgument if it is none of these or several.
struct ModelLocation {
  ModelKind kind;
  std::filesystem::path file;
};
ModelLocation find_model(const std::filesystem::path& path);

// Maps and checks the files; nothing else is read. Throws Error.
ModelSource read_model(const std::filesystem::path& path);

// read_model, backends, plans. MOIETY_BACKENDS and MOIETY_SIMD reach the library through `options` only.
std::unique_ptr<Model> load_model(const std::filesystem::path& path, const ModelOptions& options = {});

}  // namespace moiety
