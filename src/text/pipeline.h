// Pipeline: everything a tokenizer does, as data. Built by the loaders of tokenizer.json and of GGUF metadata,
// read-only afterwards.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/added_tokens.h"
#include "text/bpe.h"
#include "text/normalizer.h"
#include "text/pretokenizer.h"
#include "text/tokenizer.h"
#include "text/vocab.h"

namespace moiety::text {

struct DecoderStep {
  enum class Kind { kByteLevel, kByteFallback, kMetaspace, kReplace, kStrip };
  Kind kind = Kind::kByteLevel;
  Pattern pattern;           // kReplace
  std::string content;       // kReplace, kStrip (one character)
  std::string replacement;   // kMetaspace
  bool drops_first = false;  // kMetaspace: the first token loses its replacement characters
  size_t start = 0, stop = 0;
};

struct Decoder {
  std::vector<DecoderStep> steps;  // each token by itself
  bool join_spaces = false;        // no decoder: tokens with spaces between
  // After the tokens are joined: this character goes, at most so often, at the beginning and at the end.
  std::string strip_char;
  size_t strip_start = 0, strip_stop = 0;
};

class Pipeline {
 public:
  Vocab vocab;
  Bpe bpe;
  std::vector<bool> special;  // by id
  std::vector<bool> verbatim;  // by id, or empty: the token's text is what it stands for, whatever the decoder
  std::vector<AddedToken> added_tokens;
  AddedMatcher raw_matcher, normalized_matcher;  // before and after normalization
  std::vector<NormalizerStep> normalizer;
  std::vector<PretokenizerStep> pretokenizer;
  // The text may be cut before this string (unless it follows itself): no merge goes across. Empty: never.
  std::string safe_cut;
  bool space_after_special = false;  // SentencePiece in GGUF: a space before the text's start and after each control token
  Decoder decoder;
  std::optional<int32_t> newline;  // a token that is shown as "\n", whatever it is called
  std::vector<int32_t> prefix, suffix;  // add_special
  std::optional<int32_t> bos, eos, pad;
  std::vector<int32_t> end_ids;  // ascending
  std::string chat_template;

  // Sorts out what follows from the rest: call once, at the end of loading.
  void finish();

  std::vector<int32_t> encode(std::string_view text, EncodeOptions options) const;
  // The bytes of one token; `first`: nothing came before it.
  std::string piece(int32_t id, bool first) const;

 private:
  struct Run;
  void encode_text(Run& run, std::string_view text, bool at_start) const;
  void encode_words(Run& run, std::string_view text, bool at_start) const;
};

// Loaders. All throw Error kFormat or kUnsupported with file and field.
std::unique_ptr<const Pipeline> load_json(const TokenizerFiles& files);
std::unique_ptr<const Pipeline> load_source(const TokenizerSource& source);
std::unique_ptr<const Pipeline> load_fairseq(const FairseqVocabulary& source);

// Adds the tokens that end an answer by their usual names, then sorts end_ids.
void collect_end_ids(Pipeline& pipeline);
// Checks and adds an added token's patterns to the matchers.
void register_added_tokens(Pipeline& pipeline, const std::string& where);

}  // namespace moiety::text
