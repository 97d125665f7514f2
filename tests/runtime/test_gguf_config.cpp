#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <map>
#include <variant>

#include "core/error.h"
#include "runtime/gguf_config.h"

using namespace moiety;

namespace {

struct FakeMetadata : MetadataSource {
  std::map<std::string, std::variant<int64_t, double, bool, std::string>, std::less<>> values;

  template <class T>
  std::optional<T> get(std::string_view key) const {
    const auto it = values.find(key);
    if (it == values.end()) return std::nullopt;
    if (const T* value = std::get_if<T>(&it->second)) return *value;
    fail(Status::kFormat, "x.gguf: {} has the wrong type", key);
  }
  std::optional<int64_t> integer(std::string_view key) const override { return get<int64_t>(key); }
  std::optional<double> number(std::string_view key) const override {
    const auto it = values.find(key);
    if (it != values.end() && std::holds_alternative<int64_t>(it->second))
      return static_cast<double>(std::get<int64_t>(it->second));
    return get<double>(key);
  }
  std::optional<bool> boolean(std::string_view key) const override { return get<bool>(key); }
  std::optional<std::string> string(std::string_view key) const override { return get<std::string>(key); }
};

FakeMetadata base(const std::string& arch) {
  FakeMetadata m;
  m.values["general.architecture"] = arch;
  const auto set = [&](const char* key, int64_t value) { m.values[arch + "." + key] = value; };
  set("block_count", 4), set("embedding_length", 64), set("attention.head_count", 4), set("attention.head_count_kv", 2);
  set("context_length", 256), set("feed_forward_length", 128);
  m.values[arch + ".attention.layer_norm_rms_epsilon"] = 1e-5;
  if (arch != "llama" && arch != "qwen3" && arch != "granite") set("expert_count", 8), set("expert_used_count", 2);
  return m;
}

TensorFacts facts() {
  return {.vocab = 100,
          .has_output = true,
          .attention_bias = false,
          .mlp_bias = false,
          .rope_divisors = {},
          .rope_short = {},
          .rope_long = {}};
}

Status status_of(const FakeMetadata& m, const TensorFacts& f) {
  try {
    gguf_config(m, f, "x.gguf");
  } catch (const Error& error) {
    CHECK(std::string(error.what()).starts_with("x.gguf"));
    return error.status();
  }
  return Status::kOk;
}

}  // namespace

TEST_CASE("llama.cpp's architectures become ours") {
  Config c = gguf_config(base("olmoe"), facts(), "x.gguf");
  CHECK(c.architecture == "olmoe");
  CHECK(c.expert_width == 128);
  CHECK(!c.renormalise);
  CHECK(!c.rope.interleaved);
  CHECK(c.head_dim == 16);
  c = gguf_config(base("llama"), facts(), "x.gguf");
  CHECK(c.architecture == "llama");
  CHECK(c.rope.interleaved);
  FakeMetadata mixtral = base("llama");
  mixtral.values["llama.expert_count"] = int64_t{8};
  mixtral.values["llama.expert_used_count"] = int64_t{2};
  CHECK(gguf_config(mixtral, facts(), "x.gguf").architecture == "mixtral");
  FakeMetadata granite = base("granitemoe");
  granite.values["granitemoe.logit_scale"] = 8.0;
  granite.values["granitemoe.attention.scale"] = 0.25;
  TensorFacts tied = facts();
  tied.has_output = false;
  c = gguf_config(granite, tied, "x.gguf");
  CHECK(c.logit_scale == 0.125f);
  CHECK(c.attention_scale == 0.25f);
  CHECK(c.tied_head);
  FakeMetadata qwen = base("qwen3moe");
  qwen.values["qwen3moe.expert_feed_forward_length"] = int64_t{48};
  qwen.values["qwen3moe.attention.key_length"] = int64_t{32};
  qwen.values["tokenizer.ggml.eos_token_id"] = int64_t{7};
  c = gguf_config(qwen, facts(), "x.gguf");
  CHECK(c.expert_width == 48);
  CHECK(c.head_dim == 32);
  CHECK(c.renormalise);
  CHECK(c.stop_ids == std::vector<int32_t>{7});
  CHECK(status_of(base("mamba"), facts()) == Status::kUnsupported);
}

TEST_CASE("rope scaling of GGUF files") {
  FakeMetadata m = base("llama");
  m.values["llama.rope.scaling.type"] = std::string("yarn");
  m.values["llama.rope.scaling.factor"] = 4.0;
  m.values["llama.rope.scaling.original_context_length"] = int64_t{64};
  CHECK(gguf_config(m, facts(), "x.gguf").rope.kind == RopeKind::kYarn);
  m.values["llama.rope.scaling.type"] = std::string("longrope");
  CHECK(status_of(m, facts()) == Status::kFormat);  // its factors are missing
  m.values["llama.rope.scaling.type"] = std::string("spiral");
  CHECK(status_of(m, facts()) == Status::kUnsupported);
  TensorFacts f = facts();
  f.rope_divisors.assign(8, 2.0f);
  CHECK(gguf_config(base("llama"), f, "x.gguf").rope.divisors.size() == 8);
  f.rope_divisors.assign(7, 2.0f);
  CHECK(status_of(base("llama"), f) == Status::kFormat);
  f.rope_divisors.assign(8, NAN);
  CHECK(status_of(base("llama"), f) == Status::kFormat);
}

TEST_CASE("hostile metadata is an error, never a crash") {
  for (const char* key :
       {"block_count", "embedding_length", "attention.head_count", "attention.head_count_kv", "context_length",
        "expert_count", "expert_used_count", "feed_forward_length", "attention.key_length", "rope.dimension_count"}) {
    for (const int64_t value : {int64_t{0}, int64_t{-1}, int64_t{1} << 31, std::numeric_limits<int64_t>::max(),
                                std::numeric_limits<int64_t>::min()}) {
      CAPTURE(key);
      CAPTURE(value);
      FakeMetadata m = base("olmoe");
      m.values[std::string("olmoe.") + key] = value;
      CHECK(status_of(m, facts()) == Status::kFormat);
    }
    FakeMetadata m = base("olmoe");
    m.values[std::string("olmoe.") + key] = std::string("8");
    CHECK(status_of(m, facts()) == Status::kFormat);
  }
  for (const char* key : {"attention.layer_norm_rms_epsilon", "rope.freq_base"}) {
    for (const double value : {-1.0, static_cast<double>(NAN), static_cast<double>(INFINITY)}) {
      FakeMetadata m = base("olmoe");
      m.values[std::string("olmoe.") + key] = value;
      CHECK(status_of(m, facts()) == Status::kFormat);
    }
  }
  FakeMetadata m = base("olmoe");
  m.values["olmoe.expert_used_count"] = int64_t{9};
  CHECK(status_of(m, facts()) == Status::kFormat);
  m = base("olmoe");
  m.values["olmoe.expert_count"] = int64_t{65537};
  CHECK(status_of(m, facts()) == Status::kFormat);
  TensorFacts empty = facts();
  empty.vocab = 0;
  CHECK(status_of(base("olmoe"), empty) == Status::kFormat);
}

TEST_CASE("tensor names") {
  CHECK(canonical_gguf_name("olmoe", "token_embd.weight") == "model.embed_tokens.weight");
  CHECK(canonical_gguf_name("olmoe", "blk.12.attn_q.weight") == "model.layers.12.self_attn.q_proj.weight");
  CHECK(canonical_gguf_name("llama", "blk.0.attn_k.bias") == "model.layers.0.self_attn.k_proj.bias");
  CHECK(canonical_gguf_name("olmoe", "blk.3.ffn_gate_exps.weight") == "model.layers.3.mlp.experts.gate_proj.weight");
  CHECK(canonical_gguf_name("mixtral", "blk.3.ffn_down_exps.weight") == "model.layers.3.mlp.experts.w2.weight");
  CHECK(canonical_gguf_name("mixtral", "blk.3.ffn_up.7.weight") == "model.layers.3.mlp.experts.7.w3.weight");
  CHECK(canonical_gguf_name("granitemoe", "blk.3.ffn_gate_inp.weight") ==
        "model.layers.3.block_sparse_moe.router.layer.weight");
  for (const char* name : {"", "blk.", "blk.x.attn_q.weight", "blk.-1.attn_q.weight", "blk.1.weight",
                           "blk.99999999999.attn_q.weight", "blk.1.attn_z.weight"}) {
    CHECK(!canonical_gguf_name("olmoe", name));
  }
}
