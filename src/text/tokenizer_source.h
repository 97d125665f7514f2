// TokenizerSource: a tokenizer as a GGUF file's metadata describes it, but without GGUF: the loader fills it, and
// Tokenizer::from_source() checks every field (it comes from a file, so nothing in it is trusted).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace moiety {

struct TokenizerSource {
  std::string origin;        // file name, for errors
  std::string model;         // tokenizer.ggml.model: "gpt2" (byte-level BPE) or "llama" (SentencePiece BPE)
  std::string pre;           // tokenizer.ggml.pre; empty if the key is absent
  std::string architecture;  // general.architecture; decides the pre-tokenizer if `pre` is absent

  // Views: what they point to must live until from_source() returns.
  std::vector<std::string_view> tokens;  // the index is the id
  std::vector<float> scores;             // "llama" needs one a token; may be empty for "gpt2"
  std::vector<int32_t> types;            // 1 normal, 2 unknown, 3 control, 4 user defined, 5 unused, 6 byte; or empty
  std::vector<std::string_view> merges;  // "left right", best first; "gpt2" needs them

  std::optional<uint32_t> bos, eos, eot, unk, pad;
  std::optional<bool> add_bos, add_eos, add_space_prefix;
  std::string chat_template;  // tokenizer.chat_template, kept as it is
};

// The contents of fairseq's files; the model has `rows` rows of embeddings, dict.txt at most as many symbols.
struct FairseqVocabulary {
  std::string_view dict, encoder_json, merges;  // dict.txt, encoder.json, vocab.bpe
  std::string dict_name = "dict.txt", encoder_name = "encoder.json", merges_name = "vocab.bpe";  // for errors
  int32_t rows = 0;
  // A newline is never encoded: it becomes </s> (id 2), and </s> is shown as one. False: BPE encodes it as any byte.
  bool newline_is_end = true;
};

}  // namespace moiety
