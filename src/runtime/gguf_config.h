// GGUF metadata of llama.cpp's architectures -> Config, and llama.cpp's tensor names -> canonical ones.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "models/config.h"

namespace moiety {

// What the metadata says, by key: an implementation reads one file format. A value of the wrong type is an Error
// kFormat.
class MetadataSource {
 public:
  virtual ~MetadataSource() = default;
  virtual std::optional<int64_t> integer(std::string_view key) const = 0;  // a list counts if all its values are equal
  virtual std::optional<double> number(std::string_view key) const = 0;
  virtual std::optional<bool> boolean(std::string_view key) const = 0;
  virtual std::optional<std::string> string(std::string_view key) const = 0;
};

// What the tensors say, where the metadata is silent.
struct TensorFacts {
  int64_t vocab = 0;        // rows of token_embd
  bool has_output = false;  // output.weight: without it the head is tied
  bool attention_bias = false, mlp_bias = false;
  std::vector<int> gated{};  // fairseq: layers that have a gate
  std::vector<float> rope_divisors, rope_short, rope_long;  // rope_freqs, rope_factors_short, rope_factors_long
};

// Architectures: fairseq_moe (as converted here), olmoe, llama (Mixtral where it has experts), qwen3moe, qwen3, granitemoe, granite. Throws Error
// kUnsupported for others; `subject` names the file. The result is checked by check_config.
Config gguf_config(const MetadataSource& metadata, const TensorFacts& facts, const std::string& subject);

// "blk.3.ffn_gate_exps.weight" -> "model.layers.3.mlp.experts.gate_proj.weight"; nothing if the name is unknown.
std::optional<std::string> canonical_gguf_name(std::string_view architecture, std::string_view name);

}  // namespace moiety
