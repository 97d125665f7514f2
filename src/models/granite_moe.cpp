// Granite-MoE (IBM Granite 3 language models, 2024): four multipliers (embedding, residual, attention, logits); the
// router takes the top k logits first and a softmax over those k.
#include "models/registry.h"

namespace moiety {
namespace {

Value block(const Wiring& m, const Scope& w, Value x, int layer) {  // x[T,D]
  const auto& [b, c, banks, context, gate] = m;
  Value h = b.rms_norm(x, w["input_layernorm"], c.eps, 1, "input_layernorm");
  x = b.add(x, self_attention(m, w.in("self_attn"), h, layer), c.residual_scale);
  x = wanted_if_last(m, x, layer);
  h = b.rms_norm(x, w["post_attention_layernorm"], c.eps, 1, "post_attention_layernorm");
  const Scope moe = w.in("block_sparse_moe");
  const Value routing = b.route(b.linear(h, moe["router.layer"], {}, "router"),
                                {.experts = c.experts, .top_k = c.active, .score = Score::kSoftmaxAfterTopK});
  const ExpertNames published{.fused_in = "input_linear", .fused_out = "output_linear"};
  const ExpertBank* bank = moe.has("input_linear") ? expert_bank(moe, m, published) : expert_bank(moe.in("experts"), m);
  return b.add(x, b.experts(h, routing, {.bank = bank, .kind = c.activation}), c.residual_scale);
}

std::vector<Config> tiny() {
  Config plain = tiny_base("granitemoe");
  plain.ffn_width = 0;
  plain.experts = 8, plain.active = 2, plain.expert_width = 32;
  plain.embedding_scale = 12, plain.residual_scale = 0.22f, plain.attention_scale = 0.015625f,
  plain.logit_scale = 1.0f / 6;
  plain.tied_head = true;
  Config other = plain;
  other.attention_bias = true, other.active = 8;
  return {plain, other};
}

}  // namespace

extern const Architecture kGraniteMoe;
const Architecture kGraniteMoe{"granitemoe", "GraniteMoeForCausalLM", decoder_of<block>, tiny};

}  // namespace moiety
