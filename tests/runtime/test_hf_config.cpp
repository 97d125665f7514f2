#include <doctest/doctest.h>

#include <string>

#include "core/error.h"
#include "runtime/hf_config.h"

using namespace moiety;

namespace {

const std::string kOlmoe = R"({"architectures": ["OlmoeForCausalLM"], "model_type": "olmoe", "attention_bias": false,
  "clip_qkv": null, "eos_token_id": 50279, "hidden_act": "silu", "hidden_size": 2048, "initializer_range": 0.02,
  "intermediate_size": 1024, "max_position_embeddings": 4096, "norm_topk_prob": false, "num_attention_heads": 16,
  "num_experts": 64, "num_experts_per_tok": 8, "num_hidden_layers": 16, "num_key_value_heads": 16, "rms_norm_eps": 1e-05,
  "rope_scaling": null, "rope_theta": 10000.0, "tie_word_embeddings": false, "torch_dtype": "bfloat16",
  "transformers_version": "4.43.0.dev0", "use_cache": true, "vocab_size": 50304})";

// `json` with the value of one key replaced, or the key added.
std::string with(std::string json, const std::string& key, const std::string& value) {
  const size_t at = json.find("\"" + key + "\"");
  if (at == std::string::npos) return "{\"" + key + "\": " + value + ", " + json.substr(1);
  const size_t colon = json.find(':', at);
  size_t end = colon + 1;
  for (int depth = 0; depth > 0 || (json[end] != ',' && json[end] != '}'); ++end) {
    if (json[end] == '[' || json[end] == '{') ++depth;
    if (json[end] == ']' || json[end] == '}') --depth;
  }
  return json.substr(0, colon + 1) + value + json.substr(end);
}

Status status_of(const std::string& json) {
  try {
    read_hf_config(json, "config.json");
  } catch (const Error& error) {
    CHECK(std::string(error.what()).starts_with("config.json"));
    return error.status();
  }
  return Status::kOk;
}

}  // namespace

TEST_CASE("OLMoE as published, in both spellings") {
  const HfConfig old = read_hf_config(kOlmoe, "config.json");
  CHECK(old.warnings.empty());
  const Config& c = old.config;
  CHECK(c.architecture == "olmoe");
  CHECK(c.head_dim == 128);
  CHECK(c.experts == 64);
  CHECK(c.active == 8);
  CHECK(c.expert_width == 1024);
  CHECK(c.ffn_width == 0);
  CHECK(c.stop_ids == std::vector<int32_t>{50279});
  std::string newer = with(kOlmoe, "rope_scaling", "null");
  newer = with(newer, "rope_parameters", R"({"rope_theta": 20000.0, "rope_type": "default"})");
  newer = with(with(newer, "dtype", "\"bfloat16\""), "num_local_experts", "64");
  const HfConfig five = read_hf_config(newer, "config.json");
  CHECK(five.warnings.empty());
  CHECK(five.config.rope.theta == 20000);
}

TEST_CASE("an unknown key is a warning, one that changes numbers an error") {
  const HfConfig read = read_hf_config(with(kOlmoe, "frobnicate", "3"), "config.json");
  REQUIRE(read.warnings.size() == 1);
  CHECK(read.warnings[0].find("frobnicate") != std::string::npos);
  CHECK(status_of(with(kOlmoe, "quantization_config", R"({"bits": 4})")) == Status::kUnsupported);
  CHECK(status_of(with(kOlmoe, "quantization_config", "null")) == Status::kOk);
  CHECK(status_of(with(kOlmoe, "sliding_window", "512")) == Status::kUnsupported);
  CHECK(status_of(with(kOlmoe, "embedding_multiplier", "12.0")) == Status::kUnsupported);
  CHECK(status_of(with(kOlmoe, "hidden_act", "\"mish\"")) == Status::kUnsupported);
  CHECK(status_of(with(kOlmoe, "architectures", "[\"T5Model\"]")) == Status::kUnsupported);
}

TEST_CASE("rope scaling of every kind") {
  const auto rope = [](const std::string& value) {
    return read_hf_config(with(kOlmoe, "rope_scaling", value), "config.json").config.rope;
  };
  CHECK(rope(R"({"type": "linear", "factor": 2.0})").kind == RopeKind::kLinear);
  CHECK(rope(R"({"rope_type": "dynamic", "factor": 2.0})").factor == 2);
  const RopeConfig llama =
      rope(R"({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192})");
  CHECK(llama.kind == RopeKind::kLlama3);
  CHECK(llama.original_context == 8192);
  const RopeConfig yarn =
      rope(R"({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 1024, "beta_fast": 16})");
  CHECK(yarn.beta_fast == 16);
  CHECK(yarn.beta_slow == 1);
  CHECK(status_of(with(kOlmoe, "rope_scaling", R"({"rope_type": "longrope", "factor": 4.0})")) == Status::kFormat);
  CHECK(status_of(with(kOlmoe, "rope_scaling", R"({"rope_type": "linear"})")) == Status::kFormat);
  CHECK(status_of(with(kOlmoe, "rope_scaling", R"({"rope_type": "spiral", "factor": 2})")) == Status::kUnsupported);
  CHECK(status_of(with(kOlmoe, "rope_scaling", R"({"rope_type": "linear", "factor": 0})")) == Status::kFormat);
}

TEST_CASE("each architecture's own keys") {
  const std::string base =
      R"("hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4,
    "vocab_size": 100, "max_position_embeddings": 128)";
  const Config mixtral = read_hf_config(R"({"model_type": "mixtral", "num_local_experts": 8, "num_experts_per_tok": 2,
    "sliding_window": 16, )" + base + "}",
                                        "config.json")
                             .config;
  CHECK(mixtral.expert_width == 128);
  CHECK(mixtral.window(3) == 16);
  CHECK(mixtral.rope.theta == 1e6);
  const Config qwen =
      read_hf_config(R"({"model_type": "qwen3_moe", "num_experts": 8, "num_experts_per_tok": 2, "head_dim": 32,
    "moe_intermediate_size": 48, "decoder_sparse_step": 2, "mlp_only_layers": [3], "norm_topk_prob": true,
    "use_sliding_window": false, "sliding_window": 8, "max_window_layers": 2, )" +
                         base + "}",
                     "config.json")
          .config;
  CHECK(qwen.head_dim == 32);
  CHECK(qwen.expert_width == 48);
  CHECK(qwen.windows.empty());
  CHECK(qwen.is_sparse(1));
  CHECK(!qwen.is_sparse(0));
  CHECK(!qwen.is_sparse(3));
  const Config dense = read_hf_config(R"({"model_type": "qwen3", "head_dim": 32, "use_sliding_window": true,
    "sliding_window": 8, "max_window_layers": 2, )" +
                                          base + "}",
                                      "config.json")
                           .config;
  CHECK(dense.windows == std::vector<int>{0, 0, 8, 8});
  const Config granite =
      read_hf_config(R"({"model_type": "granitemoe", "num_local_experts": 8, "num_experts_per_tok": 2,
    "embedding_multiplier": 12.0, "residual_multiplier": 0.22, "attention_multiplier": 0.015625, "logits_scaling": 8.0,
    "tie_word_embeddings": true, )" +
                         base + "}",
                     "config.json")
          .config;
  CHECK(granite.logit_scale == 0.125f);
  CHECK(granite.attention_scale == 0.015625f);
  CHECK(granite.tied_head);
}

TEST_CASE("hostile hyper-parameters are errors, never crashes") {
  for (const char* key :
       {"num_hidden_layers", "hidden_size", "num_attention_heads", "num_key_value_heads", "vocab_size", "num_experts",
        "num_experts_per_tok", "intermediate_size", "max_position_embeddings"}) {
    for (const char* value : {"0", "-1", "2147483648", "9223372036854775807", "18446744073709551615", "1e300", "1.5",
                              "\"8\"", "[]", "true"}) {
      CAPTURE(key);
      CAPTURE(value);
      CHECK(status_of(with(kOlmoe, key, value)) == Status::kFormat);
    }
  }
  for (const char* key : {"rms_norm_eps", "rope_theta"}) {
    for (const char* value : {"NaN", "Infinity", "-1", "1e400", "\"x\"", "[1]"}) {
      CAPTURE(key);
      CAPTURE(value);
      CHECK(status_of(with(kOlmoe, key, value)) == Status::kFormat);
    }
  }
  CHECK(status_of(with(kOlmoe, "num_experts_per_tok", "65")) == Status::kFormat);
  CHECK(status_of(with(kOlmoe, "num_experts", "65537")) == Status::kFormat);
  CHECK(status_of(with(kOlmoe, "num_key_value_heads", "3")) == Status::kFormat);
  CHECK(status_of(with(kOlmoe, "clip_qkv", "-3")) == Status::kFormat);
  CHECK(status_of(with(kOlmoe, "eos_token_id", "-7")) == Status::kFormat);
}

TEST_CASE("broken files are errors at every length") {
  for (size_t size = 0; size + 1 < kOlmoe.size(); ++size) CHECK(status_of(kOlmoe.substr(0, size)) == Status::kFormat);
  CHECK(status_of(R"({"model_type": "olmoe", "model_type": "llama"})") == Status::kFormat);
  CHECK(status_of(std::string(200000, '[')) == Status::kFormat);
  CHECK(status_of("[1]") == Status::kFormat);
}

TEST_CASE("stop tokens of generation_config.json") {
  CHECK(read_generation_stops(R"({"eos_token_id": [3, 5]})", "generation_config.json") == std::vector<int32_t>{3, 5});
  CHECK(read_generation_stops(R"({"eos_token_id": 7})", "generation_config.json") == std::vector<int32_t>{7});
  CHECK(read_generation_stops("{}", "generation_config.json").empty());
  CHECK_THROWS_AS(read_generation_stops(R"({"eos_token_id": "x"})", "generation_config.json"), Error);
}
