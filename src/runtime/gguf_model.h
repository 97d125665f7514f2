// A GGUF file as a model: metadata, tensors under their canonical names, tokenizer.
#pragma once

#include <filesystem>

#include "runtime/model.h"

namespace moiety {

// Any shard of a split file may be named. Throws Error kIo, kFormat, kUnsupported.
ModelSource read_gguf_model(const std::filesystem::path& path);

}  // namespace moiety
