// The vocabulary in a GGUF file's metadata (tokenizer.ggml.*), checked: a tokenizer may index with these numbers.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "formats/gguf.h"

namespace moiety {

struct GgufVocabulary {
  std::string_view model;                // tokenizer.ggml.model: "gpt2", "llama"
  std::vector<std::string_view> tokens;  // views into the mapping, at most 64 KiB each
  std::vector<float> scores;             // as many as tokens, all finite, or empty
  std::vector<int32_t> types;            // as many as tokens, or empty
  std::vector<std::string_view> merges;
  std::optional<uint32_t> bos, eos;               // below tokens.size()
  std::optional<uint32_t> unknown, padding, eot;  // absent where the file's id is out of range: -1 is common
};

// Throws Error(kFormat) naming the key: no tokens, lengths that differ, ids out of range, a token of over 64 KiB.
GgufVocabulary check_gguf_vocabulary(const GgufMetadata& metadata);

}  // namespace moiety
