#include "bench/shapes.h"

#include "core/error.h"

namespace moiety::bench {
namespace {

std::vector<Shape> all_shapes() {
  Shape olmoe{.name = "olmoe-1b-7b", .title = "OLMoE-1B-7B", .architecture = "olmoe"};
  olmoe.layers = 16, olmoe.width = 2048, olmoe.heads = olmoe.kv_heads = 16;
  olmoe.experts = 64, olmoe.active = 8, olmoe.expert_width = 1024, olmoe.vocabulary = 50304, olmoe.context = 4096;
  olmoe.norms = Shape::QkNorms::kRow;

  Shape qwen{.name = "qwen3-30b-a3b", .title = "Qwen3-30B-A3B", .architecture = "qwen3moe"};
  qwen.layers = 48, qwen.width = 2048, qwen.heads = 32, qwen.kv_heads = 4, qwen.head_dim = 128;
  qwen.experts = 128, qwen.active = 8, qwen.expert_width = 768, qwen.vocabulary = 151936, qwen.context = 40960;
  qwen.norms = Shape::QkNorms::kHead, qwen.eps = 1e-6f, qwen.theta = 1e6f;

  Shape mixtral{.name = "mixtral-8x7b", .title = "Mixtral-8x7B", .architecture = "llama"};
  mixtral.layers = 32, mixtral.width = 4096, mixtral.heads = 32, mixtral.kv_heads = 8;
  mixtral.experts = 8, mixtral.active = 2, mixtral.expert_width = 14336, mixtral.vocabulary = 32000,
  mixtral.context = 32768;
  mixtral.theta = 1e6f;

  Shape oss{.name = "gpt-oss-20b", .title = "gpt-oss-20b", .architecture = "gpt-oss"};
  oss.layers = 24, oss.width = 2880, oss.heads = 64, oss.kv_heads = 8, oss.head_dim = 64;
  oss.experts = 32, oss.active = 4, oss.expert_width = 2880, oss.vocabulary = 201088, oss.context = 131072;
  oss.biases = true, oss.window = 128, oss.theta = 150000, oss.yarn_factor = 32, oss.yarn_context = 4096;

  Shape deepseek{.name = "deepseek-v2-lite", .title = "DeepSeek-V2-Lite", .architecture = "deepseek2"};
  deepseek.layers = 27, deepseek.width = 2048, deepseek.heads = 16, deepseek.kv_heads = 1, deepseek.head_dim = 128;
  deepseek.experts = 64, deepseek.active = 6, deepseek.expert_width = 1408, deepseek.vocabulary = 102400,
  deepseek.context = 163840;
  deepseek.ffn_width = 10944, deepseek.dense_layers = 1, deepseek.shared_experts = 2;
  deepseek.kv_rank = 512, deepseek.rope_dim = 64, deepseek.eps = 1e-6f;
  deepseek.yarn_factor = 40, deepseek.yarn_context = 4096;
  return {olmoe, qwen, mixtral, oss, deepseek};
}

class Lister {
 public:
  explicit Lister(const Shape& shape) : s_(shape) {}

  std::vector<Item> list() {
    add("token_embd.weight", "model.embed_tokens.weight", {s_.vocabulary, s_.width}, Fill::kEmbedding);
    for (layer_ = 0; layer_ < s_.layers; ++layer_) layer();
    layer_ = -1;
    add("output_norm.weight", "model.norm.weight", {s_.width}, Fill::kOnes);
    add("output.weight", "lm_head.weight", {s_.vocabulary, s_.width});
    return std::move(items_);
  }

 private:
  void add(std::string gguf, std::string hf, std::vector<int64_t> shape, Fill fill = Fill::kSmall) {
    items_.push_back({std::move(gguf), std::move(hf), std::move(shape), fill, layer_});
  }
  void in_layer(const std::string& gguf, const std::string& hf, std::vector<int64_t> shape, Fill fill = Fill::kSmall) {
    const std::string number = std::to_string(layer_) + ".";
    add("blk." + number + gguf, "model.layers." + number + hf, std::move(shape), fill);
  }

  void layer() {
    in_layer("attn_norm.weight", "input_layernorm.weight", {s_.width}, Fill::kOnes);
    in_layer(s_.biases ? "post_attention_norm.weight" : "ffn_norm.weight", "post_attention_layernorm.weight",
             {s_.width}, Fill::kOnes);
    if (s_.kv_rank > 0)
      latent_attention();
    else
      attention();
    if (layer_ < s_.dense_layers)
      ffn("", s_.ffn_width);
    else
      experts();
  }

  void attention() {
    const int64_t q = s_.heads * s_.head(), kv = s_.kv_heads * s_.head();
    if (s_.norms != Shape::QkNorms::kNone) {
      const bool row = s_.norms == Shape::QkNorms::kRow;
      in_layer("attn_q_norm.weight", "self_attn.q_norm.weight", {row ? q : s_.head()}, Fill::kOnes);
      in_layer("attn_k_norm.weight", "self_attn.k_norm.weight", {row ? kv : s_.head()}, Fill::kOnes);
    }
    in_layer("attn_k.weight", "self_attn.k_proj.weight", {kv, s_.width});
    in_layer("attn_output.weight", "self_attn.o_proj.weight", {s_.width, q});
    in_layer("attn_q.weight", "self_attn.q_proj.weight", {q, s_.width});
    in_layer("attn_v.weight", "self_attn.v_proj.weight", {kv, s_.width});
    if (!s_.biases) return;
    in_layer("attn_k.bias", "", {kv});
    in_layer("attn_output.bias", "", {s_.width});
    in_layer("attn_q.bias", "", {q});
    in_layer("attn_v.bias", "", {kv});
    in_layer("attn_sinks.weight", "", {s_.heads});
  }

  void latent_attention() {
    in_layer("attn_q.weight", "", {s_.heads * (s_.head() + s_.rope_dim), s_.width});
    in_layer("attn_kv_a_mqa.weight", "", {s_.kv_rank + s_.rope_dim, s_.width});
    in_layer("attn_kv_a_norm.weight", "", {s_.kv_rank}, Fill::kOnes);
    in_layer("attn_k_b.weight", "", {s_.heads, s_.kv_rank, s_.head()});
    in_layer("attn_v_b.weight", "", {s_.heads, s_.head(), s_.kv_rank});
    in_layer("attn_output.weight", "", {s_.width, s_.heads * s_.head()});
  }

  void ffn(const std::string& suffix, int64_t width) {
    in_layer("ffn_gate" + suffix + ".weight", "", {width, s_.width});
    in_layer("ffn_up" + suffix + ".weight", "", {width, s_.width});
    in_layer("ffn_down" + suffix + ".weight", "", {s_.width, width});
  }

  void experts() {
    in_layer("ffn_gate_inp.weight", "mlp.gate.weight", {s_.experts, s_.width});
    if (s_.biases) in_layer("ffn_gate_inp.bias", "", {s_.experts});
    for (const std::string role : {"gate", "up", "down"}) {
      const bool down = role == "down";
      const int64_t rows = down ? s_.width : s_.expert_width, cols = down ? s_.expert_width : s_.width;
      in_layer("ffn_" + role + "_exps.weight", "mlp.experts.#." + role + "_proj.weight", {s_.experts, rows, cols});
      if (s_.biases) in_layer("ffn_" + role + "_exps.bias", "", {s_.experts, rows});
    }
    if (s_.shared_experts > 0) ffn("_shexp", s_.shared_experts * s_.expert_width);
  }

  const Shape& s_;
  int64_t layer_ = -1;
  std::vector<Item> items_;
};

// q4_k_m: what deserves more bits has them, what eight experts share too.
DType mixed_type(const Item& item, const Shape& s) {
  const auto is = [&](std::string_view name) { return item.gguf.find(name) != std::string::npos; };
  const int64_t i = item.layer, n = s.layers;
  const bool more = i >= 0 && (i < n / 8 || i >= 7 * n / 8 || (i - n / 8) % 3 == 2);
  if (s.experts == 8 && (is("attn_k.weight") || is("attn_v.weight"))) return DType::kQ8_0;
  if (s.experts == 8 && is("attn_output.weight")) return DType::kQ5_K;
  return item.gguf == "output.weight" || (more && (is("attn_v.weight") || is("ffn_down"))) ? DType::kQ6_K
                                                                                           : DType::kQ4_K;
}

DType wanted_type(const Item& item, const std::string& kind, const Shape& s) {
  const bool expert = item.gguf.find("_exps.") != std::string::npos;
  if (kind == "q4_k_m") return mixed_type(item, s);
  if (kind == "q4_0" && item.gguf == "output.weight") return DType::kQ6_K;
  if (kind == "mxfp4") return expert ? DType::kMXFP4 : DType::kQ8_0;
  return *dtype_from_name(kind);
}

// A type of smaller blocks for a K-quant.
DType stand_in(DType type) {
  switch (type) {
    case DType::kQ4_K:
      return DType::kQ5_0;
    case DType::kQ5_K:
      return DType::kQ5_1;
    case DType::kQ6_K:
      return DType::kQ8_0;
    default:
      return type;
  }
}

}  // namespace

std::vector<std::string> shape_names() {
  std::vector<std::string> names;
  for (const Shape& shape : all_shapes()) names.push_back(shape.name);
  return names;
}

Shape shape_of(std::string_view name) {
  for (Shape& shape : all_shapes()) {
    if (shape.name == name) return shape;
  }
  fail(Status::kInvalidArgument, "no shape is called '{}'", printable(name));
}

std::string usual_type(const Shape& shape) { return shape.architecture == "gpt-oss" ? "mxfp4" : "q4_0"; }

std::vector<Item> tensors(const Shape& shape) { return Lister(shape).list(); }

int64_t count_of(const Item& item) {
  int64_t count = 1;
  for (const int64_t dim : item.shape) count *= dim;
  return count;
}

DType type_of(const Item& item, const std::string& kind, const Shape& shape) {
  if (kind == "bf16") return DType::kBF16;
  const bool small =
      item.shape.size() == 1 || item.gguf.ends_with(".bias") || item.gguf.find("ffn_gate_inp.") != std::string::npos;
  if (small) return DType::kF32;
  const int64_t row = item.shape.back();
  DType type = wanted_type(item, kind, shape);
  if (row % dtype_info(type).block != 0) type = stand_in(type);
  if (row % dtype_info(type).block != 0) {
    fail(Status::kInvalidArgument, "{}: rows of {} values are not whole blocks of {}", item.gguf, row,
         dtype_info(type).name);
  }
  return type;
}

void put_keys(GgufWriter& out, const Shape& s, const std::string& kind) {
  out.set_string("general.architecture", s.architecture);
  out.set_string("general.name", s.title + " shape, random weights, " + kind);
  const auto number = [&](const char* key, int64_t value) {
    out.set_u32(s.architecture + "." + key, static_cast<uint32_t>(value));
  };
  const auto real = [&](const char* key, float value) { out.set_f32(s.architecture + "." + key, value); };
  number("block_count", s.layers);
  number("context_length", s.context);
  number("embedding_length", s.width);
  number("feed_forward_length", s.ffn_width > 0 ? s.ffn_width : s.expert_width);
  number("attention.head_count", s.heads);
  number("attention.head_count_kv", s.kv_heads);
  number("expert_count", s.experts);
  number("expert_used_count", s.active);
  number("vocab_size", s.vocabulary);
  real("attention.layer_norm_rms_epsilon", s.eps);
  real("rope.freq_base", s.theta);
  if (s.architecture != "olmoe" && s.architecture != "llama") number("expert_feed_forward_length", s.expert_width);
  if (s.kv_rank > 0) {  // keys and values as they lie in the cache, and after they were unfolded
    number("attention.kv_lora_rank", s.kv_rank);
    number("attention.key_length", s.kv_rank + s.rope_dim);
    number("attention.value_length", s.kv_rank);
    number("attention.key_length_mla", s.head() + s.rope_dim);
    number("attention.value_length_mla", s.head());
    number("rope.dimension_count", s.rope_dim);
  } else if (s.head_dim > 0) {
    number("attention.key_length", s.head_dim);
    number("attention.value_length", s.head_dim);
  } else if (s.architecture == "llama") {
    number("rope.dimension_count", s.head());
  }
  if (s.window > 0) number("attention.sliding_window", s.window);
  if (s.dense_layers > 0) number("leading_dense_block_count", s.dense_layers);
  if (s.shared_experts > 0) {
    number("expert_shared_count", s.shared_experts);
    number("expert_gating_func", 1);  // softmax
    real("expert_weights_scale", 1);
    out.set_bool(s.architecture + ".expert_weights_norm", false);
  }
  if (s.yarn_factor > 0) {
    out.set_string(s.architecture + ".rope.scaling.type", "yarn");
    real("rope.scaling.factor", s.yarn_factor);
    number("rope.scaling.original_context_length", s.yarn_context);
    if (s.kv_rank > 0) real("rope.scaling.yarn_log_multiplier", 0.0707f);
  }
  out.set_string("tokenizer.ggml.model", "no_vocab");
}

}  // namespace moiety::bench
