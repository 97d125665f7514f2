// Tokenizer: text to token ids and back. Immutable after it is built, so any number of threads may use one.
//
// Byte-level BPE and SentencePiece-style BPE with byte fallback, from a Hugging Face tokenizer.json or from GGUF
// metadata, and fairseq's dict.txt with GPT-2's files. The ids are those of the `tokenizers` package (tokenizer.json) or of the model's own tokenizer (GGUF).
// Bytes of the input that are not UTF-8 are kept: each is encoded by itself, as a character of no category.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer_source.h"

namespace moiety {

namespace text {
class Pipeline;
}

struct EncodeOptions {
  bool add_special = false;    // add what the model wants around a prompt: BOS, EOS
  bool parse_special = false;  // control tokens spelled in the text become themselves; otherwise they stay text
};

// The contents of the files of a Hugging Face folder; only tokenizer_json is needed.
struct TokenizerFiles {
  std::string origin = "tokenizer.json";  // for errors
  std::string_view tokenizer_json;
  std::string_view tokenizer_config_json;
  std::string_view generation_config_json;
  std::string_view config_json;
  std::string_view chat_template_jinja;  // chat_template.jinja wins over tokenizer_config's chat_template
};

class Tokenizer {
 public:
  // Reads tokenizer.json and, where they exist, tokenizer_config.json, generation_config.json, config.json and
  // chat_template.jinja of a model folder. Throws Error kIo (no tokenizer.json), kFormat, kUnsupported.
  static std::shared_ptr<const Tokenizer> from_folder(const std::filesystem::path& folder);
  static std::shared_ptr<const Tokenizer> from_json(const TokenizerFiles& files);
  static std::shared_ptr<const Tokenizer> from_source(const TokenizerSource& source);
  static std::shared_ptr<const Tokenizer> from_fairseq(const FairseqVocabulary& source);
  ~Tokenizer();

  // Throws Error kUnsupported if a regular expression of the file runs into its match or heap limit.
  std::vector<int32_t> encode(std::string_view text, EncodeOptions options = {}) const;
  // Text of all ids; what is not UTF-8 becomes U+FFFD. Throws Error kInvalidArgument for an id out of range.
  std::string decode(std::span<const int32_t> ids, bool skip_special = true) const;

  int32_t size() const;                                            // ids are 0 <= id < size()
  std::string_view token_text(int32_t id) const;                   // as the file spells it; empty for a hole
  std::string token_bytes(int32_t id) const;                       // the bytes it stands for
  std::optional<int32_t> find_token(std::string_view text) const;  // by the file's spelling
  bool is_special(int32_t id) const;                               // a control token

  std::optional<int32_t> bos() const;
  std::optional<int32_t> eos() const;
  std::optional<int32_t> pad() const;
  std::span<const int32_t> end_ids() const;  // each of these ends an answer (EOS, end of turn), ascending
  bool ends(int32_t id) const;
  bool adds_bos() const;                      // encode() with add_special begins with BOS
  bool newline_is_end() const;                // a newline is EOS (fairseq): texts are read line by line
  const std::string& chat_template() const;  // the model's, empty if it has none

 private:
  friend class Detokenizer;
  explicit Tokenizer(std::unique_ptr<const text::Pipeline> pipeline);
  std::unique_ptr<const text::Pipeline> pipeline_;
};

// Streaming detokeniser: text comes out as soon as it is certain and never ends inside a UTF-8 character.
// One conversation each; not thread-safe. Keeps the tokenizer alive.
class Detokenizer {
 public:
  // continues: the ids follow text that was shown before, so a leading space is kept.
  explicit Detokenizer(std::shared_ptr<const Tokenizer> tokenizer, bool continues = true, bool skip_special = true);
  std::string push(int32_t id);  // throws Error kInvalidArgument for an id out of range
  std::string flush();           // what was held back, incomplete bytes as U+FFFD; ready for a new text after it

 private:
  std::string take(bool all);
  std::shared_ptr<const Tokenizer> tokenizer_;
  bool continues_, skip_special_;
  bool first_ = true;    // no token came yet
  size_t stripped_ = 0;  // leading characters that the decoder removed so far
  bool stripping_ = true;
  std::string pending_;
};

}  // namespace moiety
