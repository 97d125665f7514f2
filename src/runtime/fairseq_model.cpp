#include "runtime/fairseq_model.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <set>

#include "core/error.h"
#include "runtime/fairseq_checkpoint.h"
#include "text/tokenizer.h"

namespace moiety {

namespace fs = std::filesystem;

namespace {

constexpr int32_t kPadId = 1, kEndId = 2;
constexpr int kActiveExperts = 2;
constexpr int kUsualContext = 2048;  // where the settings do not tell
constexpr int32_t kSpecialSymbols = 4;

constexpr std::string_view kHead = "decoder.output_projection.weight", kTable = "decoder.embed_tokens.weight";

// A key under decoder.layers: its layer, and what follows.
struct LayerKey {
  int layer = -1;
  std::string_view rest;
};

LayerKey layer_key(std::string_view name) {
  constexpr std::string_view kLayers = "decoder.layers.";
  LayerKey out;
  if (!name.starts_with(kLayers)) return out;
  const char* end = name.data() + name.size();
  const auto parsed = std::from_chars(name.data() + kLayers.size(), end, out.layer);
  if (parsed.ec != std::errc() || parsed.ptr == end || *parsed.ptr != '.') return {};
  out.rest = name.substr(static_cast<size_t>(parsed.ptr + 1 - name.data()));
  return out;
}

bool is_part(std::string_view name) {
  for (std::string_view end : {".weight", ".bias"}) {
    if (!name.ends_with(end)) continue;
    const std::string_view part = name.substr(0, name.size() - end.size());
    constexpr std::string_view kParts[] = {"self_attn.q_proj", "self_attn.k_proj",     "self_attn.v_proj", "self_attn.out_proj",
                                           "fc1",              "self_attn_layer_norm", "final_layer_norm", "fc2"};
    return std::ranges::find(kParts, part) != std::end(kParts) ||
           (part.starts_with("moe_layer.experts.") && (part.ends_with(".fc1") || part.ends_with(".fc2")));
  }
  return false;
}

// What every tensor of such a model is called; another one would change numbers and we would not know how.
bool is_known(std::string_view name) {
  if (name == kTable || name == kHead || name == "decoder.layer_norm.weight" || name == "decoder.layer_norm.bias") return true;
  const LayerKey key = layer_key(name);
  return key.layer >= 0 && (key.rest == "moe_layer.gate.wg.weight" || is_part(key.rest));
}

struct Reader {
  const FairseqCheckpoint& checkpoint;
  const std::string& subject;

  std::optional<int64_t> integer(std::string_view name) const { return checkpoint.setting(name).integer(); }
  bool truthy(std::string_view name) const { return checkpoint.setting(name).number().value_or(0) != 0; }

  template <class... Args>
  [[noreturn]] void unsupported(fmt::format_string<Args...> format, Args&&... args) const {
    fail(Status::kUnsupported, "{}: {}", subject, fmt::format(format, std::forward<Args>(args)...));
  }

  int64_t dim(std::string_view name, size_t index) const {
    const FairseqTensor* tensor = checkpoint.find(name);
    if (!tensor) fail(Status::kFormat, "{}: tensor '{}' is missing", subject, printable(name));
    if (tensor->tensor.shape.size() != 2)
      fail(Status::kFormat, "{}: expected a matrix, it has rank {}", tensor->tensor.origin, tensor->tensor.shape.size());
    return tensor->tensor.shape[index];
  }

  void refuse_what_is_not_built() const {
    for (const char* flag : {"decoder_learned_pos", "no_token_positional_embeddings", "layernorm_embedding",
                             "use_stable_embedding", "character_embeddings", "adaptive_input", "moe_top1_expert",
                             "use_alibi", "scale_fc", "scale_attn", "scale_heads", "base_layers"}) {
      if (truthy(flag)) unsupported("{} is not supported", flag);
    }
    if (checkpoint.setting("adaptive_softmax_cutoff")) unsupported("adaptive_softmax_cutoff is not supported");
    if (checkpoint.setting("decoder_normalize_before").boolean() == false)
      unsupported("decoder_normalize_before = False is not supported");
    if (const auto kind = checkpoint.setting("activation_fn").text(); kind && *kind != "gelu")
      unsupported("activation_fn '{}' is not supported (gelu is)", printable(*kind));
    for (const FairseqTensor& t : checkpoint.tensors) {
      if (!is_known(t.name)) fail(Status::kUnsupported, "{} is not one that these models have", t.tensor.origin);
    }
  }

  // Layers, and which of them have experts, by the keys that are there.
  void read_layers(Config& c) const {
    std::set<int> layers, sparse;
    for (const FairseqTensor& t : checkpoint.tensors) {
      const LayerKey key = layer_key(t.name);
      if (key.layer < 0) continue;
      layers.insert(key.layer);
      if (key.rest == "moe_layer.gate.wg.weight") sparse.insert(key.layer);
    }
    if (layers.empty()) fail(Status::kFormat, "{}: it has no layers", subject);
    c.layers = static_cast<int>(layers.size());
    if (*layers.rbegin() + 1 != c.layers) fail(Status::kFormat, "{}: layers are missing, the last is {}", subject, *layers.rbegin());
    const auto said = integer("decoder_layers");
    if (said && *said != c.layers && !checkpoint.setting("decoder_layers_to_keep"))
      fail(Status::kFormat, "{}: it has {} layers, decoder_layers says {}", subject, c.layers, *said);
    std::vector<int> dense;
    std::ranges::set_difference(layers, sparse, std::back_inserter(dense));
    if (!dense.empty()) c.ffn_width = narrow(dim(fmt::format("decoder.layers.{}.fc1.weight", dense.front()), 0));
    if (sparse.empty()) return;
    c.dense_layers = std::move(dense);
    c.experts = checkpoint.experts, c.active = kActiveExperts;
    c.expert_width = narrow(dim(fmt::format("decoder.layers.{}.moe_layer.experts.0.fc1.weight", *sparse.begin()), 0));
    if (const auto count = integer("moe_expert_count"); count && *count != c.experts)
      fail(Status::kFormat, "{}: the gates choose among {} experts, moe_expert_count says {}", subject, c.experts, *count);
    if (c.experts < kActiveExperts) unsupported("{} experts, top 2 of them are not supported", c.experts);
  }

  static int narrow(int64_t value) { return static_cast<int>(std::clamp<int64_t>(value, 0, INT32_MAX)); }

  Config read() const {
    refuse_what_is_not_built();
    Config c;
    c.architecture = "fairseq_moe";
    c.vocab = narrow(dim(kTable, 0)), c.width = narrow(dim(kTable, 1));
    read_layers(c);
    const auto heads = integer("decoder_attention_heads");
    if (!heads) fail(Status::kFormat, "{}: neither cfg nor args says decoder_attention_heads", subject);
    if (*heads < 1 || c.width % *heads != 0)
      fail(Status::kFormat, "{}: decoder_attention_heads is {}, no part of the width {}", subject, *heads, c.width);
    c.heads = c.kv_heads = narrow(*heads);
    c.head_dim = c.width / c.heads;
    for (const char* name : {"decoder_embed_dim", "decoder_input_dim", "decoder_output_dim"}) {
      if (const auto value = integer(name); value && *value != c.width) unsupported("{} is {}, the embeddings have {}", name, *value, c.width);
    }
    c.context = kUsualContext;
    for (const char* name : {"tokens_per_sample", "max_target_positions"}) {
      if (const auto value = integer(name); value && *value > 0) c.context = narrow(*value);
    }
    c.eps = 1e-5f;
    c.activation = Activation::kGelu;
    c.embedding_scale = truthy("no_scale_embedding") ? 1 : std::sqrt(static_cast<float>(c.width));
    c.normalise_before_drop = truthy("moe_normalize_gate_prob_before_dropping");
    c.final_norm = checkpoint.version > 2 && !truthy("no_decoder_final_norm");
    c.tied_head = head_is_tied();
    c.pad_id = kPadId;
    c.stop_ids = {kEndId};
    return c;
  }

  // The head may be absent, the embedding's own storage, or a copy of it.
  bool head_is_tied() const {
    const FairseqTensor *head = checkpoint.find(kHead), *table = checkpoint.find(kTable);
    if (!head && checkpoint.setting("share_decoder_input_output_embed").boolean() == false)
      fail(Status::kFormat, "{}: tensor '{}' is missing, and share_decoder_input_output_embed = False", subject, kHead);
    if (!head) return true;
    const TorchTensor &a = head->tensor, &b = table->tensor;
    if (a.shape != b.shape || a.strides != b.strides || a.type_name != b.type_name) return false;
    if (head->file == table->file && a.offset == b.offset) return true;
    const auto whole = [](const TorchTensor& t) { return t.offset == t.storage && t.elements() == t.storage_elements; };
    return a.crc && a.crc == b.crc && whole(a) && whole(b);
  }
};

void add_tensors(const FairseqCheckpoint& checkpoint, ModelSource& out) {
  for (const auto& file : checkpoint.files) out.store.own(file->file());
  for (const FairseqTensor& t : checkpoint.tensors) {
    if (t.name == kHead && out.config.tied_head) continue;
    const TorchFile& file = *checkpoint.files[t.file];
    const std::string name = t.name == kHead ? "lm_head.weight" : "model." + t.name.substr(std::string_view("decoder.").size());
    if (!t.tensor.dtype) {
      const auto shape = fmt::format("[{}]", fmt::join(t.tensor.shape, ", "));
      out.store.add({name, t.tensor.type_name, shape, t.tensor.elements() * t.tensor.item_bytes, t.tensor.origin});
    } else if (t.tensor.dense()) {
      out.store.add(name, {file.view(t.tensor), MemoryClass::kMapped, t.tensor.origin, t.name});
    } else {
      Buffer buffer;
      const Tensor copy = file.copy(t.tensor, buffer);
      out.store.own(std::move(buffer));
      out.store.add(name, {copy, MemoryClass::kCopy, t.tensor.origin, t.name});
    }
  }
}

constexpr const char *kDict = "dict.txt", *kEncoder = "encoder.json", *kMerges = "vocab.bpe";

std::string_view text_of(const MappedFile& file) {
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

// In the first of the folders that has it; empty if none does.
fs::path find_file(const std::vector<fs::path>& folders, const char* name) {
  std::error_code code;
  for (const fs::path& folder : folders) {
    if (!folder.empty() && fs::exists(folder / name, code)) return folder / name;
  }
  return {};
}

std::shared_ptr<const Tokenizer> make_tokenizer(const fs::path& dict_path, const fs::path& encoder_path, const fs::path& merges_path, int32_t rows) {
  const MappedFile dict(dict_path), encoder(encoder_path), merges(merges_path);
  FairseqVocabulary source;
  source.dict = text_of(dict), source.encoder_json = text_of(encoder), source.merges = text_of(merges);
  source.dict_name = printable(dict_path.string()), source.encoder_name = printable(encoder_path.string());
  source.merges_name = printable(merges_path.string());
  const auto lines = std::ranges::count(source.dict, '\n') + !source.dict.ends_with('\n');
  source.rows = rows > 0 ? rows : static_cast<int32_t>(std::min<int64_t>(lines + kSpecialSymbols, INT32_MAX));
  return Tokenizer::from_fairseq(source);
}

void read_tokenizer(const fs::path& beside, const fs::path& vocabulary, ModelSource& out) {
  const std::vector<fs::path> folders{vocabulary, beside};
  const fs::path dict = find_file(folders, kDict), encoder = find_file(folders, kEncoder), merges = find_file(folders, kMerges);
  std::string missing;
  for (const auto& [path, name] : {std::pair{&dict, kDict}, {&encoder, kEncoder}, {&merges, kMerges}}) {
    if (path->empty()) missing += (missing.empty() ? "" : ", ") + std::string(name);
  }
  if (!missing.empty() && !vocabulary.empty())
    fail(Status::kIo, "{}: {} not found there, nor beside the checkpoint", printable(vocabulary.string()), missing);
  if (missing.empty()) out.tokenizer = make_tokenizer(dict, encoder, merges, out.config.vocab);
  else out.warnings.push_back(fmt::format("no tokenizer: {} not found beside the checkpoint; --bpe names their folder", missing));
}

}  // namespace

ModelSource read_fairseq_model(const fs::path& path, const fs::path& vocabulary) {
  const FairseqFiles files = find_fairseq_files(path);
  const FairseqCheckpoint checkpoint = read_fairseq_checkpoint(files);
  ModelSource out;
  out.name = printable(files.stem);
  out.format = "fairseq";
  out.config = Reader{checkpoint, checkpoint.files.front()->name()}.read();
  if (!out.config.final_norm && checkpoint.find("decoder.layer_norm.weight"))
    out.warnings.push_back("decoder.version is 2 or less: decoder.layer_norm is left out, as fairseq does");
  add_tensors(checkpoint, out);
  read_tokenizer(files.folder, vocabulary, out);
  return out;
}

bool has_fairseq_tokenizer(const fs::path& folder) {
  return std::ranges::none_of(std::initializer_list<const char*>{kDict, kEncoder, kMerges},
                              [&](const char* name) { return find_file({folder}, name).empty(); });
}

std::vector<fs::path> find_fairseq_vocabulary(const fs::path& path, const fs::path& vocabulary) {
  std::error_code code;
  const fs::path beside = fs::is_directory(path, code) ? path : path.has_parent_path() ? path.parent_path() : fs::path(".");
  std::vector<fs::path> out;
  for (const char* name : {kDict, kEncoder, kMerges}) {
    if (fs::path file = find_file({vocabulary, beside}, name); !file.empty()) out.push_back(std::move(file));
  }
  return out.size() == 3 ? out : std::vector<fs::path>{};
}

std::shared_ptr<const Tokenizer> read_fairseq_tokenizer(const fs::path& folder, int32_t rows) {
  return make_tokenizer(folder / kDict, folder / kEncoder, folder / kMerges, rows);
}

}  // namespace moiety
