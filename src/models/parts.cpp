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

Tensor required_bias(const Scope& w, std::string_view name, bool wanted) {
  if (!wanted) return {};
  const Tensor bias = w.bias(name);
  if (!bias)
    fail(Status::kFormat, "tensor '{}.{}.bias' is missing, the configuration says that there are biases",
         printable(w.prefix()), name);
  return bias;
}

Expert split_expert(const Scope& w, const Wiring& m, int id, const ExpertNames& names) {
  const auto matrix = [&](std::string_view name, int64_t rows, int64_t cols) {
    const std::string full = fmt::format("{}.{}", id, name);
    const Tensor t = w[full];
    expect_shape(t, w, full, {rows, cols});
    return t;
  };
  Expert expert;
  expert.gate = matrix(names.gate, m.c.expert_width, m.c.width);
  expert.up = matrix(names.up, m.c.expert_width, m.c.width);
  expert.down = matrix(names.down, m.c.width, m.c.expert_width);
  return expert;
}

}  // namespace

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
    for (int e = 0; e < m.c.experts; ++e) bank.push_back(split_expert(w, m, e, names));
  }
  return &m.banks.emplace_back(w.prefix(), std::move(bank));
}

Value self_attention(const Wiring& m, const Scope& w, Value x, int layer, QkNorm norm) {
  const auto& [b, c, banks, context] = m;
  const int64_t head_dim = c.head_dim;
  const auto project = [&](std::string_view name, int64_t rows, int64_t cols) {
    const Tensor weight = w[name];
    expect_shape(weight, w, name, {rows, cols});
    return std::pair{weight, required_bias(w, name, c.attention_bias)};
  };
  const auto in_head = [&](Value v, std::string_view norm_name, int heads) {
    if (!norm.present) return v;
    return b.rms_norm(v, w[norm_name], c.eps, norm.per_head ? heads : 1, norm_name);
  };
  const auto clip = [&](Value v) { return c.clip_qkv > 0 ? b.clamp(v, c.clip_qkv) : v; };
  const auto [q_weight, q_bias] = project("q_proj", c.heads * head_dim, c.width);
  const auto [k_weight, k_bias] = project("k_proj", c.kv_heads * head_dim, c.width);
  const auto [v_weight, v_bias] = project("v_proj", c.kv_heads * head_dim, c.width);
  const auto [o_weight, o_bias] = project("o_proj", c.width, c.heads * head_dim);

  Value q = clip(in_head(b.linear(x, q_weight, q_bias, "q_proj"), "q_norm", c.heads));
  Value k = clip(in_head(b.linear(x, k_weight, k_bias, "k_proj"), "k_norm", c.kv_heads));
  const Value v = clip(b.linear(x, v_weight, v_bias, "v_proj"));
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
  return b.linear(b.attention(q, b.kv_store(k, v, layer), op), o_weight, o_bias, "o_proj");
}

Value gated_ffn(const Wiring& m, const Scope& w, Value x) {
  const auto& [b, c, banks, context] = m;
  const auto project = [&](Value in, std::string_view name, int64_t rows, int64_t cols) {
    const Tensor weight = w[name];
    expect_shape(weight, w, name, {rows, cols});
    return b.linear(in, weight, required_bias(w, name, c.mlp_bias), name);
  };
  const Value gate = project(x, "gate_proj", c.ffn_width, c.width);
  const Value up = project(x, "up_proj", c.ffn_width, c.width);
  return project(b.glu(gate, up, {.kind = c.activation}), "down_proj", c.width, c.ffn_width);
}

Value wanted_if_last(const Wiring& m, Value x, int layer) { return layer + 1 == m.c.layers ? m.b.wanted_rows(x) : x; }

Value decoder(const Wiring& m, const WeightStore& store, Block block) {
  const auto& [b, c, banks, context] = m;
  const Scope w(store, "model");
  const Tensor table = w["embed_tokens"];
  expect_shape(table, w, "embed_tokens", {c.vocab, c.width});
  Value x = b.embedding(table, c.embedding_scale);
  for (int layer = 0; layer < c.layers; ++layer) {
    b.set_name(fmt::format("layers.{}", layer));
    x = block(m, Scope(store, fmt::format("model.layers.{}", layer)), x, layer);
  }
  b.set_name("");
  x = b.rms_norm(b.wanted_rows(x), w["norm"], c.eps, 1, "norm");
  const Tensor head = c.tied_head ? table : store.require("lm_head.weight").tensor;
  if (!c.tied_head) expect_shape(head, Scope(store, "lm_head"), "weight", {c.vocab, c.width});
  return b.scale(b.linear(x, head, {}, "lm_head"), c.logit_scale);
}

}  // namespace moiety
