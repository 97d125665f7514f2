// Llama (arXiv 2302.13971, 2407.21783): the dense model that the others vary. Granite's dense models are the same with
// four multipliers.
#include "models/registry.h"

namespace moiety {
namespace {

Value block(const Wiring& m, const Scope& w, Value x, int layer) {  // x[T,D]
  const auto& [b, c, banks, context, gate] = m;
  Value h = b.rms_norm(x, w["input_layernorm"], c.eps, 1, "input_layernorm");
  x = b.add(x, self_attention(m, w.in("self_attn"), h, layer), c.residual_scale);
  x = wanted_if_last(m, x, layer);
  h = b.rms_norm(x, w["post_attention_layernorm"], c.eps, 1, "post_attention_layernorm");
  return b.add(x, gated_ffn(m, w.in("mlp"), h), c.residual_scale);
}

std::vector<Config> tiny_llama() {
  const Config plain = tiny_base("llama");
  Config other = plain;
  other.attention_bias = true, other.mlp_bias = true, other.tied_head = true, other.activation = Activation::kGeluTanh;
  other.rope.kind = RopeKind::kLlama3, other.rope.factor = 8, other.rope.original_context = 64;
  Config yarn = plain;
  yarn.rope.kind = RopeKind::kYarn, yarn.rope.factor = 4, yarn.rope.original_context = 64;
  Config interleaved = plain;
  interleaved.rope.interleaved = true, interleaved.rope.partial = 0.5;
  return {plain, other, yarn, interleaved};
}

std::vector<Config> tiny_granite() {
  Config c = tiny_base("granite");
  c.embedding_scale = 12, c.residual_scale = 0.22f, c.attention_scale = 0.015625f, c.logit_scale = 0.25f;
  return {c};
}

}  // namespace

extern const Architecture kLlama, kGranite;
const Architecture kLlama{"llama", "LlamaForCausalLM", decoder_of<block>, tiny_llama};
const Architecture kGranite{"granite", "GraniteForCausalLM", decoder_of<block>, tiny_granite};

}  // namespace moiety
