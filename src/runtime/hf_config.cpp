#include "runtime/hf_config.h"

#include <array>
#include <cmath>

#include "core/error.h"
#include "models/registry.h"
#include "runtime/fairseq_keys.h"
#include "runtime/json_fields.h"

namespace moiety {
namespace {

// Keys that say nothing about the numbers of inference: training, bookkeeping, Python's own switches.
constexpr std::string_view kHarmless[] = {"torch_dtype",
                                          "dtype",
                                          "transformers_version",
                                          "use_cache",
                                          "initializer_range",
                                          "attention_dropout",
                                          "output_router_logits",
                                          "router_aux_loss_coef",
                                          "router_jitter_noise",
                                          "pad_token_id",
                                          "bos_token_id",
                                          "pretraining_tp",
                                          "_name_or_path",
                                          "return_dict",
                                          "return_dict_in_generate",
                                          "output_hidden_states",
                                          "output_attentions",
                                          "problem_type",
                                          "id2label",
                                          "label2id",
                                          "chunk_size_feed_forward",
                                          "auto_map",
                                          "unsloth_version",
                                          "unsloth_fixed",
                                          "_attn_implementation",
                                          "attn_implementation",
                                          "_attn_implementation_autoset",
                                          "resid_pdrop",
                                          "embd_pdrop",
                                          "hidden_dropout",
                                          "use_return_dict",
                                          "gradient_checkpointing",
                                          "finetuning_task",
                                          "task_specific_params",
                                          "tokenizer_class",
                                          "prefix",
                                          "sep_token_id",
                                          "decoder_start_token_id",
                                          "torchscript",
                                          "use_bfloat16",
                                          "max_length",
                                          "min_length",
                                          "do_sample",
                                          "temperature",
                                          "top_k",
                                          "top_p",
                                          "typical_p",
                                          "repetition_penalty",
                                          "num_beams",
                                          "architectures",
                                          "model_type",
                                          "rope_theta",
                                          "partial_rotary_factor",
                                          "max_window_layers"};

// Keys of other models that would change numbers: fine only when they are off.
constexpr std::string_view kMustBeOff[] = {"quantization_config",
                                           "is_encoder_decoder",
                                           "add_cross_attention",
                                           "cross_attention_hidden_size",
                                           "tie_encoder_decoder",
                                           "attention_chunk_size",
                                           "attn_logit_softcapping",
                                           "final_logit_softcapping",
                                           "shared_expert_intermediate_size",
                                           "shared_intermediate_size",
                                           "n_shared_experts",
                                           "num_shared_experts",
                                           "clip_qkv",
                                           "sliding_window",
                                           "use_sliding_window",
                                           "attention_bias",
                                           "mlp_bias",
                                           "qkv_bias",
                                           "use_bias",
                                           "bias",
                                           "q_lora_rank",
                                           "kv_lora_rank",
                                           "n_group",
                                           "topk_group",
                                           "rope_interleaved",
                                           "rope_interleave",
                                           "use_qk_norm",
                                           "qk_layernorm",
                                           "pruned_heads",
                                           "mamba_d_state",
                                           "adapters",
                                           "layer_types",
                                           "swiglu_limit",
                                           "no_rope_layers",
                                           "num_nextn_predict_layers",
                                           "mlp_only_layers",
                                           "norm_topk_prob"};

constexpr std::string_view kMustBeOne[] = {"embedding_multiplier", "residual_multiplier",  "logits_scaling",
                                           "logit_scale",          "attention_multiplier", "decoder_sparse_step",
                                           "routed_scaling_factor"};

Activation activation_of(JsonFields& f) {
  const std::string name = f.string("hidden_act").value_or("silu");
  if (name == "silu" || name == "swish") return Activation::kSilu;
  if (name == "gelu") return Activation::kGelu;
  if (name == "gelu_pytorch_tanh" || name == "gelu_new") return Activation::kGeluTanh;
  if (name == "relu") return Activation::kRelu;
  fail(Status::kUnsupported, "{}: hidden_act '{}' is not supported (silu, gelu, gelu_pytorch_tanh, relu)", f.subject(),
       printable(name));
}

RopeKind rope_kind(const std::string& name, const std::string& subject) {
  constexpr std::array<std::pair<std::string_view, RopeKind>, 7> kKinds{{{"default", RopeKind::kDefault},
                                                                         {"linear", RopeKind::kLinear},
                                                                         {"dynamic", RopeKind::kDynamic},
                                                                         {"yarn", RopeKind::kYarn},
                                                                         {"longrope", RopeKind::kLongRope},
                                                                         {"su", RopeKind::kLongRope},
                                                                         {"llama3", RopeKind::kLlama3}}};
  for (const auto& [known, kind] : kKinds) {
    if (known == name) return kind;
  }
  fail(Status::kUnsupported, "{}: rope type '{}' is not supported (default, linear, dynamic, yarn, longrope, llama3)",
       subject, printable(name));
}

std::vector<float> floats(const std::optional<std::vector<double>>& values) {
  std::vector<float> out;
  if (values) {
    for (double v : *values) out.push_back(static_cast<float>(v));
  }
  return out;
}

// rope_theta + rope_scaling (transformers 4) or rope_parameters (5), the latter first.
void read_rope(JsonFields& f, Config& c, double default_theta, std::vector<std::string>& warnings) {
  RopeConfig& r = c.rope;
  r.theta = f.number("rope_theta").value_or(default_theta);
  r.partial = f.number("partial_rotary_factor").value_or(1);
  auto scaling = f.object("rope_parameters");
  auto older = f.object("rope_scaling");
  if (older && !older->unused().empty()) scaling = std::move(older);
  const auto outer_original = f.integer("original_max_position_embeddings");
  if (!scaling) return;
  JsonFields& s = *scaling;
  for (std::string_view nested : {"full_attention", "sliding_attention"}) {
    if (s.present(nested)) fail(Status::kUnsupported, "{}: one rope for each layer type is not supported", s.subject());
  }
  const auto type = s.string("rope_type");
  const auto older_type = s.string("type");
  r.kind = rope_kind(type ? *type : older_type.value_or("default"), s.subject());
  r.theta = s.number("rope_theta").value_or(r.theta);
  r.partial = s.number("partial_rotary_factor").value_or(r.partial);
  r.original_context = s.integer("original_max_position_embeddings").value_or(0);
  if (outer_original) r.original_context = *outer_original;
  const auto factor = s.number("factor");
  if (factor) {
    r.factor = *factor;
  } else if (r.kind == RopeKind::kLinear || r.kind == RopeKind::kDynamic || r.kind == RopeKind::kLlama3) {
    fail(Status::kFormat, "{}: factor is missing", s.subject());
  } else if (r.original_context > 0) {
    r.factor = static_cast<double>(c.context) / static_cast<double>(r.original_context);
  }
  r.attention_factor = s.number("attention_factor");
  const auto or_default = [](std::optional<double> v, double d) { return v && *v != 0 ? *v : d; };  // as Python's `or`
  r.beta_fast = or_default(s.number("beta_fast"), 32);
  r.beta_slow = or_default(s.number("beta_slow"), 1);
  r.mscale = s.number("mscale").value_or(0);
  r.mscale_all_dim = s.number("mscale_all_dim").value_or(0);
  r.truncate = s.boolean("truncate").value_or(true);
  r.low_freq_factor = s.number("low_freq_factor").value_or(1);
  r.high_freq_factor = s.number("high_freq_factor").value_or(4);
  r.short_factor = floats(s.numbers("short_factor"));
  r.long_factor = floats(s.numbers("long_factor"));
  if (r.kind == RopeKind::kDefault) r.attention_factor.reset();  // transformers ignores it there
  for (const std::string& key : s.unused())
    warnings.push_back(fmt::format("{}: unknown key '{}' is ignored", s.subject(), printable(key)));
}

void read_common(JsonFields& f, Config& c) {
  c.layers = f.count("num_hidden_layers");
  c.width = f.count("hidden_size");
  c.heads = f.count("num_attention_heads");
  c.kv_heads = f.count("num_key_value_heads", c.heads);
  c.vocab = f.count("vocab_size");
  c.context = f.count("max_position_embeddings");
  c.eps = static_cast<float>(f.number("rms_norm_eps").value_or(1e-6));
  c.activation = activation_of(f);
  c.tied_head = f.boolean("tie_word_embeddings").value_or(false);
  c.stop_ids = f.ids("eos_token_id");
  if (const auto dim = f.integer("head_dim")) {
    c.head_dim = f.count("head_dim");
  } else if (c.heads > 0) {
    if (c.width % c.heads != 0)
      fail(Status::kFormat, "{}: hidden_size {} is no multiple of {} heads and there is no head_dim", f.subject(),
           c.width, c.heads);
    c.head_dim = c.width / c.heads;
  }
}

// num_experts and num_local_experts are one key in two spellings.
int experts_of(JsonFields& f) {
  const int first = f.count("num_experts", -1), second = f.count("num_local_experts", -1);
  if (first >= 0 && second >= 0 && first != second) {
    fail(Status::kFormat, "{}: num_experts is {} but num_local_experts is {}", f.subject(), first, second);
  }
  if (first < 0 && second < 0) fail(Status::kFormat, "{}: num_experts is missing", f.subject());
  const int experts = std::max(first, second);
  if (experts < 1 || experts > 65536)
    fail(Status::kFormat, "{}: num_experts is {}, expected 1 to 65536", f.subject(), experts);
  return experts;
}

int window_of(JsonFields& f) {
  const auto window = f.integer("sliding_window");
  if (window && (*window < 1 || *window > INT32_MAX))
    fail(Status::kFormat, "{}: sliding_window is {}, expected 1 to 2^31-1 or null", f.subject(), *window);
  return static_cast<int>(window.value_or(0));
}

void set_windows(Config& c, int window, int first_layer) {
  if (window == 0 || c.layers < 1 || c.layers > 65536) return;
  for (int layer = 0; layer < c.layers; ++layer) c.windows.push_back(layer >= first_layer ? window : 0);
}

void read_layer_types(JsonFields& f, Config& c, int window, int first_layer) {
  const auto types = f.strings("layer_types");
  if (!types) return set_windows(c, window, first_layer);
  for (const std::string& type : *types) {
    if (type != "full_attention" && type != "sliding_attention") {
      fail(Status::kUnsupported, "{}: layer type '{}' is not supported", f.subject(), printable(type));
    }
    if (type == "sliding_attention" && window == 0)
      fail(Status::kFormat, "{}: layer_types asks for a sliding window but there is none", f.subject());
    c.windows.push_back(type == "sliding_attention" ? window : 0);
  }
}

void read_qwen(JsonFields& f, Config& c) {
  c.attention_bias = f.boolean("attention_bias").value_or(false);
  const bool use_window = f.boolean("use_sliding_window").value_or(false);
  const int window = window_of(f);
  const int window_in_use = use_window ? window : 0;
  if (c.architecture == "qwen3") {
    read_layer_types(f, c, window_in_use, f.count("max_window_layers", 28));
    return;
  }
  set_windows(c, window_in_use, 0);  // Qwen3-MoE's published code: every layer, whatever max_window_layers says
  c.experts = experts_of(f);
  c.active = f.count("num_experts_per_tok", 8);
  c.expert_width = f.count("moe_intermediate_size", 768);
  c.renormalise = f.boolean("norm_topk_prob").value_or(false);
  c.sparse_step = f.count("decoder_sparse_step", 1);
  for (double layer : f.numbers("mlp_only_layers").value_or(std::vector<double>{})) {
    if (!(layer >= 0 && layer < 65536)) fail(Status::kFormat, "{}: mlp_only_layers holds {}", f.subject(), layer);
    c.dense_layers.push_back(static_cast<int>(layer));
  }
}

void read_granite(JsonFields& f, Config& c) {
  c.attention_bias = f.boolean("attention_bias").value_or(false);
  c.embedding_scale = static_cast<float>(f.number("embedding_multiplier").value_or(1));
  c.residual_scale = static_cast<float>(f.number("residual_multiplier").value_or(1));
  c.attention_scale = static_cast<float>(f.number("attention_multiplier").value_or(1));
  const double logits = f.number("logits_scaling").value_or(1);
  if (logits == 0) fail(Status::kFormat, "{}: logits_scaling is 0", f.subject());
  if (c.attention_scale == 0) fail(Status::kFormat, "{}: attention_multiplier is 0", f.subject());
  c.logit_scale = static_cast<float>(1 / logits);
  if (c.architecture == "granite") {
    c.mlp_bias = f.boolean("mlp_bias").value_or(false);
    return;
  }
  c.experts = experts_of(f);
  c.active = f.count("num_experts_per_tok", 2);
  c.expert_width = std::exchange(c.ffn_width, 0);
}

// Each architecture's own keys. intermediate_size has been read to ffn_width.
void read_own(JsonFields& f, Config& c) {
  if (c.architecture == "olmoe") {
    c.attention_bias = f.boolean("attention_bias").value_or(false);
    c.clip_qkv = static_cast<float>(f.number("clip_qkv").value_or(0));
    c.experts = experts_of(f);
    c.active = f.count("num_experts_per_tok", 8);
    c.renormalise = f.boolean("norm_topk_prob").value_or(false);
    c.expert_width = std::exchange(c.ffn_width, 0);
  } else if (c.architecture == "mixtral") {
    c.experts = experts_of(f);
    c.active = f.count("num_experts_per_tok", 2);
    c.expert_width = std::exchange(c.ffn_width, 0);
    set_windows(c, window_of(f), 0);
  } else if (c.architecture == "qwen3" || c.architecture == "qwen3_moe") {
    read_qwen(f, c);
  } else if (c.architecture == "granite" || c.architecture == "granitemoe") {
    read_granite(f, c);
  } else if (c.architecture == kFairseqArchitecture) {
    read_fairseq_keys(f, c);
  } else {  // llama
    c.attention_bias = f.boolean("attention_bias").value_or(false);
    c.mlp_bias = f.boolean("mlp_bias").value_or(false);
  }
}

void judge_unused(const JsonFields& f, std::vector<std::string>& warnings) {
  const auto in = [](const auto& list, std::string_view key) { return std::ranges::find(list, key) != std::end(list); };
  for (const std::string& key : f.unused()) {
    if (in(kHarmless, key)) continue;
    const bool must_be_off = in(kMustBeOff, key), must_be_one = in(kMustBeOne, key);
    if ((must_be_off && !f.null_or_false_or_zero(key)) || (must_be_one && !f.equals(key, 1))) {
      fail(Status::kUnsupported, "{}: {} = {} is not supported for this architecture", f.subject(), key, f.raw(key));
    }
    if (!must_be_off && !must_be_one)
      warnings.push_back(fmt::format("{}: unknown key '{}' is ignored", f.subject(), printable(key)));
  }
}

// The parser keeps the document: it must outlive the fields.
JsonFields parse(simdjson::dom::parser& parser, std::string_view json, const std::string& subject) {
  if (json.size() > (16u << 20)) fail(Status::kFormat, "{}: is {} bytes, limit 16 MiB", subject, json.size());
  simdjson::dom::element root;
  if (const auto error = parser.parse(json.data(), json.size()).get(root)) {
    fail(Status::kFormat, "{}: is not valid JSON: {}", subject, simdjson::error_message(error));
  }
  simdjson::dom::object object;
  if (root.get(object) != simdjson::SUCCESS) fail(Status::kFormat, "{}: expected an object", subject);
  return JsonFields(object, subject);
}

}  // namespace

HfConfig read_hf_config(std::string_view json, const std::string& subject) {
  simdjson::dom::parser parser;
  JsonFields f = parse(parser, json, subject);
  HfConfig out;
  Config& c = out.config;
  const auto type = f.string("model_type");
  const auto classes = f.strings("architectures");
  const Architecture* architecture = nullptr;
  if (classes && !classes->empty()) architecture = find_architecture(classes->front());
  if (!architecture && type && (!classes || classes->empty())) architecture = find_architecture(*type);
  if (!architecture) {
    const std::string name = classes && !classes->empty() ? classes->front() : type.value_or("");
    fail(Status::kUnsupported, "{}: architecture '{}' is not supported", subject, printable(name));
  }
  c.architecture = architecture->name;
  read_common(f, c);
  c.ffn_width = f.count("intermediate_size");
  read_own(f, c);
  read_rope(f, c, c.architecture == "mixtral" ? 1e6 : 1e4, out.warnings);
  judge_unused(f, out.warnings);
  check_config(c, subject);
  return out;
}

std::vector<int32_t> read_generation_stops(std::string_view json, const std::string& subject) {
  simdjson::dom::parser parser;
  return parse(parser, json, subject).ids("eos_token_id");
}

}  // namespace moiety
