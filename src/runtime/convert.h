// Conversion of a fairseq checkpoint: a hub-style folder (config.json, safetensors shards with their index, the
// tokenizer's three files) or GGUF (one file, or split). Weights keep their types and every bit. Each file appears whole
// or not at all; a conversion that was stopped goes on with the first file that is missing.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "core/cancel.h"
#include "runtime/model.h"

namespace moiety {

struct ConvertOptions {
  uint64_t shard_bytes = uint64_t{5} << 30;        // of the weights in a file, at most (one tensor may have more)
  std::function<void(double)> progress{};          // told the part of the bytes that is done; may be empty
  const CancelToken* cancel = nullptr;             // Error kCancelled; files that are complete stay
  std::vector<std::filesystem::path> vocabulary{};  // dict.txt, encoder.json, vocab.bpe (fairseq_model.h), or none
};

struct ConvertResult {
  std::vector<std::filesystem::path> files;  // of the converted model, all of them
  size_t kept = 0;                           // of those that were there already
  uint64_t bytes = 0;                        // of the weights
};

// `output`: NAME.gguf, or a folder, made if it is not there. The source is a fairseq checkpoint or such a folder. Throws
// Error kUnsupported for another,
// kInvalidArgument if a file of another model stands in the way or is the model's own, kIo.
ConvertResult convert_model(const ModelSource& source, const std::filesystem::path& output, const ConvertOptions& options = {});

}  // namespace moiety
