#include "runtime/gguf_model.h"

#include <algorithm>
#include <charconv>
#include <span>

#include "core/blocks.h"
#include "core/error.h"
#include "formats/gguf.h"
#include "formats/gguf_vocabulary.h"
#include "runtime/gguf_config.h"
#include "runtime/pack.h"
#include "text/tokenizer.h"

namespace moiety {
namespace {

class GgufKeys : public MetadataSource {
 public:
  explicit GgufKeys(const GgufMetadata& metadata) : metadata_(metadata) {}

  std::optional<int64_t> integer(std::string_view key) const override {
    const GgufValue* value = metadata_.find(key);
    if (!value) return std::nullopt;
    if (!value->is_array) return metadata_.get_i64(key);
    const auto list = metadata_.get_integers(key);  // one value a layer, in some files
    if (list->empty() || std::ranges::adjacent_find(*list, std::ranges::not_equal_to()) != list->end()) {
      fail(Status::kUnsupported, "{}: layers that differ are not supported", metadata_.where(*value));
    }
    return list->front();
  }
  std::optional<double> number(std::string_view key) const override {
    const GgufValue* value = metadata_.find(key);
    if (!value) return std::nullopt;
    if (value->type == GgufType::kF32 || value->type == GgufType::kF64)
      return static_cast<double>(*metadata_.get_f32(key));
    if (value->type == GgufType::kBool) return *metadata_.get_bool(key) ? 1 : 0;
    return static_cast<double>(*integer(key));
  }
  std::optional<bool> boolean(std::string_view key) const override { return metadata_.get_bool(key); }
  std::optional<std::string> string(std::string_view key) const override {
    const auto value = metadata_.get_string(key);
    return value ? std::optional(std::string(*value)) : std::nullopt;
  }

 private:
  const GgufMetadata& metadata_;
};

std::vector<float> small_floats(const GgufFile& file, std::string_view name) {
  const GgufTensor* tensor = file.find(name);
  if (!tensor) return {};
  const Tensor view = file.view(*tensor);
  if (view.rank != 1 || view.elements() > 65536)
    fail(Status::kFormat, "{}: has shape {}, expected a short list", file.where(*tensor), shape_string(view));
  std::vector<float> values(static_cast<size_t>(view.elements()));
  decode(view.dtype, view.data, values.data(), view.elements());
  return values;
}

TensorFacts facts_of(const GgufFile& file) {
  TensorFacts facts;
  if (const GgufTensor* table = file.find("token_embd.weight"); table && table->rank == 2)
    facts.vocab = table->shape[0];
  facts.has_output = file.find("output.weight") != nullptr;
  if (const GgufTensor* table = file.find("model.embed_tokens.weight"); table && table->rank == 2) {  // fairseq
    facts.vocab = table->shape[0];
    facts.has_output = file.find("lm_head.weight") != nullptr;
    for (const GgufTensor& tensor : file.tensors) {
      constexpr std::string_view kLayers = "model.layers.", kGate = ".moe_layer.gate.wg.weight";
      if (!tensor.name.starts_with(kLayers) || !tensor.name.ends_with(kGate)) continue;
      const std::string_view number = tensor.name.substr(kLayers.size(), tensor.name.size() - kLayers.size() - kGate.size());
      int layer = -1;
      if (std::from_chars(number.data(), number.data() + number.size(), layer).ec == std::errc()) facts.gated.push_back(layer);
    }
  }
  facts.attention_bias = file.find("blk.0.attn_q.bias") != nullptr;
  facts.mlp_bias = file.find("blk.0.ffn_up.bias") != nullptr;
  facts.rope_divisors = small_floats(file, "rope_freqs.weight");
  facts.rope_short = small_floats(file, "rope_factors_short.weight");
  facts.rope_long = small_floats(file, "rope_factors_long.weight");
  return facts;
}

constexpr std::string_view kFairseqTokenizer = "fairseq";

// Its three files, as convert writes them.
void read_fairseq_tokenizer(const GgufMetadata& m, const std::string& subject, ModelSource& out) {
  FairseqVocabulary source;
  const auto text = [&](const char* name, std::string_view& to, std::string& shown) {
    const std::string key = fmt::format("tokenizer.fairseq.{}", name);
    to = m.require_string(key);
    shown = fmt::format("{}: {}", subject, key);
  };
  text("dict.txt", source.dict, source.dict_name);
  text("encoder.json", source.encoder_json, source.encoder_name);
  text("vocab.bpe", source.merges, source.merges_name);
  source.rows = out.config.vocab;
  out.tokenizer = Tokenizer::from_fairseq(source);
}

void read_tokenizer(const GgufFile& file, const std::string& subject, ModelSource& out) {
  const GgufMetadata& m = file.metadata;
  const std::string model(m.get_string("tokenizer.ggml.model").value_or("none"));
  if (model == kFairseqTokenizer) return read_fairseq_tokenizer(m, subject, out);
  if (model != "gpt2" && model != "llama") {
    if (model != "none" && model != "no_vocab")
      out.warnings.push_back(fmt::format("{}: tokenizer '{}' is not supported", subject, printable(model)));
    return;
  }
  GgufVocabulary vocabulary = check_gguf_vocabulary(m);
  TokenizerSource source;
  source.origin = subject;
  source.model = model;
  source.pre = m.get_string("tokenizer.ggml.pre").value_or("");
  source.architecture = m.get_string("general.architecture").value_or("");
  source.tokens = std::move(vocabulary.tokens);
  source.scores = std::move(vocabulary.scores);
  source.types = std::move(vocabulary.types);
  source.merges = std::move(vocabulary.merges);
  source.bos = vocabulary.bos, source.eos = vocabulary.eos, source.eot = vocabulary.eot;
  source.unk = vocabulary.unknown, source.pad = vocabulary.padding;
  source.add_bos = m.get_bool("tokenizer.ggml.add_bos_token");
  source.add_eos = m.get_bool("tokenizer.ggml.add_eos_token");
  source.add_space_prefix = m.get_bool("tokenizer.ggml.add_space_prefix");
  source.chat_template = m.get_string("tokenizer.chat_template").value_or("");
  try {
    out.tokenizer = Tokenizer::from_source(source);
  } catch (const Error& error) {
    if (error.status() != Status::kUnsupported) throw;
    out.warnings.push_back(fmt::format("no tokenizer: {}", error.what()));
  }
}

bool used_elsewhere(std::string_view name) {
  return name.starts_with("rope_freqs.") || name.starts_with("rope_factors_");
}

}  // namespace

ModelSource read_gguf_model(const std::filesystem::path& path) {
  const GgufFile file = open_gguf(path);
  ModelSource out;
  out.name = printable(path.filename().string());
  const bool packed = is_packed(file);
  out.format = packed ? "panels" : "gguf";
  out.config = gguf_config(GgufKeys(file.metadata), facts_of(file), out.name);
  for (const auto& shard : file.shards) out.store.own(shard);
  for (const GgufTensor& tensor : file.tensors) {
    const std::string own(tensor.name);
    if (packed && !is_packed_weight(own)) continue;
    const bool expert = packed && own.starts_with("model.");  // their names are canonical
    const auto canonical = expert ? std::optional(own) : canonical_gguf_name(out.config.architecture, own);
    if (!canonical && !used_elsewhere(own))
      out.warnings.push_back(fmt::format("{}: tensor '{}' is not used", out.name, printable(own)));
    const std::string name = canonical.value_or(own);
    if (tensor.dtype) {
      out.store.add(name, {file.view(tensor), MemoryClass::kMapped, file.where(tensor), own});
    } else {
      const auto shape = fmt::format("[{}]", fmt::join(std::span(tensor.shape).first(tensor.rank), ", "));
      out.store.add({name, tensor.type_name, shape, tensor.bytes, file.where(tensor)});
    }
  }
  read_tokenizer(file, out.name, out);
  return out;
}

}  // namespace moiety
