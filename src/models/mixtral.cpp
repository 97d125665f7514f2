// Mixtral (Jiang et al., arXiv 2401.04088): Mistral's attention, top-2 of 8 experts, the two weights renormalised.
#include "models/registry.h"

namespace moiety {
namespace {

Value block(const Wiring& m, const Scope& w, Value x, int layer) {  // x[T,D]
  const auto& [b, c, banks, context, gate] = m;
  Value h = b.rms_norm(x, w["input_layernorm"], c.eps, 1, "input_layernorm");
  x = b.add(x, self_attention(m, w.in("self_attn"), h, layer));
  x = wanted_if_last(m, x, layer);
  h = b.rms_norm(x, w["post_attention_layernorm"], c.eps, 1, "post_attention_layernorm");
  // The published files say block_sparse_moe; transformers 5 writes mlp.
  const Scope moe = w.has("block_sparse_moe.gate") ? w.in("block_sparse_moe") : w.in("mlp");
  const Value routing = b.route(
      b.linear(h, moe["gate"], {}, "gate"),
      {.experts = c.experts, .top_k = c.active, .score = Score::kSoftmax, .renormalise = Renormalise::kBeforeDrop});
  const ExpertBank* bank = expert_bank(moe.in("experts"), m, {.gate = "w1", .up = "w3", .down = "w2"});
  return b.add(x, b.experts(h, routing, {.bank = bank, .kind = c.activation}));
}

std::vector<Config> tiny() {
  Config plain = tiny_base("mixtral");
  plain.ffn_width = 0;
  plain.experts = 4, plain.active = 2, plain.expert_width = 96;
  Config other = plain;
  other.windows = {7, 7}, other.experts = 1, other.active = 1;
  return {plain, other};
}

}  // namespace

extern const Architecture kMixtral;
const Architecture kMixtral{"mixtral", "MixtralForCausalLM", decoder_of<block>, tiny};

}  // namespace moiety
