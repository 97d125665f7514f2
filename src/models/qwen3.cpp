// Qwen3, dense (arXiv 2505.09388): Llama's block with q and k normalised in each head and head_dim apart from the
// width.
#include "models/registry.h"

namespace moiety {
namespace {

Value block(const Wiring& m, const Scope& w, Value x, int layer) {  // x[T,D]
  const auto& [b, c, banks, context, gate] = m;
  Value h = b.rms_norm(x, w["input_layernorm"], c.eps, 1, "input_layernorm");
  x = b.add(x, self_attention(m, w.in("self_attn"), h, layer, {.present = true, .per_head = true}));
  x = wanted_if_last(m, x, layer);
  h = b.rms_norm(x, w["post_attention_layernorm"], c.eps, 1, "post_attention_layernorm");
  return b.add(x, gated_ffn(m, w.in("mlp"), h));
}

std::vector<Config> tiny() {
  Config plain = tiny_base("qwen3");
  plain.head_dim = 32, plain.tied_head = true;
  Config other = plain;
  other.layers = 3, other.windows = {0, 0, 5}, other.attention_bias = true, other.tied_head = false;
  return {plain, other};
}

}  // namespace

extern const Architecture kQwen3;
const Architecture kQwen3{"qwen3", "Qwen3ForCausalLM", decoder_of<block>, tiny};

}  // namespace moiety
