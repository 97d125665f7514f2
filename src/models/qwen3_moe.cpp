// Qwen3-MoE (arXiv 2505.09388): q and k normalised in each head, head_dim apart from the width, top-8 of 128 experts,
// renormalised where norm_topk_prob says so; some layers may be dense (decoder_sparse_step, mlp_only_layers).
#include "models/registry.h"

namespace moiety {
namespace {

Value block(const Wiring& m, const Scope& w, Value x, int layer) {  // x[T,D]
  const auto& [b, c, banks, context, gate] = m;
  Value h = b.rms_norm(x, w["input_layernorm"], c.eps, 1, "input_layernorm");
  x = b.add(x, self_attention(m, w.in("self_attn"), h, layer, {.present = true, .per_head = true}));
  x = wanted_if_last(m, x, layer);
  h = b.rms_norm(x, w["post_attention_layernorm"], c.eps, 1, "post_attention_layernorm");
  const Scope mlp = w.in("mlp");
  if (!c.is_sparse(layer)) return b.add(x, gated_ffn(m, mlp, h));
  const Value routing = b.route(b.linear(h, mlp["gate"], {}, "gate"),
                                {.experts = c.experts,
                                 .top_k = c.active,
                                 .score = Score::kSoftmax,
                                 .renormalise = c.renormalise ? Renormalise::kBeforeDrop : Renormalise::kNo});
  return b.add(x, b.experts(h, routing, {.bank = expert_bank(mlp.in("experts"), m), .kind = c.activation}));
}

std::vector<Config> tiny() {
  Config plain = tiny_base("qwen3_moe");
  plain.head_dim = 32;
  plain.experts = 16, plain.active = 4, plain.expert_width = 32, plain.renormalise = true;
  Config other = plain;
  other.layers = 4, other.sparse_step = 2, other.dense_layers = {3};
  other.renormalise = false, other.attention_bias = true, other.windows = {0, 0, 9, 9};
  return {plain, other};
}

}  // namespace

extern const Architecture kQwen3Moe;
const Architecture kQwen3Moe{"qwen3_moe", "Qwen3MoeForCausalLM", decoder_of<block>, tiny};

}  // namespace moiety
