#include "models/parts.h"

#include <cmath>

#include "core/error.h"

namespace moiety {
namespace {

void expect_shape(const Tensor& t, const Scope& w, std::string_view name, std::initializer_list<int64_t> shape) {
  const bool right =
      t.rank == static_cast<int>(shape.size()) && std::equal(shape.begin(), shape.end(), t.shape.begin());
  if (right) return;
  fail(Status::kFormat, "tensor '{}.{}' is {}, expected [{}]", printable(w.prefix()), name, shape_string(t),
       fmt::join(shape, ", "));
}

Expert split_expert(const Scope& w, const Wiring& m, int id, const ExpertNames& names) {
  const auto matrix = [&](std::string_view name, int64_t rows, int64_t cols) {
    return required(w, fmt::format("{}.{}", id, name), {rows, cols});
  };
  Expert expert;
  expert.gate = matrix(names.gate, m.c.expert_width, m.c.width);
  expert.up = matrix(names.up, m.c.expert_width, m.c.width);
  expert.down = matrix(names.down, m.c.width, m.c.expert_width);
  return expert;
}

}  // namespace

Tensor required(const Scope& w, std::string_view name, std::initializer_list<int64_t> shape) {
  const Tensor t = w[name];
  expect_shape(t, w, name, shape);
  return t;
}

Tensor required_bias(const Scope& w, std::string_view name, int64_t size) {
  const Tensor bias = w.bias(name);
  if (!bias)
    fail(Status::kFormat, "tensor '{}.{}.bias' is missing, the configuration says that there are biases",
         printable(w.prefix()), name);
  if (size >= 0 && bias.elements() != size)
    fail(Status::kFormat, "tensor '{}.{}.bias' is {}, expected [{}]", printable(w.prefix()), name, shape_string(bias),
         size);
  return bias;
}

Value project(const Wiring& m, const Scope& w, Value x, std::string_view name, int64_t rows, bool bias) {
  const Tensor weight = required(w, name, {rows, m.b.node(x).cols});
  return m.b.linear(x, weight, bias ? required_bias(w, name) : Tensor{}, name);
}

const ExpertBank* expert_bank(const Scope& w, const Wiring& m, ExpertNames names) {
  const int64_t experts = m.c.experts, width = m.c.width, hidden = m.c.expert_width;
  std::vector<Expert> bank;
  const bool together = w.has(names.fused_in);
  if (together || w.has(names.gate)) {
    const std::string_view gate_name = together ? names.fused_in : names.gate,
                           up_name = together ? names.fused_in : names.up;
    const std::string_view down_name = together ? names.fused_out : names.down;
    const Tensor gate = w[gate_name], up = w[up_name], down = w[down_name];
    const int64_t rows = together ? 2 * hidden : hidden;
    expect_shape(gate, w, gate_name, {experts, rows, width});
    expect_shape(up, w, up_name, {experts, rows, width});
    expect_shape(down, w, down_name, {experts, width, hidden});
    for (int64_t e = 0; e < experts; ++e) {
      Expert expert;
      expert.gate = slice_rows(gate, e * rows, hidden);
      expert.up = slice_rows(up, e * rows + (together ? hidden : 0), hidden);
      expert.down = slice_rows(down, e * width, width);
      bank.push_back(expert);
    }
  } else {
    const bool own = w.has(fmt::format("0.{}", names.gate)) || !w.has(fmt::format("0.{}", ExpertNames{}.gate));
    for (int e = 0; e < m.c.experts; ++e) bank.push_back(split_expert(w, m, e, own ? names : ExpertNames{}));
  }
  return &m.banks.emplace_back(w.prefix(), std::move(bank));
}

Value self_attention(const Wiring& m, const Scope& w, Value x, int layer, QkNorm norm) {
  const auto& [b, c, banks, context, gate] = m;
  const int64_t head_dim = c.head_dim;
  const auto in_head = [&](Value v, std::string_view norm_name, int heads) {
    if (!norm.present) return v;
    return b.rms_norm(v, w[norm_name], c.eps, norm.per_head ? heads : 1, norm_name);
  };
  const auto clip = [&](Value v) { return c.clip_qkv > 0 ? b.clamp(v, c.clip_qkv) : v; };
  const auto linear = [&](Value in, std::string_view name, int64_t rows) {
    return project(m, w, in, name, rows, c.attention_bias);
  };
  Value q = clip(in_head(linear(x, "q_proj", c.heads * head_dim), "q_norm", c.heads));
  Value k = clip(in_head(linear(x, "k_proj", c.kv_heads * head_dim), "k_norm", c.kv_heads));
  const Value v = clip(linear(x, "v_proj", c.kv_heads * head_dim));
  const RopeTable table = rope_table(c.rope, c.head_dim, c.context, context);
  q = b.rope(q, {c.heads, c.head_dim, c.rope.interleaved, table.frequencies, table.magnitude});
  k = b.rope(k, {c.kv_heads, c.head_dim, c.rope.interleaved, table.frequencies, table.magnitude});
  const float scale = c.attention_scale != 0 ? c.attention_scale : 1 / std::sqrt(static_cast<float>(c.head_dim));
  Attention op{.layer = layer,
               .heads = c.heads,
               .kv_heads = c.kv_heads,
               .head_dim = c.head_dim,
               .scale = scale,
               .window = c.window(layer),
               .softcap = 0,
               .sinks = {}};
  return linear(b.attention(q, b.kv_store(k, v, layer), op), "o_proj", c.width);
}

Value gated_ffn(const Wiring& m, const Scope& w, Value x) {
  const auto& [b, c, banks, context, gate] = m;
  const Value gated = b.glu(project(m, w, x, "gate_proj", c.ffn_width, c.mlp_bias),
                            project(m, w, x, "up_proj", c.ffn_width, c.mlp_bias), {.kind = c.activation});
  return project(m, w, gated, "down_proj", c.width, c.mlp_bias);
}

Value wanted_if_last(const Wiring& m, Value x, int layer) { return layer + 1 == m.c.layers ? m.b.wanted_rows(x) : x; }

Value decoder(const Wiring& m, const WeightStore& store, Block block) {
  const auto& [b, c, banks, context, gate] = m;
  const Scope w(store, "model");
  const Tensor table = required(w, "embed_tokens", {c.vocab, c.width});
  Value x = b.embedding(table, c.embedding_scale);
  for (int layer = 0; layer < c.layers; ++layer) {
    b.set_name(fmt::format("layers.{}", layer));
    x = block(m, Scope(store, fmt::format("model.layers.{}", layer)), x, layer);
  }
  b.set_name("");
  x = b.rms_norm(b.wanted_rows(x), w["norm"], c.eps, 1, "norm");
  const Tensor head = c.tied_head ? table : required(Scope(store, ""), "lm_head", {c.vocab, c.width});
  return b.scale(b.linear(x, head, {}, "lm_head"), c.logit_scale);
}

}  // namespace moiety
