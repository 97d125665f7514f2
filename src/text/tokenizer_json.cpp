// Loads a tokenizer.json and what stands beside it in a model folder.
#include <algorithm>
#include <unordered_set>

#include "text/json_steps.h"
#include "text/unicode.h"

namespace moiety::text {

namespace {

// Ids are dense in real files; a hole-ridden vocabulary must not cost memory out of proportion to its file.
int64_t id_limit(size_t tokens) { return static_cast<int64_t>(tokens) * 2 + (1 << 16); }

std::string_view model_type(const Json& model) {
  if (const auto type = model.find("type")) return type->string();
  if (model.find("merges")) return "BPE";  // files from before the field
  return model.find("continuing_subword_prefix") ? "WordPiece" : "WordLevel";
}

void read_vocab(const Json& json, Vocab& vocab) {
  const auto object = json.object();
  size_t bytes = 0, count = 0;
  for (const auto field : object) {
    bytes += field.key.size() + 1;
    ++count;
  }
  vocab.reserve(count + 256, bytes);
  const int64_t limit = id_limit(count);
  for (const auto field : object) {
    int64_t id = 0;
    if (field.value.get(id) || id < 0 || id >= limit) {
      fail(Status::kFormat, "{}: the id of '{}': expected an integer from 0 to {}", json.where, printable(field.key), limit - 1);
    }
    if (!vocab.add(field.key, static_cast<int32_t>(id))) {
      fail(Status::kFormat, "{}: '{}' or its id {} appears twice", json.where, printable(field.key), id);
    }
  }
}

struct MergeReader {
  const Json& json;
  const Vocab& vocab;
  Bpe& bpe;
  size_t index = 0;
  std::string joined;

  int32_t need(std::string_view token) const {
    const int32_t id = vocab.find(token);
    if (id < 0) fail(Status::kFormat, "{}[{}]: '{}' is not in the vocabulary", json.where, index, printable(token));
    return id;
  }

  void add(std::string_view left, std::string_view right) {
    joined.assign(left);
    joined += right.starts_with(bpe.continuing_prefix) ? right.substr(bpe.continuing_prefix.size()) : right;
    bpe.merges.put(need(left), need(right), {static_cast<uint32_t>(index), need(joined)});
    ++index;
  }
};

void read_merges(const Json& json, const Vocab& vocab, Bpe& bpe) {
  const auto list = json.array();
  // simdjson's own count saturates at 2^24 - 1.
  bpe.merges.reserve(list.size());
  MergeReader reader{json, vocab, bpe, 0, {}};
  for (const auto element : list) {
    std::string_view both;
    if (!element.get(both)) {
      const size_t space = both.find(' ');
      if (space == std::string_view::npos || both.find(' ', space + 1) != std::string_view::npos) {
        fail(Status::kFormat, "{}[{}]: '{}' is not two tokens with a space between", json.where, reader.index, printable(both));
      }
      reader.add(both.substr(0, space), both.substr(space + 1));
      continue;
    }
    simdjson::dom::array pair;
    std::string_view left, right;
    if (element.get(pair) || pair.size() != 2 || pair.at(0).get(left) || pair.at(1).get(right)) {
      fail(Status::kFormat, "{}[{}]: expected a pair of tokens", json.where, reader.index);
    }
    reader.add(left, right);
  }
}

void read_model(const Json& model, Pipeline& pipeline) {
  Bpe& bpe = pipeline.bpe;
  if (const auto type = model_type(model); type != "BPE") {
    fail(Status::kUnsupported, "{}: the type '{}' is not supported, only BPE is", model.where, printable(type));
  }
  if (const auto dropout = model.find("dropout")) {
    double p = 0;
    if (dropout->value.get(p) || p != 0) fail(Status::kUnsupported, "{}: dropout when encoding", dropout->where);
  }
  bpe.continuing_prefix = model.string_or("continuing_subword_prefix", "");
  bpe.end_suffix = model.string_or("end_of_word_suffix", "");
  bpe.ignore_merges = model.flag("ignore_merges", false);
  bpe.fuse_unk = model.flag("fuse_unk", false);
  bpe.byte_fallback = model.flag("byte_fallback", false);
  read_vocab(model.need("vocab"), pipeline.vocab);
  if (const auto unk = model.find("unk_token")) bpe.unk = pipeline.vocab.find(unk->string());
  read_merges(model.need("merges"), pipeline.vocab, bpe);
}

// Gives the ids that the model's own vocabulary does not have.
std::unordered_set<int32_t> read_added_tokens(const Json& json, Pipeline& pipeline) {
  std::unordered_set<int32_t> added_only;
  size_t i = 0;
  const auto list = json.array();
  const int64_t limit = id_limit(static_cast<size_t>(pipeline.vocab.size()) + list.size());
  for (const auto element : list) {
    const Json item = json.item(element, i++);
    AddedToken token;
    token.content = item.need("content").string();
    token.special = item.flag("special", false);
    token.normalized = item.flag("normalized", !token.special);
    token.lstrip = item.flag("lstrip", false);
    token.rstrip = item.flag("rstrip", false);
    token.single_word = item.flag("single_word", false);
    const auto stated = static_cast<int32_t>(item.need("id").integer(0, limit - 1));
    if (token.content.empty()) continue;
    token.id = pipeline.vocab.find(token.content);
    if (token.id < 0) {
      token.id = stated;
      if (!pipeline.vocab.add(token.content, stated)) {
        fail(Status::kFormat, "{}: id {} of '{}' belongs to '{}'", item.where, stated, printable(token.content),
             printable(pipeline.vocab.text(stated)));
      }
      added_only.insert(stated);
    }
    pipeline.added_tokens.push_back(std::move(token));
  }
  return added_only;
}

int32_t need_token(const Json& json, const Pipeline& pipeline) {
  const int32_t id = pipeline.vocab.find(json.string());
  if (id < 0) fail(Status::kFormat, "{}: '{}' is not in the vocabulary", json.where, printable(json.string()));
  return id;
}

void read_template(const Json& json, const Pipeline& pipeline, std::vector<int32_t>& prefix, std::vector<int32_t>& suffix) {
  const Json single = json.need("single");
  const auto special_tokens = json.find("special_tokens");
  bool after = false;
  size_t i = 0;
  for (const auto element : single.array()) {
    const Json item = single.item(element, i++);
    if (item.find("Sequence")) {
      if (after) fail(Status::kUnsupported, "{}: the text twice", item.where);
      after = true;
      continue;
    }
    const Json name = item.need("SpecialToken").need("id");
    if (!special_tokens) fail(Status::kFormat, "{}: no special_tokens", json.where);
    const Json ids = special_tokens->need(name.string()).need("ids");
    size_t k = 0;
    for (const auto id : ids.array()) {
      const auto value = ids.item(id, k++).integer(0, pipeline.vocab.size() - 1);
      (after ? suffix : prefix).push_back(static_cast<int32_t>(value));
    }
  }
}

void read_post_processor(const Json& json, Pipeline& pipeline) {
  const auto type = json.need("type").string();
  std::vector<int32_t> prefix, suffix;
  if (type == "Sequence") {
    const Json list = json.need("processors");
    size_t i = 0;
    for (const auto element : list.array()) read_post_processor(list.item(element, i++), pipeline);
    return;
  }
  if (type == "ByteLevel") return;  // it only moves offsets
  if (type == "TemplateProcessing") {
    read_template(json, pipeline, prefix, suffix);
  } else if (type == "RobertaProcessing" || type == "BertProcessing") {
    auto id_of = [&](const char* key) {
      const Json pair = json.need(key);
      simdjson::dom::element token;
      if (pair.array().at(0).get(token)) pair.wrong("a token and its id");
      return need_token(pair.item(token, 0), pipeline);
    };
    prefix.push_back(id_of("cls"));
    suffix.push_back(id_of("sep"));
  } else {
    fail(Status::kUnsupported, "{}: the type '{}' is not supported", json.where, printable(type));
  }
  pipeline.prefix.insert(pipeline.prefix.begin(), prefix.begin(), prefix.end());
  pipeline.suffix.insert(pipeline.suffix.end(), suffix.begin(), suffix.end());
}

// A token's name: a string, or an object with `content`. None if it is not in the vocabulary.
std::optional<int32_t> config_token(const Json& config, std::string_view key, const Vocab& vocab) {
  const auto member = config.find(key);
  if (!member) return std::nullopt;
  const auto text = member->value.is_string() ? member->string() : member->need("content").string();
  const int32_t id = vocab.find(text);
  return id < 0 ? std::nullopt : std::optional(id);
}

void read_config(const Json& config, Pipeline& pipeline) {
  pipeline.bos = config_token(config, "bos_token", pipeline.vocab);
  pipeline.eos = config_token(config, "eos_token", pipeline.vocab);
  pipeline.pad = config_token(config, "pad_token", pipeline.vocab);
  auto wants = [&](const char* key) { return config.flag(key, false); };
  // The template of tokenizer.json counts; the flags only add what it leaves out.
  if (wants("add_bos_token") && pipeline.bos && pipeline.prefix.empty()) pipeline.prefix.push_back(*pipeline.bos);
  if (wants("add_eos_token") && pipeline.eos && pipeline.suffix.empty()) pipeline.suffix.push_back(*pipeline.eos);
  const auto chat = config.find("chat_template");
  if (!chat) return;
  if (chat->value.is_string()) {
    pipeline.chat_template = chat->string();
    return;
  }
  // A list of named templates: the default one is for chats.
  size_t i = 0;
  for (const auto element : chat->array()) {
    const Json item = chat->item(element, i++);
    if (item.need("name").string() == "default") pipeline.chat_template = item.need("template").string();
  }
}

// eos_token_id and the like: a number or a list of them. Ids beyond the vocabulary are padding's fault: left out.
void read_ids(const Json& config, Pipeline& pipeline) {
  auto ids_of = [&](const char* key) {
    std::vector<int32_t> ids;
    const auto member = config.find(key);
    if (!member) return ids;
    auto take = [&](const Json& json) {
      const int64_t id = json.integer(-1, INT32_MAX);
      if (pipeline.vocab.has(static_cast<int32_t>(id))) ids.push_back(static_cast<int32_t>(id));
    };
    if (!member->value.is_array()) {
      take(*member);
      return ids;
    }
    size_t i = 0;
    for (const auto element : member->array()) take(member->item(element, i++));
    return ids;
  };
  const auto eos = ids_of("eos_token_id"), bos = ids_of("bos_token_id"), pad = ids_of("pad_token_id");
  pipeline.end_ids.insert(pipeline.end_ids.end(), eos.begin(), eos.end());
  if (!pipeline.eos && !eos.empty()) pipeline.eos = eos.front();
  if (!pipeline.bos && !bos.empty()) pipeline.bos = bos.front();
  if (!pipeline.pad && !pad.empty()) pipeline.pad = pad.front();
}

// The table that turns characters or bytes into first symbols.
void index_symbols(Pipeline& pipeline) {
  Bpe& bpe = pipeline.bpe;
  const Vocab& vocab = pipeline.vocab;
  auto& steps = pipeline.pretokenizer;
  const bool affixes = !bpe.continuing_prefix.empty() || !bpe.end_suffix.empty();
  // If bytes are spelled last, BPE can take the bytes themselves.
  const bool raw = !steps.empty() && steps.back().kind == PretokenizerStep::Kind::kByteLevel && !affixes && !bpe.byte_fallback;
  bpe.pseudo = vocab.size();
  bpe.symbols = raw ? Bpe::Symbols::kBytes : Bpe::Symbols::kChars;
  bpe.byte_ids.fill(-1);
  bpe.words.reserve(static_cast<size_t>(vocab.size()));
  if (raw) {
    steps.back().spell_bytes = false;
    for (uint32_t b = 0; b < 256; ++b) {
      std::string spelled;
      append_utf8(spelled, byte_to_char(static_cast<uint8_t>(b)));
      bpe.byte_ids[b] = vocab.find(spelled);
    }
  } else {
    for (uint32_t b = 0; b < 256; ++b) bpe.byte_ids[b] = vocab.find(fmt::format("<0x{:02X}>", b));
  }
}

}  // namespace

// Cutting a word before each run of `mark` changes nothing if no merge goes across such a place.
bool cut_is_safe(const Pipeline& pipeline, std::string_view mark) {
  if (pipeline.bpe.ignore_merges || !pipeline.bpe.end_suffix.empty() || !pipeline.bpe.continuing_prefix.empty()) return false;
  if (pipeline.vocab.find(mark) < 0) return false;
  for (int32_t id = 0; id < pipeline.vocab.size(); ++id) {
    const auto text = pipeline.vocab.text(id);
    for (size_t at = text.find(mark, 1); at != std::string_view::npos; at = text.find(mark, at + 1)) {
      if (!text.substr(0, at).ends_with(mark)) return false;
    }
  }
  return true;
}

std::unique_ptr<const Pipeline> load_json(const TokenizerFiles& files) {
  auto pipeline = std::make_unique<Pipeline>();
  simdjson::dom::parser parser;
  const Json root = parse_json(parser, files.tokenizer_json, files.origin);
  read_model(root.need("model"), *pipeline);
  std::unordered_set<int32_t> added_only;
  if (const auto added = root.find("added_tokens")) added_only = read_added_tokens(*added, *pipeline);
  if (const auto json = root.find("normalizer")) read_normalizer(*json, pipeline->normalizer);
  if (const auto json = root.find("pre_tokenizer")) read_pretokenizer(*json, pipeline->pretokenizer);
  if (const auto json = root.find("decoder")) read_decoder(*json, pipeline->decoder);
  else pipeline->decoder.join_spaces = true;
  if (const auto json = root.find("post_processor")) read_post_processor(*json, *pipeline);
  index_symbols(*pipeline);
  Bpe& bpe = pipeline->bpe;
  // Words look up the model's own tokens, not the added ones.
  const bool needs_words = bpe.symbols == Bpe::Symbols::kChars || bpe.ignore_merges;
  for (int32_t id = 0; needs_words && id < pipeline->vocab.size(); ++id) {
    if (!pipeline->vocab.has(id) || added_only.contains(id)) continue;
    if (bpe.symbols == Bpe::Symbols::kChars) {
      bpe.words.insert(pipeline->vocab.text(id), id);
      continue;
    }
    std::string bytes;
    if (append_spelled_bytes(bytes, pipeline->vocab.text(id))) bpe.words.insert(bpe.word_texts.emplace_back(std::move(bytes)), id);
  }
  register_added_tokens(*pipeline, files.origin + ": added_tokens");
  if (bpe.symbols == Bpe::Symbols::kChars && cut_is_safe(*pipeline, "▁")) pipeline->safe_cut = "▁";

  auto beside = [&](std::string_view text, const char* name, auto read) {
    if (text.empty()) return;
    simdjson::dom::parser own;
    read(parse_json(own, text, name), *pipeline);
  };
  beside(files.tokenizer_config_json, "tokenizer_config.json", read_config);
  beside(files.generation_config_json, "generation_config.json", read_ids);
  beside(files.config_json, "config.json", read_ids);
  if (!files.chat_template_jinja.empty()) pipeline->chat_template = files.chat_template_jinja;
  pipeline->finish();
  return pipeline;
}

}  // namespace moiety::text
