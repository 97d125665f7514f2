// Config: the hyper-parameters of a decoder model, read from config.json or from GGUF metadata.
// Letters as in graph/ops.h: D width, H heads, G kv-heads, A head dim, E experts, k active, F expert width, V
// vocabulary.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "graph/ops.h"

namespace moiety {

enum class RopeKind : uint8_t { kDefault, kLinear, kDynamic, kYarn, kLongRope, kLlama3 };

struct RopeConfig {
  RopeKind kind = RopeKind::kDefault;
  double theta = 10000;
  double partial = 1;        // rotated part of head_dim
  bool interleaved = false;  // pairs (2i, 2i+1): GGUF files of the llama and granite families
  double factor = 1;
  std::optional<double> attention_factor;            // of cos and sin; absent: each kind's own rule
  double beta_fast = 32, beta_slow = 1;              // YaRN
  double mscale = 0, mscale_all_dim = 0;             // YaRN, 0: absent
  bool truncate = true;                              // YaRN
  double low_freq_factor = 1, high_freq_factor = 4;  // Llama 3
  int64_t original_context = 0;                      // YaRN, LongRoPE, Llama 3; 0: the model's context
  std::vector<float> short_factor, long_factor;      // LongRoPE, one a frequency
  std::vector<float> divisors;                       // GGUF's rope_freqs: each frequency is divided by its own
};

struct Config {
  std::string architecture;  // a name in models/registry.h
  int layers = 0;
  int width = 0;
  int heads = 0, kv_heads = 0, head_dim = 0;
  int vocab = 0;
  int context = 0;    // the longest that the model was made for
  int ffn_width = 0;  // of a dense layer; 0 where every layer has experts
  int experts = 0, active = 0, expert_width = 0;
  bool renormalise = false;       // of the router's top k weights
  int sparse_step = 1;            // layer l has experts if (l + 1) % sparse_step == 0
  std::vector<int> dense_layers;  // layers without experts whatever the step
  float eps = 1e-6f;
  Activation activation = Activation::kSilu;
  RopeConfig rope;
  bool tied_head = false;
  bool attention_bias = false, mlp_bias = false;
  float clip_qkv = 0;        // 0: no clipping
  std::vector<int> windows;  // [layers] sliding window of each layer, 0: none; empty: none anywhere
  float embedding_scale = 1, residual_scale = 1, logit_scale = 1;
  float attention_scale = 0;      // 0: 1 / sqrt(head_dim)
  std::vector<int32_t> stop_ids;  // end-of-sequence tokens
  bool final_norm = true;             // fairseq: a norm after the last layer
  bool normalise_before_drop = false;  // fairseq: of the gate's weights
  int32_t pad_id = -1;                 // fairseq: a token that has no position and that no other attends to; -1: none

  bool is_sparse(int layer) const {
    return experts > 0 && (layer + 1) % sparse_step == 0 &&
           std::ranges::find(dense_layers, layer) == dense_layers.end();
  }
  int window(int layer) const { return windows.empty() ? 0 : windows[static_cast<size_t>(layer)]; }
};

// Throws Error kFormat naming `subject` (a file) and the field if a value can't be: a zero or huge count, more active
// experts than experts, a number that is not finite. Shapes are checked against the tensors by the builder.
void check_config(const Config& config, const std::string& subject);

}  // namespace moiety
