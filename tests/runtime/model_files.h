// Model folders that tests write themselves: safetensors and config.json from a configuration and its weights.
#pragma once

#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>

#include "tests/models/random_model.h"

namespace moiety::test {

// A folder that is removed at the end.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "moiety-XXXXXX").string();
    if (!mkdtemp(pattern.data())) fail(Status::kIo, "can't make a temporary folder");
    path_ = pattern;
  }
  ~TemporaryFolder() {
    std::error_code code;
    std::filesystem::remove_all(path_, code);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

inline void write_text(const std::filesystem::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary).write(text.data(), static_cast<std::streamsize>(text.size()));
}

// Writes the tensors of a store whose types safetensors knows (F32, F16, BF16). The data begin at a multiple of 8, and
// `shift` bytes.
inline void write_safetensors(const std::filesystem::path& path, const WeightStore& store, size_t shift = 0) {
  std::string header = "{";
  uint64_t at = 0;
  for (const std::string& name : store.names()) {
    const Tensor& t = store.find(name)->tensor;
    const char* type = t.dtype == DType::kF32 ? "F32" : t.dtype == DType::kBF16 ? "BF16" : "F16";
    std::string shape;
    for (int i = 0; i < t.rank; ++i) shape += (i ? "," : "") + std::to_string(t.dim(i));
    header += fmt::format("{}\"{}\":{{\"dtype\":\"{}\",\"shape\":[{}],\"data_offsets\":[{},{}]}}", at ? "," : "", name,
                          type, shape, at, at + t.bytes());
    at += t.bytes();
  }
  header += "}";
  header.resize(align_up(header.size(), 8) + shift, ' ');
  std::ofstream out(path, std::ios::binary);
  const uint64_t length = header.size();
  out.write(reinterpret_cast<const char*>(&length), 8);
  out.write(header.data(), static_cast<std::streamsize>(header.size()));
  for (const std::string& name : store.names()) {
    const Tensor& t = store.find(name)->tensor;
    out.write(reinterpret_cast<const char*>(t.data), static_cast<std::streamsize>(t.bytes()));
  }
}

// An OLMoE folder of random weights.
inline void write_olmoe_folder(const std::filesystem::path& folder, const Config& c, const RandomOptions& random,
                               size_t shift = 0) {
  write_safetensors(folder / "model.safetensors", RandomWeights(c, random).make(), shift);
  write_text(folder / "config.json",
             fmt::format(R"({{"architectures": ["OlmoeForCausalLM"], "model_type": "olmoe", "hidden_size": {},
"intermediate_size": {}, "max_position_embeddings": {}, "norm_topk_prob": {}, "num_attention_heads": {}, "num_key_value_heads": {},
"num_experts": {}, "num_experts_per_tok": {}, "num_hidden_layers": {}, "rms_norm_eps": {}, "rope_theta": 10000.0,
"tie_word_embeddings": {}, "vocab_size": {}, "eos_token_id": null}})",
                         c.width, c.expert_width, c.context, c.renormalise, c.heads, c.kv_heads, c.experts, c.active,
                         c.layers, c.eps, c.tied_head, c.vocab));
}

}  // namespace moiety::test
