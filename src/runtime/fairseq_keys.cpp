#include "runtime/fairseq_keys.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"

namespace moiety {
namespace {

constexpr float kEps = 1e-5f;

std::string key(std::string_view name) { return fmt::format("{}.{}", kFairseqArchitecture, name); }

float usual_scale(int width) { return std::sqrt(static_cast<float>(width)); }

}  // namespace

void read_fairseq_keys(JsonFields& f, Config& c) {
  c.kv_heads = c.heads;
  c.eps = static_cast<float>(f.number("layer_norm_eps").value_or(static_cast<double>(kEps)));
  const std::string act = f.string("hidden_act").value_or("gelu");
  if (act != "gelu") fail(Status::kUnsupported, "{}: hidden_act '{}' is not supported (gelu)", f.subject(), printable(act));
  c.activation = Activation::kGelu;
  c.embedding_scale = f.boolean("scale_embedding").value_or(true) ? usual_scale(std::max(c.width, 0)) : 1;
  c.final_norm = f.boolean("final_layer_norm").value_or(true);
  c.normalise_before_drop = f.boolean("normalize_gate_prob_before_dropping").value_or(false);
  c.pad_id = f.count("pad_token_id", 1);
  if (f.integer("num_experts").value_or(0) == 0) return;
  c.experts = f.count("num_experts");
  c.active = f.count("num_experts_per_tok", 2);
  if (c.active != 2) fail(Status::kUnsupported, "{}: num_experts_per_tok is {}, 2 is supported", f.subject(), c.active);
  c.expert_width = f.count("moe_intermediate_size", c.ffn_width);
  c.sparse_step = f.count("decoder_sparse_step", 1);
  for (double layer : f.numbers("mlp_only_layers").value_or(std::vector<double>{})) {
    if (!(layer >= 0 && layer < 65536)) fail(Status::kFormat, "{}: mlp_only_layers holds {}", f.subject(), layer);
    c.dense_layers.push_back(static_cast<int>(layer));
  }
}

std::string fairseq_config_json(const Config& c, std::string_view dtype) {
  std::string out = fmt::format(
      "{{\n  \"architectures\": [\"FairseqMoeForCausalLM\"],\n  \"model_type\": \"{}\",\n  \"hidden_size\": {},\n"
      "  \"num_hidden_layers\": {},\n  \"num_attention_heads\": {},\n  \"vocab_size\": {},\n"
      "  \"max_position_embeddings\": {},\n  \"intermediate_size\": {},\n  \"hidden_act\": \"gelu\",\n"
      "  \"layer_norm_eps\": {},\n  \"tie_word_embeddings\": {},\n  \"scale_embedding\": {},\n  \"final_layer_norm\": {},\n",
      kFairseqArchitecture, c.width, c.layers, c.heads, c.vocab, c.context, c.ffn_width, c.eps, c.tied_head,
      c.embedding_scale != 1, c.final_norm);
  if (c.experts > 0) {
    out += fmt::format(
        "  \"num_experts\": {},\n  \"num_experts_per_tok\": {},\n  \"moe_intermediate_size\": {},\n"
        "  \"decoder_sparse_step\": {},\n  \"mlp_only_layers\": [{}],\n  \"normalize_gate_prob_before_dropping\": {},\n",
        c.experts, c.active, c.expert_width, c.sparse_step, fmt::join(c.dense_layers, ", "), c.normalise_before_drop);
  }
  out += fmt::format("  \"bos_token_id\": 2,\n  \"eos_token_id\": [{}],\n  \"pad_token_id\": {},\n  \"torch_dtype\": \"{}\"\n}}\n",
                     fmt::join(c.stop_ids, ", "), c.pad_id, dtype);
  return out;
}

Config fairseq_gguf_config(const MetadataSource& metadata, const TensorFacts& facts, const std::string& subject) {
  const auto count = [&](std::string_view name) {
    const auto value = metadata.integer(key(name));
    if (!value) fail(Status::kFormat, "{}: {} is missing", subject, key(name));
    if (*value < 0 || *value > INT32_MAX)
      fail(Status::kFormat, "{}: {} is {}, expected a count below 2^31", subject, key(name), *value);
    return static_cast<int>(*value);
  };
  const auto flag = [&](std::string_view name, bool otherwise) { return metadata.boolean(key(name)).value_or(otherwise); };
  Config c;
  c.architecture = kFairseqArchitecture;
  c.layers = count("block_count"), c.width = count("embedding_length");
  c.heads = c.kv_heads = count("attention.head_count");
  if (c.heads < 1 || c.width % c.heads != 0)
    fail(Status::kFormat, "{}: {} attention heads of a width of {}", subject, c.heads, c.width);
  c.head_dim = c.width / c.heads;
  c.context = count("context_length");
  if (facts.vocab < 1 || facts.vocab > INT32_MAX)
    fail(Status::kFormat, "{}: the embedding has {} rows", subject, facts.vocab);
  c.vocab = static_cast<int>(facts.vocab);
  c.ffn_width = count("feed_forward_length");
  c.eps = static_cast<float>(metadata.number(key("attention.layer_norm_epsilon")).value_or(static_cast<double>(kEps)));
  c.activation = Activation::kGelu;
  c.embedding_scale = flag("scale_embedding", true) ? usual_scale(c.width) : 1;
  c.final_norm = flag("final_layer_norm", true);
  c.tied_head = !facts.has_output;
  c.pad_id = count("pad_token_id");
  c.stop_ids = {count("eos_token_id")};
  c.experts = count("expert_count");
  if (c.experts > 0) {
    c.active = count("expert_used_count");
    if (c.active != 2) fail(Status::kUnsupported, "{}: {} is {}, 2 is supported", subject, key("expert_used_count"), c.active);
    c.expert_width = count("expert_feed_forward_length");
    c.normalise_before_drop = flag("normalize_gate_prob_before_dropping", false);
    for (int layer = 0; layer < std::min(c.layers, 65536); ++layer) {
      if (std::ranges::find(facts.gated, layer) == facts.gated.end()) c.dense_layers.push_back(layer);
    }
  }
  check_config(c, subject);
  return c;
}

FairseqGgufKeys fairseq_gguf_keys(const Config& c) {
  FairseqGgufKeys out;
  const auto count = [&](std::string_view name, int value) { out.counts.emplace_back(key(name), static_cast<uint32_t>(value)); };
  count("block_count", c.layers), count("embedding_length", c.width), count("attention.head_count", c.heads);
  count("context_length", c.context), count("feed_forward_length", c.ffn_width), count("expert_count", c.experts);
  if (c.experts > 0) count("expert_used_count", c.active), count("expert_feed_forward_length", c.expert_width);
  count("pad_token_id", c.pad_id), count("eos_token_id", c.stop_ids.empty() ? 2 : c.stop_ids.front());
  out.numbers.emplace_back(key("attention.layer_norm_epsilon"), c.eps);
  out.flags.emplace_back(key("scale_embedding"), c.embedding_scale != 1);
  out.flags.emplace_back(key("final_layer_norm"), c.final_norm);
  out.flags.emplace_back(key("normalize_gate_prob_before_dropping"), c.normalise_before_drop);
  return out;
}

}  // namespace moiety
