#include "formats/gguf_vocabulary.h"

#include <cmath>
#include <string>

#include "core/error.h"

namespace moiety {
namespace {

constexpr size_t kMaxToken = 64 * 1024;

void check_length(const GgufMetadata& metadata, const char* key, size_t length, size_t tokens) {
  if (length != tokens) metadata.reject(key, fmt::format("has {} values, but there are {} tokens", length, tokens));
}

std::optional<uint32_t> required_range(const GgufMetadata& metadata, const char* key, size_t tokens) {
  const auto id = metadata.get_u64(key);
  if (!id) return std::nullopt;
  if (*id >= tokens) metadata.reject(key, fmt::format("is {}, but there are {} tokens", *id, tokens));
  return static_cast<uint32_t>(*id);
}

std::optional<uint32_t> if_in_range(const GgufMetadata& metadata, const char* key, size_t tokens) {
  const auto id = metadata.get_i64(key);
  if (!id || *id < 0 || static_cast<uint64_t>(*id) >= tokens) return std::nullopt;
  return static_cast<uint32_t>(*id);
}

std::vector<int32_t> token_types(const GgufMetadata& metadata, size_t tokens) {
  constexpr const char* kKey = "tokenizer.ggml.token_type";
  const auto values = metadata.get_integers(kKey);
  if (!values) return {};
  check_length(metadata, kKey, values->size(), tokens);
  std::vector<int32_t> out(values->size());
  for (size_t i = 0; i < out.size(); ++i) {
    const int64_t type = (*values)[i];
    if (type < 0 || type > 255) metadata.reject(kKey, fmt::format("token {} has the type {}", i, type));
    out[i] = static_cast<int32_t>(type);
  }
  return out;
}

std::vector<float> token_scores(const GgufMetadata& metadata, size_t tokens) {
  constexpr const char* kKey = "tokenizer.ggml.scores";
  auto scores = metadata.get_floats(kKey);
  if (!scores) return {};
  check_length(metadata, kKey, scores->size(), tokens);
  for (size_t i = 0; i < scores->size(); ++i) {
    if (!std::isfinite((*scores)[i]))
      metadata.reject(kKey, fmt::format("the score of token {} is {}", i, (*scores)[i]));
  }
  return std::move(*scores);
}

}  // namespace

GgufVocabulary check_gguf_vocabulary(const GgufMetadata& metadata) {
  constexpr const char* kTokens = "tokenizer.ggml.tokens";
  GgufVocabulary out;
  out.model = metadata.require_string("tokenizer.ggml.model");
  out.tokens = metadata.require_strings(kTokens);
  const size_t count = out.tokens.size();
  if (count == 0) metadata.reject(kTokens, "is empty");
  if (count > INT32_MAX) metadata.reject(kTokens, fmt::format("has {} values, limit {}", count, INT32_MAX));
  for (size_t i = 0; i < count; ++i) {
    if (out.tokens[i].size() > kMaxToken) {
      metadata.reject(kTokens, fmt::format("token {} has {} bytes, limit {}", i, out.tokens[i].size(), kMaxToken));
    }
  }
  out.scores = token_scores(metadata, count);
  out.types = token_types(metadata, count);
  out.merges = metadata.get_strings("tokenizer.ggml.merges").value_or(std::vector<std::string_view>());
  out.bos = required_range(metadata, "tokenizer.ggml.bos_token_id", count);
  out.eos = required_range(metadata, "tokenizer.ggml.eos_token_id", count);
  out.unknown = if_in_range(metadata, "tokenizer.ggml.unknown_token_id", count);
  out.padding = if_in_range(metadata, "tokenizer.ggml.padding_token_id", count);
  out.eot = if_in_range(metadata, "tokenizer.ggml.eot_token_id", count);
  return out;
}

}  // namespace moiety
