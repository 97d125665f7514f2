// A Hugging Face folder as a model: config.json, safetensors (single or sharded) or packed weights (pack.h),
// tokenizer.json.
#pragma once

#include <filesystem>

#include "runtime/model.h"

namespace moiety {

// The folder may lack a tokenizer: it then runs on token ids. Throws Error kIo, kFormat, kUnsupported.
ModelSource read_hf_model(const std::filesystem::path& folder);

}  // namespace moiety
