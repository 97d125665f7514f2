// Whole GGUF models, as other programs write them: experts in one tensor each or together, LongRoPE's factors, tensors
// of types that we lack.
#include <doctest/doctest.h>

#include "formats/gguf_writer.h"
#include "runtime/load.h"
#include "tests/runtime/model_files.h"

using namespace moiety;
using namespace moiety::test;

namespace {

Config tiny() { return find_architecture("olmoe")->tiny().front(); }

// The name in a GGUF file of a tensor of a random OLMoE; empty: it has no place there.
std::string gguf_name(const std::string& name) {
  constexpr std::pair<const char*, const char*> kParts[] = {
      {"self_attn.q_proj", "attn_q"},         {"self_attn.k_proj", "attn_k"},
      {"self_attn.v_proj", "attn_v"},         {"self_attn.o_proj", "attn_output"},
      {"self_attn.q_norm", "attn_q_norm"},    {"self_attn.k_norm", "attn_k_norm"},
      {"input_layernorm", "attn_norm"},       {"post_attention_layernorm", "ffn_norm"},
      {"mlp.gate", "ffn_gate_inp"},           {"mlp.experts.gate_proj", "ffn_gate_exps"},
      {"mlp.experts.up_proj", "ffn_up_exps"}, {"mlp.experts.down_proj", "ffn_down_exps"}};
  if (name == "model.embed_tokens.weight") return "token_embd.weight";
  if (name == "model.norm.weight") return "output_norm.weight";
  if (name == "lm_head.weight") return "output.weight";
  const std::string rest = name.substr(std::string("model.layers.").size());
  const size_t dot = rest.find('.');
  const std::string block = "blk." + rest.substr(0, dot) + ".";
  const std::string part = rest.substr(dot + 1, rest.rfind('.') - dot - 1);
  for (const auto& [from, to] : kParts) {
    if (part == from) return block + to + ".weight";
  }
  const std::string experts = "mlp.experts.";  // mlp.experts.7.gate_proj
  REQUIRE(part.starts_with(experts));
  const size_t second = part.find('.', experts.size());
  const std::string id = part.substr(experts.size(), second - experts.size()), role = part.substr(second + 1);
  return block + "ffn_" + role.substr(0, role.find('_')) + "." + id + ".weight";
}

struct Extra {
  std::string name;
  std::vector<float> values;
};

void write_gguf(const std::filesystem::path& path, const Config& c, const WeightStore& store,
                const std::function<void(GgufWriter&)>& more_keys = {}, const std::vector<Extra>& extras = {}) {
  GgufWriter writer(path);
  writer.set_string("general.architecture", "olmoe");
  const auto set = [&](const char* key, int value) {
    writer.set_u32(std::string("olmoe.") + key, static_cast<uint32_t>(value));
  };
  set("block_count", c.layers), set("embedding_length", c.width), set("context_length", c.context);
  set("attention.head_count", c.heads), set("attention.head_count_kv", c.kv_heads);
  set("attention.key_length", c.head_dim), set("attention.value_length", c.head_dim);
  set("feed_forward_length", c.expert_width), set("expert_count", c.experts), set("expert_used_count", c.active);
  writer.set_f32("olmoe.attention.layer_norm_rms_epsilon", c.eps);
  if (more_keys) more_keys(writer);
  for (const std::string& name : store.names()) {
    const Tensor& t = store.find(name)->tensor;
    writer.add_tensor(gguf_name(name), t.dtype, std::span(t.shape).first(static_cast<size_t>(t.rank)));
  }
  for (const Extra& extra : extras) {
    const int64_t shape[] = {static_cast<int64_t>(extra.values.size())};
    writer.add_tensor(extra.name, DType::kF32, shape);
  }
  for (const std::string& name : store.names()) {
    const Tensor& t = store.find(name)->tensor;
    writer.write({t.data, t.bytes()});
  }
  for (const Extra& extra : extras) writer.write(std::as_bytes(std::span(extra.values)));
  writer.commit();
}

ModelOptions reference() {
  ModelOptions options;
  options.backends = {"reference"};
  return options;
}

std::string load_error(const std::filesystem::path& path, Status status) {
  try {
    load_model(path, reference());
  } catch (const Error& error) {
    CHECK(error.status() == status);
    return error.what();
  }
  return "loaded";
}

// Gives a tensor of a file another type, with the same number of values in a row.
void change_type(const std::filesystem::path& path, const std::string& tensor, uint32_t type) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  std::string bytes{std::istreambuf_iterator<char>(file), {}};
  const size_t at = bytes.find(tensor) + tensor.size();
  uint32_t rank;
  std::memcpy(&rank, bytes.data() + at, 4);
  file.seekp(static_cast<std::streamoff>(at + 4 + 8 * rank));
  file.write(reinterpret_cast<const char*>(&type), 4);
}

}  // namespace

TEST_CASE("experts in one tensor each and experts together are the model they were written from") {
  for (const ExpertLayout layout : {ExpertLayout::kSplit, ExpertLayout::kFusedApart}) {
    const RandomOptions random{.seed = 4, .layout = layout};
    const TemporaryFolder folder;
    const auto path = folder.path() / "m.gguf";
    write_gguf(path, tiny(), RandomWeights(tiny(), random).make());
    const auto loaded = load_model(path, reference());
    CHECK(loaded->warnings().empty());
    CHECK(loaded->store().contains(layout == ExpertLayout::kSplit ? "model.layers.0.mlp.experts.7.up_proj.weight"
                                                                  : "model.layers.0.mlp.experts.up_proj.weight"));
    const auto tokens = random_tokens(tiny().vocab, 9, 1);
    CHECK(logits_of(*loaded, tokens, 9) == logits_of(*random_model(tiny(), reference(), random), tokens, 9));
  }
}

TEST_CASE("an expert that is missing, or one too small, is named") {
  const TemporaryFolder folder;
  const auto path = folder.path() / "m.gguf";
  Config more = tiny();
  more.experts += 1;
  write_gguf(path, more, RandomWeights(tiny(), {.seed = 4}).make());
  CHECK(load_error(path, Status::kFormat).find("layers.0.mlp.experts.8.gate_proj.weight' is missing") !=
        std::string::npos);
  Config wide = tiny();
  wide.expert_width += 1;
  write_gguf(path, wide, RandomWeights(tiny(), {.seed = 4}).make());
  CHECK(load_error(path, Status::kFormat).find("model.layers.0.mlp.experts.0.gate_proj") != std::string::npos);
}

TEST_CASE("LongRoPE's factors come from tensors: the short ones up to the original context, then the long ones") {
  Config c = tiny();
  const auto pairs = static_cast<size_t>(c.head_dim / 2);
  c.rope.kind = RopeKind::kLongRope, c.rope.original_context = c.context / 2, c.rope.attention_factor = 1.25f;
  for (size_t i = 0; i < pairs; ++i) {
    c.rope.short_factor.push_back(1 + 0.1f * static_cast<float>(i));
    c.rope.long_factor.push_back(2 + 0.3f * static_cast<float>(i));
  }
  const auto keys = [&](GgufWriter& writer) {
    writer.set_string("olmoe.rope.scaling.type", "longrope");
    writer.set_u32("olmoe.rope.scaling.original_context_length", static_cast<uint32_t>(c.rope.original_context));
    writer.set_f32("olmoe.rope.scaling.attn_factor", 1.25f);
  };
  const TemporaryFolder folder;
  const auto path = folder.path() / "m.gguf";
  const RandomOptions random{.seed = 4};
  const auto write = [&](const std::function<void(GgufWriter&)>& more_keys, const std::vector<Extra>& extras) {
    write_gguf(path, c, RandomWeights(c, random).make(), more_keys, extras);
  };
  const Extra shorter{"rope_factors_short.weight", c.rope.short_factor},
      longer{"rope_factors_long.weight", c.rope.long_factor};
  write(keys, {shorter, longer});
  const auto tokens = random_tokens(c.vocab, 9, 1);
  std::vector<std::vector<float>> both;
  for (const int context : {c.context / 2, c.context}) {
    ModelOptions options = reference();
    options.context = context;
    both.push_back(logits_of(*load_model(path, options), tokens, 9));
    CHECK(both.back() == logits_of(*random_model(c, options, random), tokens, 9));
  }
  CHECK(both[0] != both[1]);

  write(keys, {shorter});
  CHECK(load_error(path, Status::kFormat).find("longrope needs short_factor and long_factor") != std::string::npos);
  write(keys, {shorter, {"rope_factors_long.weight", std::vector<float>(pairs - 1, 1)}});
  CHECK(load_error(path, Status::kFormat).find("factor") != std::string::npos);
  write(keys, {shorter, {"rope_factors_long.weight", std::vector<float>(pairs, NAN)}});
  CHECK(load_error(path, Status::kFormat).find("factor") != std::string::npos);
  write({}, {shorter, longer});  // factors, and nothing says what they are for
  CHECK(load_error(path, Status::kUnsupported).find("rope_factors_long") != std::string::npos);
}

TEST_CASE("a tensor of a type that we lack matters only if the model needs it") {
  const TemporaryFolder folder;
  const auto path = folder.path() / "m.gguf";
  write_gguf(path, tiny(), RandomWeights(tiny(), {.seed = 4}).make(), {},
             {{"calibration.data", std::vector<float>(512)}});
  const auto whole = load_model(path, reference());
  constexpr uint32_t kIq2Xs = 17, kI8 = 24;
  change_type(path, "calibration.data", kIq2Xs);
  const auto loaded = load_model(path, reference());
  const auto tokens = random_tokens(tiny().vocab, 5, 1);
  CHECK(logits_of(*loaded, tokens, 5) == logits_of(*whole, tokens, 5));
  REQUIRE(loaded->store().unsupported().size() == 1);
  const UnsupportedWeight& unused = loaded->store().unsupported().front();
  CHECK(unused.type == "IQ2_XS");
  CHECK(unused.shape == "[512]");
  CHECK(unused.bytes == 148);

  change_type(path, "blk.1.ffn_up.3.weight", kI8);
  CHECK(read_model(path).store.unsupported().size() == 2);  // what inspect shows
  const std::string message = load_error(path, Status::kUnsupported);
  CHECK(message.find("m.gguf @0x") == 0);
  CHECK(message.find("tensor 'blk.1.ffn_up.3.weight' has the type I8, which is not supported") != std::string::npos);
}
