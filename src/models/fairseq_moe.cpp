// The MoE and dense language models of fairseq (Artetxe et al., arXiv 2112.10684; fairseq's branch moe): sinusoidal
// positions, LayerNorm before each half of a layer, fc1-GELU-fc2 as FFN and as experts, top-2 gates with capacities.
// Names are the checkpoint's, with "model." for "decoder." and "lm_head" for "decoder.output_projection".
#include <cmath>

#include "core/error.h"
#include "models/registry.h"

namespace moiety {
namespace {

constexpr int kPositionOffset = 2;  // the padding index, plus 1

// exp(-i * ln(10000) / (half - 1)), rounded where fairseq's table is: log-probabilities then agree to 1e-7.
std::vector<float> frequencies(int width) {
  const int half = width / 2;
  if (width % 2 != 0 || half < 2) fail(Status::kUnsupported, "sinusoidal positions for a width of {}", width);
  const auto step = static_cast<float>(-std::log(10000.0) / (half - 1));
  std::vector<float> values;
  for (int i = 0; i < half; ++i) {
    const float power = step * static_cast<float>(i);
    values.push_back(static_cast<float>(std::exp(static_cast<double>(power))));
  }
  return values;
}

Value layer_norm(const Wiring& m, const Scope& w, Value x, std::string_view name) {
  return m.b.layer_norm(x, w[name], required_bias(w, name), m.c.eps, name);
}

Value attention(const Wiring& m, const Scope& w, Value x, int layer) {
  const auto& [b, c, banks, context, gate] = m;
  const int64_t width = int64_t{c.heads} * c.head_dim;
  const Value q = project(m, w, x, "q_proj", width, true);
  const Value k = project(m, w, x, "k_proj", width, true);
  const Value v = project(m, w, x, "v_proj", width, true);
  const Attention op{.layer = layer,
                     .heads = c.heads,
                     .kv_heads = c.heads,
                     .head_dim = c.head_dim,
                     .scale = 1 / std::sqrt(static_cast<float>(c.head_dim)),
                     .sinks = {}};
  return project(m, w, b.attention(q, b.kv_store(k, v, layer), op), "out_proj", c.width, true);
}

const ExpertBank* experts_under(const Wiring& m, const Scope& w) {
  std::vector<Expert> bank;
  for (int e = 0; e < m.c.experts; ++e) {
    const Scope one = w.in(std::to_string(e));
    Expert expert;
    expert.up = required(one, "fc1", {m.c.expert_width, m.c.width});
    expert.down = required(one, "fc2", {m.c.width, m.c.expert_width});
    expert.up_bias = required_bias(one, "fc1", m.c.expert_width);
    expert.down_bias = required_bias(one, "fc2", m.c.width);
    bank.push_back(expert);
  }
  return &m.banks.emplace_back(w.prefix(), std::move(bank));
}

Route route(const Wiring& m, int layer) {
  const GateOptions& gate = m.gate;
  const bool before = gate.normalise_before.value_or(m.c.normalise_before_drop);
  Route op{.experts = m.c.experts,
           .top_k = m.c.active,
           .score = Score::kSoftmax,
           .renormalise = before ? Renormalise::kBeforeDrop : Renormalise::kAfterDrop};
  op.noise = gate.second == SecondExpert::kSampling ? Noise::kGumbel : Noise::kNone;
  op.keep = gate.second == SecondExpert::kRandom ? Keep::kByChance : Keep::kAll;
  op.capacity = gate.capacity, op.capacity_factor = gate.fraction;
  if (gate.capacity != Capacity::kNone) op.drop = gate.batch_prioritised ? Drop::kBatchPrioritised : Drop::kByPosition;
  op.pads_choose = !gate.pad_mask;
  op.seed = gate.seed, op.layer = layer;
  return op;
}

Value block(const Wiring& m, const Scope& w, Value x, int layer) {  // x[T,D]
  const auto& [b, c, banks, context, gate] = m;
  const bool sparse = w.has("moe_layer.gate.wg");
  Value h = layer_norm(m, w, x, "self_attn_layer_norm");
  x = b.add(x, attention(m, w.in("self_attn"), h, layer));
  // A gate with capacities looks at all rows, also at those whose logits nobody wants.
  if (!sparse || (gate.capacity == Capacity::kNone && !gate.every_row)) x = wanted_if_last(m, x, layer);
  h = layer_norm(m, w, x, "final_layer_norm");
  if (!sparse) {
    h = project(m, w, h, "fc1", c.ffn_width, true);
    return b.add(x, project(m, w, b.act(h, Activation::kGelu), "fc2", c.width, true));
  }
  const Scope moe = w.in("moe_layer");
  const Value logits = b.linear(h, required(moe, "gate.wg", {c.experts, c.width}), {}, "gate");
  const ExpertBank* bank = experts_under(m, moe.in("experts"));
  return b.add(x, b.experts(h, b.route(logits, route(m, layer)), {.bank = bank, .kind = Activation::kGelu}));
}

Value decode(const Wiring& m, const WeightStore& store) {
  const auto& [b, c, banks, context, gate] = m;
  const Scope w(store, "model");
  const Tensor table = required(w, "embed_tokens", {c.vocab, c.width});
  Value x = b.add_sinusoid(b.embedding(table, c.embedding_scale), frequencies(c.width), kPositionOffset);
  for (int layer = 0; layer < c.layers; ++layer) {
    b.set_name(fmt::format("layers.{}", layer));
    x = block(m, w.in(fmt::format("layers.{}", layer)), x, layer);
  }
  b.set_name("");
  x = b.wanted_rows(x);
  if (c.final_norm) x = layer_norm(m, w, x, "layer_norm");
  return b.linear(x, c.tied_head ? table : required(Scope(store, ""), "lm_head", {c.vocab, c.width}), {}, "lm_head");
}

std::vector<Config> tiny() {
  Config plain = tiny_base("fairseq_moe");
  plain.kv_heads = plain.heads;
  plain.experts = 6, plain.active = 2, plain.expert_width = 96;
  plain.eps = 1e-5f, plain.embedding_scale = 8, plain.tied_head = true, plain.pad_id = 1;
  Config other = plain;
  other.layers = 3, other.sparse_step = 2, other.normalise_before_drop = true, other.tied_head = false;
  Config dense = plain;
  dense.experts = 0, dense.active = 0, dense.final_norm = false;
  return {plain, other, dense};
}

}  // namespace

extern const Architecture kFairseqMoe;
const Architecture kFairseqMoe{"fairseq_moe", "FairseqMoeForCausalLM", decode, tiny, true};

}  // namespace moiety
