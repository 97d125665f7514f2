#include "runtime/gguf_config.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "core/error.h"
#include "runtime/fairseq_keys.h"

namespace moiety {
namespace {

class Keys {
 public:
  Keys(const MetadataSource& metadata, std::string arch, const std::string& subject)
      : metadata_(metadata), arch_(std::move(arch)), subject_(subject) {}

  int count(std::string_view key, std::optional<int> otherwise = std::nullopt) const {
    const auto value = metadata_.integer(full(key));
    if (!value) {
      if (otherwise) return *otherwise;
      fail(Status::kFormat, "{}: {} is missing", subject_, full(key));
    }
    if (*value < INT32_MIN || *value > INT32_MAX)
      fail(Status::kFormat, "{}: {} is {}, expected a count below 2^31", subject_, full(key), *value);
    return static_cast<int>(*value);
  }
  double number(std::string_view key, double otherwise) const {
    return metadata_.number(full(key)).value_or(otherwise);
  }
  std::optional<double> number(std::string_view key) const { return metadata_.number(full(key)); }
  std::optional<std::string> string(std::string_view key) const { return metadata_.string(full(key)); }
  std::optional<bool> boolean(std::string_view key) const { return metadata_.boolean(full(key)); }
  // Keys that change numbers and are not built: fine only when absent or 0.
  void must_be_off(std::string_view key) const {
    const double value = number(key, 0);
    if (value != 0) fail(Status::kUnsupported, "{}: {} = {} is not supported", subject_, full(key), value);
  }
  std::string full(std::string_view key) const { return arch_ + "." + std::string(key); }
  const std::string& subject() const { return subject_; }

 private:
  const MetadataSource& metadata_;
  std::string arch_;
  const std::string& subject_;
};

struct Family {
  std::string_view gguf, dense, sparse;
  bool interleaved;
};
// The llama and granite converters permute q and k so that rope turns neighbours: (2i, 2i + 1).
constexpr std::array<Family, 6> kFamilies{{{"olmoe", "", "olmoe", false},
                                           {"llama", "llama", "mixtral", true},
                                           {"qwen3moe", "", "qwen3_moe", false},
                                           {"qwen3", "qwen3", "", false},
                                           {"granitemoe", "", "granitemoe", true},
                                           {"granite", "granite", "", true}}};

// YaRN's magnitude in llama.cpp is attn_factor * (1 + 0.1 ln factor).
void read_rope(const Keys& k, const TensorFacts& facts, Config& c) {
  RopeConfig& r = c.rope;
  r.theta = k.number("rope.freq_base", 10000);
  const int rotated = k.count("rope.dimension_count", c.head_dim);
  if (c.head_dim < 1 || rotated < 1 || rotated > c.head_dim) {
    fail(Status::kFormat, "{}: {} is {}, expected 1 to head_dim {}", k.subject(), k.full("rope.dimension_count"),
         rotated, c.head_dim);
  }
  r.partial = static_cast<double>(rotated) / c.head_dim;
  const std::string type = k.string("rope.scaling.type").value_or("none");
  r.factor = k.number("rope.scaling.factor", k.number("rope.scale_linear", 1));
  r.original_context = k.count("rope.scaling.original_context_length", 0);
  const auto attention = k.number("rope.scaling.attn_factor");
  if (type == "linear" || (type == "none" && r.factor != 1)) {
    r.kind = RopeKind::kLinear;
  } else if (type == "yarn") {
    r.kind = RopeKind::kYarn;
    r.beta_fast = k.number("rope.scaling.yarn_beta_fast", 32);
    r.beta_slow = k.number("rope.scaling.yarn_beta_slow", 1);
    if (attention && r.factor > 1) r.attention_factor = *attention * (1 + 0.1 * std::log(r.factor));
  } else if (type == "longrope") {
    r.kind = RopeKind::kLongRope;
    r.attention_factor = attention.value_or(1);
  } else if (type != "none") {
    fail(Status::kUnsupported, "{}: rope scaling '{}' is not supported (none, linear, yarn, longrope)", k.subject(),
         printable(type));
  }
  r.divisors = facts.rope_divisors;
  if (r.kind == RopeKind::kLongRope) {
    r.short_factor = facts.rope_short, r.long_factor = facts.rope_long;
  } else if (!facts.rope_short.empty() || !facts.rope_long.empty()) {
    fail(Status::kUnsupported, "{}: rope_factors_long and rope_factors_short with rope scaling '{}' are not supported",
         k.subject(), printable(type));
  }
  if (!r.divisors.empty() && (r.kind == RopeKind::kYarn || r.kind == RopeKind::kLongRope)) {
    fail(Status::kUnsupported, "{}: rope_freqs with rope scaling '{}' is not supported", k.subject(), printable(type));
  }
}

void read_granite(const Keys& k, Config& c) {
  c.embedding_scale = static_cast<float>(k.number("embedding_scale", 1));
  c.residual_scale = static_cast<float>(k.number("residual_scale", 1));
  c.attention_scale = static_cast<float>(k.number("attention.scale", 0));
  const double logits = k.number("logit_scale", 1);
  if (logits == 0) fail(Status::kFormat, "{}: {} is 0", k.subject(), k.full("logit_scale"));
  c.logit_scale = static_cast<float>(1 / logits);
}

void read_experts(const Keys& k, Config& c) {
  c.experts = k.count("expert_count");
  c.active = k.count("expert_used_count");
  c.expert_width = k.count("expert_feed_forward_length", k.count("feed_forward_length", 0));
  c.ffn_width = 0;
  // As llama.cpp routes them: OLMoE's weights raw, Mixtral's and Qwen3's renormalised.
  c.renormalise = k.boolean("expert_weights_norm").value_or(c.architecture != "olmoe");
  for (std::string_view key : {"expert_shared_count", "expert_shared_feed_forward_length", "leading_dense_block_count"})
    k.must_be_off(key);
  const double scale = k.number("expert_weights_scale", 0);
  if (scale != 0 && scale != 1)
    fail(Status::kUnsupported, "{}: {} = {} is not supported", k.subject(), k.full("expert_weights_scale"), scale);
  if (const int gating = k.count("expert_gating_func", 1); gating > 1) {
    fail(Status::kUnsupported, "{}: {} = {} is not supported (1: softmax)", k.subject(), k.full("expert_gating_func"),
         gating);
  }
}

}  // namespace

Config gguf_config(const MetadataSource& metadata, const TensorFacts& facts, const std::string& subject) {
  const std::string arch = metadata.string("general.architecture").value_or("");
  if (arch == kFairseqArchitecture) return fairseq_gguf_config(metadata, facts, subject);
  const auto family = std::ranges::find(kFamilies, std::string_view(arch), &Family::gguf);
  if (family == kFamilies.end())
    fail(Status::kUnsupported, "{}: architecture '{}' is not supported", subject, printable(arch));
  const Keys k(metadata, arch, subject);
  const bool sparse = family->dense.empty() || (!family->sparse.empty() && k.count("expert_count", 0) != 0);
  Config c;
  c.architecture = sparse ? family->sparse : family->dense;
  c.layers = k.count("block_count");
  c.width = k.count("embedding_length");
  c.heads = k.count("attention.head_count");
  c.kv_heads = k.count("attention.head_count_kv", c.heads);
  if (c.heads < 1 || c.width < 1) {
    fail(Status::kFormat, "{}: {} attention heads of a width of {}, expected more than 0", subject, c.heads, c.width);
  }
  c.head_dim = k.count("attention.key_length", c.width / c.heads);
  if (k.count("attention.value_length", c.head_dim) != c.head_dim) {
    fail(Status::kUnsupported, "{}: keys and values of different lengths are not supported", subject);
  }
  c.context = k.count("context_length");
  if (facts.vocab < 1 || facts.vocab > INT32_MAX)
    fail(Status::kFormat, "{}: token_embd.weight has {} rows", subject, facts.vocab);
  c.vocab = static_cast<int>(facts.vocab);
  c.ffn_width = k.count("feed_forward_length", 0);
  c.eps = static_cast<float>(k.number("attention.layer_norm_rms_epsilon", 1e-6));
  c.clip_qkv = static_cast<float>(k.number("attention.clamp_kqv", 0));
  c.tied_head = !facts.has_output;
  c.attention_bias = facts.attention_bias, c.mlp_bias = facts.mlp_bias;
  c.rope.interleaved = family->interleaved;
  for (std::string_view key : {"attn_logit_softcapping", "final_logit_softcapping", "attention.max_alibi_bias"})
    k.must_be_off(key);
  if (sparse) read_experts(k, c);
  if (arch.starts_with("granite")) read_granite(k, c);
  const int window = k.count("attention.sliding_window", 0);
  if (window != 0 && c.layers >= 1 && c.layers <= 65536) c.windows.assign(static_cast<size_t>(c.layers), window);
  read_rope(k, facts, c);
  for (std::string_view key :
       {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"}) {
    const auto id = metadata.integer(key);
    if (id && *id >= 0 && *id < c.vocab &&
        std::ranges::find(c.stop_ids, static_cast<int32_t>(*id)) == c.stop_ids.end()) {
      c.stop_ids.push_back(static_cast<int32_t>(*id));
    }
  }
  check_config(c, subject);
  return c;
}

std::optional<std::string> canonical_gguf_name(std::string_view architecture, std::string_view name) {
  if (architecture == kFairseqArchitecture) return std::string(name);  // its files keep the canonical names
  if (name == "token_embd.weight") return "model.embed_tokens.weight";
  if (name == "output_norm.weight") return "model.norm.weight";
  if (name == "output.weight") return "lm_head.weight";
  if (!name.starts_with("blk.")) return std::nullopt;
  name.remove_prefix(4);
  const size_t dot = name.find('.'), last = name.rfind('.');
  if (dot == std::string_view::npos || last == dot) return std::nullopt;
  unsigned layer = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + dot, layer);
  if (error != std::errc() || end != name.data() + dot) return std::nullopt;
  std::string_view part = name.substr(dot + 1, last - dot - 1);
  const std::string_view kind = name.substr(last);  // ".weight", ".bias"
  const bool granite = architecture == "granitemoe", mixtral = architecture == "mixtral";
  const std::string moe = granite ? "block_sparse_moe." : "mlp.";
  const auto expert_name = [&](std::string_view role) -> std::string_view {
    if (role == "gate") return mixtral ? "w1" : "gate_proj";
    if (role == "up") return mixtral ? "w3" : "up_proj";
    return mixtral ? "w2" : "down_proj";
  };
  const auto made = [&](const std::string& middle) { return fmt::format("model.layers.{}.{}{}", layer, middle, kind); };
  constexpr std::array<std::pair<std::string_view, std::string_view>, 11> kPlain{
      {{"attn_norm", "input_layernorm"},
       {"ffn_norm", "post_attention_layernorm"},
       {"attn_q", "self_attn.q_proj"},
       {"attn_k", "self_attn.k_proj"},
       {"attn_v", "self_attn.v_proj"},
       {"attn_output", "self_attn.o_proj"},
       {"attn_q_norm", "self_attn.q_norm"},
       {"attn_k_norm", "self_attn.k_norm"},
       {"ffn_gate", "mlp.gate_proj"},
       {"ffn_up", "mlp.up_proj"},
       {"ffn_down", "mlp.down_proj"}}};
  for (const auto& [from, to] : kPlain) {
    if (part == from) return made(std::string(to));
  }
  if (part == "ffn_gate_inp") return made(moe + (granite ? "router.layer" : "gate"));
  if (part == "ffn_gate_up_exps") return made(moe + "experts.gate_up_proj");
  for (std::string_view role : {"gate", "up", "down"}) {
    if (part == fmt::format("ffn_{}_exps", role)) return made(moe + "experts." + std::string(expert_name(role)));
    const std::string older = fmt::format("ffn_{}.", role);  // one tensor an expert: "ffn_gate.7"
    if (part.starts_with(older))
      return made(fmt::format("{}experts.{}.{}", moe, part.substr(older.size()), expert_name(role)));
  }
  return std::nullopt;
}

}  // namespace moiety
