// Builds a tokenizer from what GGUF metadata says about it.
#include <algorithm>
#include <cmath>
#include <map>

#include "core/error.h"
#include "text/pipeline.h"
#include "text/pre_patterns.h"
#include "text/unicode.h"

namespace moiety::text {

bool cut_is_safe(const Pipeline& pipeline, std::string_view mark);  // tokenizer_json.cpp

namespace {

constexpr size_t kLongestToken = 64 * 1024;
constexpr size_t kLongestPiece = 256;  // of a SentencePiece vocabulary; its trainer's default limit is 16 characters

enum TokenType : int32_t { kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kUnused = 5, kByte = 6 };

struct Loader {
  const TokenizerSource& source;
  Pipeline& pipeline;

  [[noreturn]] void broken(std::string_view key, std::string_view what) const {
    fail(Status::kFormat, "{}: tokenizer.ggml.{}: {}", source.origin, key, what);
  }

  int32_t type_of(size_t id) const { return source.types.empty() ? int32_t{kNormal} : source.types[id]; }
  // A piece that text may become without being asked: not a control token, nor one that stands for something else.
  bool is_plain(size_t id) const { return type_of(id) == kNormal || type_of(id) == kUserDefined || type_of(id) == kUnused; }

  void check_lengths() const {
    const size_t n = source.tokens.size();
    if (n == 0) broken("tokens", "no tokens");
    if (n > INT32_MAX / 2) broken("tokens", "too many tokens");
    auto same = [&](size_t size, const char* key) {
      if (size != n) broken(key, fmt::format("{} entries for {} tokens", size, n));
    };
    if (!source.types.empty()) same(source.types.size(), "token_type");
    if (!source.scores.empty()) same(source.scores.size(), "scores");
    auto id = [&](const std::optional<uint32_t>& value, const char* key) {
      if (value && *value >= n) broken(key, fmt::format("id {}, but there are {} tokens", *value, n));
    };
    id(source.bos, "bos_token_id");
    id(source.eos, "eos_token_id");
    id(source.eot, "eot_token_id");
    id(source.unk, "unknown_token_id");
    id(source.pad, "padding_token_id");
  }

  void add_vocab() {
    size_t bytes = 0;
    for (const auto token : source.tokens) bytes += token.size() + 1;
    pipeline.vocab.reserve(source.tokens.size(), bytes);
    pipeline.special.assign(source.tokens.size(), false);
    for (size_t i = 0; i < source.tokens.size(); ++i) {
      const auto token = source.tokens[i];
      const auto id = static_cast<int32_t>(i);
      if (token.size() > kLongestToken) broken("tokens", fmt::format("token {} has {} bytes; limit {}", i, token.size(), kLongestToken));
      pipeline.vocab.add(token, id);  // of equal texts the first keeps the name
      const int32_t type = type_of(i);
      AddedToken added{std::string(token), id, type == kControl || type == kUnknown, false, false, false, false};
      pipeline.special[i] = added.special;
      if ((added.special || type == kUserDefined) && !token.empty()) {
        if (type == kUserDefined && source.model == "llama") added.content = replace_all(Pattern("▁"), " ", token);
        pipeline.added_tokens.push_back(std::move(added));
      }
    }
  }

  void set_ids() {
    auto as_id = [](const std::optional<uint32_t>& id) {
      return id ? std::optional(static_cast<int32_t>(*id)) : std::nullopt;
    };
    pipeline.bos = as_id(source.bos);
    pipeline.eos = as_id(source.eos);
    pipeline.pad = as_id(source.pad);
    if (source.eot) pipeline.end_ids.push_back(static_cast<int32_t>(*source.eot));
    if (source.types.empty()) {
      // Nothing says which tokens are control tokens: at least these are.
      for (const auto& id : {source.bos, source.eos, source.eot, source.unk}) {
        if (!id) continue;
        pipeline.special[*id] = true;
        AddedToken added;
        added.content = source.tokens[*id];
        added.id = static_cast<int32_t>(*id);
        added.special = true;
        pipeline.added_tokens.push_back(std::move(added));
      }
    }
  }

  void add_bos_eos(bool bos_by_default) {
    if (source.add_bos.value_or(bos_by_default)) {
      if (pipeline.bos) pipeline.prefix.push_back(*pipeline.bos);
      else if (source.add_bos) broken("add_bos_token", "true, but there is no bos_token_id");
    }
    if (source.add_eos.value_or(false)) {
      if (!pipeline.eos) broken("add_eos_token", "true, but there is no eos_token_id");
      pipeline.suffix.push_back(*pipeline.eos);
    }
  }

  void load_gpt2() {
    Bpe& bpe = pipeline.bpe;
    const PreTokenizer pre = find_pre_tokenizer(source.pre, source.architecture, source.origin);
    for (const auto pattern : pre.patterns) {
      PretokenizerStep step;
      step.pattern = make_regex_pattern(pattern, source.origin + ": tokenizer.ggml.pre");
      pipeline.pretokenizer.push_back(std::move(step));
    }
    if (source.merges.empty()) broken("merges", "missing or empty");
    bpe.symbols = Bpe::Symbols::kBytes;
    bpe.ignore_merges = pre.ignore_merges;
    bpe.pseudo = pipeline.vocab.size();
    for (uint32_t b = 0; b < 256; ++b) {
      std::string spelled;
      append_utf8(spelled, byte_to_char(static_cast<uint8_t>(b)));
      bpe.byte_ids[b] = pipeline.vocab.find(spelled);
    }
    add_merges();
    for (int32_t id = 0; pre.ignore_merges && id < pipeline.vocab.size(); ++id) {
      std::string bytes;
      if (is_plain(static_cast<size_t>(id)) && append_spelled_bytes(bytes, pipeline.vocab.text(id))) {
        bpe.words.insert(bpe.word_texts.emplace_back(std::move(bytes)), id);
      }
    }
    pipeline.decoder.steps.emplace_back().kind = DecoderStep::Kind::kByteLevel;
    // Control and user-defined tokens are spelled in plain text here, not in the alphabet of bytes.
    pipeline.verbatim.assign(source.tokens.size(), false);
    for (const auto& token : pipeline.added_tokens) pipeline.verbatim[static_cast<size_t>(token.id)] = true;
    add_bos_eos(pre.add_bos);
  }

  void add_merges() {
    pipeline.bpe.merges.reserve(source.merges.size());
    std::string joined;
    for (size_t i = 0; i < source.merges.size(); ++i) {
      const auto merge = source.merges[i];
      const size_t space = merge.find(' ', 1);
      if (merge.size() < 3 || space == std::string_view::npos || space + 1 == merge.size()) {
        broken("merges", fmt::format("[{}] '{}': expected two tokens with a space between", i, printable(merge)));
      }
      joined.assign(merge.substr(0, space));
      joined += merge.substr(space + 1);
      const int32_t left = pipeline.vocab.find(merge.substr(0, space));
      const int32_t right = pipeline.vocab.find(merge.substr(space + 1));
      const int32_t both = pipeline.vocab.find(joined);
      if (left < 0 || right < 0 || both < 0) {
        broken("merges", fmt::format("[{}] '{}': not in the vocabulary", i, printable(merge)));
      }
      pipeline.bpe.merges.put_if_better(left, right, {static_cast<uint32_t>(i), both});
    }
  }

  // SentencePiece merges any two neighbours that make a piece, the piece of the best score first. That is BPE with a
  // merge for each way to cut a piece in two.
  void load_llama() {
    if (source.scores.empty()) broken("scores", "missing; SentencePiece vocabularies need them");
    if (std::any_of(source.scores.begin(), source.scores.end(), [](float s) { return std::isnan(s); })) broken("scores", "not a number");
    Bpe& bpe = pipeline.bpe;
    bpe.symbols = Bpe::Symbols::kChars;
    bpe.byte_fallback = true;
    bpe.unk = source.unk ? static_cast<int32_t>(*source.unk) : -1;
    bpe.pseudo = pipeline.vocab.size();
    bpe.byte_ids.fill(-1);
    for (uint32_t b = 0; b < 256; ++b) {
      bpe.byte_ids[b] = pipeline.vocab.find(fmt::format("<0x{:02X}>", b));
      if (bpe.byte_ids[b] < 0) bpe.byte_ids[b] = pipeline.vocab.find(std::string(1, static_cast<char>(b)));
    }
    index_pieces();
    add_piece_merges();
    NormalizerStep spaces;
    spaces.kind = NormalizerStep::Kind::kReplace;
    spaces.pattern = std::string(" ");
    spaces.content = "▁";
    pipeline.normalizer.push_back(std::move(spaces));
    pipeline.space_after_special = source.add_space_prefix.value_or(true);
    DecoderStep replace;
    replace.kind = DecoderStep::Kind::kReplace;
    replace.pattern = std::string("▁");
    replace.content = " ";
    pipeline.decoder.steps.push_back(std::move(replace));
    pipeline.decoder.steps.emplace_back().kind = DecoderStep::Kind::kByteFallback;
    if (pipeline.space_after_special) {
      pipeline.decoder.strip_char = " ";
      pipeline.decoder.strip_start = 1;
    }
    if (!pipeline.bos && source.tokens.size() > 1 && type_of(1) == kControl) pipeline.bos = 1;
    if (!pipeline.eos && source.tokens.size() > 2 && type_of(2) == kControl) pipeline.eos = 2;
    add_bos_eos(true);
    if (cut_is_safe(pipeline, "▁")) pipeline.safe_cut = "▁";
  }

  void index_pieces() {
    Bpe& bpe = pipeline.bpe;
    bpe.words.reserve(source.tokens.size());
    for (size_t i = 0; i < source.tokens.size(); ++i) {
      const auto id = static_cast<int32_t>(i);
      if (is_plain(i) && !pipeline.vocab.text(id).empty()) bpe.words.insert(pipeline.vocab.text(id), id);
    }
    // Characters that are no piece themselves but part of one.
    for (size_t i = 0; i < source.tokens.size(); ++i) {
      if (!is_plain(i)) continue;
      const auto text = pipeline.vocab.text(static_cast<int32_t>(i));
      for (size_t at = 0; at < text.size();) {
        const size_t bytes = decode_char(text, at).bytes;
        const auto next = static_cast<int32_t>(static_cast<size_t>(bpe.pseudo) + bpe.pseudo_text.size());
        if (bpe.words.insert(text.substr(at, bytes), next)) bpe.pseudo_text.emplace_back(text.substr(at, bytes));
        at += bytes;
      }
    }
  }

  void add_piece_merges() {
    std::vector<float> scores(source.scores);
    std::sort(scores.begin(), scores.end(), std::greater<>());
    scores.erase(std::unique(scores.begin(), scores.end()), scores.end());
    Bpe& bpe = pipeline.bpe;
    bpe.merges.reserve(source.tokens.size() * 2);
    for (size_t i = 0; i < source.tokens.size(); ++i) {
      const auto id = static_cast<int32_t>(i);
      const auto text = pipeline.vocab.text(id);
      if (!is_plain(i) || bpe.words.find(text) != id) continue;
      if (text.size() > kLongestPiece) {
        if (type_of(i) == kUserDefined) continue;  // found as a whole, never merged
        fail(Status::kUnsupported, "{}: tokenizer.ggml.tokens: piece {} has {} bytes; limit {}", source.origin, i, text.size(), kLongestPiece);
      }
      const auto best = std::lower_bound(scores.begin(), scores.end(), source.scores[i], std::greater<>());
      const auto rank = static_cast<uint32_t>(best - scores.begin());
      for (size_t at = 0; at < text.size();) {
        at += decode_char(text, at).bytes;
        if (at >= text.size()) break;
        const int32_t left = bpe.words.find(text.substr(0, at)), right = bpe.words.find(text.substr(at));
        if (left >= 0 && right >= 0) bpe.merges.put(left, right, {rank, id});
      }
    }
  }
};

}  // namespace

std::unique_ptr<const Pipeline> load_source(const TokenizerSource& source) {
  auto pipeline = std::make_unique<Pipeline>();
  Loader loader{source, *pipeline};
  if (source.model != "gpt2" && source.model != "llama") {
    fail(Status::kUnsupported, "{}: tokenizer.ggml.model '{}' is not supported (gpt2 and llama are)", source.origin, printable(source.model));
  }
  loader.check_lengths();
  loader.add_vocab();
  loader.set_ids();
  if (source.model == "gpt2") loader.load_gpt2();
  else loader.load_llama();
  register_added_tokens(*pipeline, source.origin + ": tokenizer.ggml.tokens");
  pipeline->chat_template = source.chat_template;
  pipeline->finish();
  return pipeline;
}

}  // namespace moiety::text
