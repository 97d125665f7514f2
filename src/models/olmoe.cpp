// OLMoE (Muennighoff et al., arXiv 2409.02060): 64 experts, top-8 of a softmax over all with raw weights; q and k are
// normalised over the whole row before the heads are split.
#include "models/registry.h"

namespace moiety {
namespace {

Value block(const Wiring& m, const Scope& w, Value x, int layer) {  // x[T,D]
  const auto& [b, c, banks, context, gate] = m;
  Value h = b.rms_norm(x, w["input_layernorm"], c.eps, 1, "input_layernorm");
  x = b.add(x, self_attention(m, w.in("self_attn"), h, layer, {.present = true}));
  x = wanted_if_last(m, x, layer);
  h = b.rms_norm(x, w["post_attention_layernorm"], c.eps, 1, "post_attention_layernorm");
  const Scope mlp = w.in("mlp");
  const Value routing = b.route(b.linear(h, mlp["gate"], {}, "gate"),
                                {.experts = c.experts,
                                 .top_k = c.active,
                                 .score = Score::kSoftmax,
                                 .renormalise = c.renormalise ? Renormalise::kBeforeDrop : Renormalise::kNo});
  return b.add(x, b.experts(h, routing, {.bank = expert_bank(mlp.in("experts"), m), .kind = c.activation}));
}

std::vector<Config> tiny() {
  Config plain = tiny_base("olmoe");
  plain.ffn_width = 0;
  plain.kv_heads = plain.heads;
  plain.experts = 8, plain.active = 3, plain.expert_width = 32;
  Config other = plain;
  other.renormalise = true, other.clip_qkv = 0.8f, other.kv_heads = 1, other.tied_head = true;
  return {plain, other};
}

}  // namespace

extern const Architecture kOlmoe;
const Architecture kOlmoe{"olmoe", "OlmoeForCausalLM", decoder_of<block>, tiny};

}  // namespace moiety
