// Any bytes through a tokenizer of each kind (the first byte says which), against the definition: split by PCRE2, then
// the best pair merged again and again.
#include <array>
#include <deque>
#include <map>

#include "tests/fuzz/use_tokenizer.h"
#include "text/pattern.h"
#include "text/pre_patterns.h"
#include "text/unicode.h"

namespace {

using namespace moiety;
using namespace moiety::test;

constexpr const char* kPre[] = {"gpt-2",      "default",     "starcoder",    "llama-bpe",      "qwen2",
                                "gpt-4o",     "deepseek-v3", "deepseek-llm", "deepseek-coder", "tekken",
                                "seed-coder", "bloom",       "falcon",       "qwen35"};
// Byte sequences that merge, the best first: letters, digits, spaces, the bytes of é, of a llama and of CJK signs.
constexpr std::array<const char*, 2> kMerges[] = {
    {"t", "h"},   {"th", "e"},      {" ", "the"},     {"a", "a"},           {"aa", "aa"},     {"aa", "a"},
    {" ", " "},   {"  ", "  "},     {"\n", "\n"},     {"1", "2"},           {"12", "3"},      {"0", "0"},
    {"\r", "\n"}, {"\xC3", "\xA9"}, {"\xF0", "\x9F"}, {"\xF0\x9F", "\xA6"}, {"\xE4", "\xB8"}, {"'", "s"},
    {"e", "r"},   {" ", "a"},       {"<", "|"},       {"\xCC", "\x81"},     {"the", " "}};

struct ByteVocabulary {
  std::deque<std::string> texts;
  std::map<std::string, int32_t, std::less<>> ids;  // by the bytes
  TokenizerSource source;

  static std::string spelled(std::string_view bytes) {
    std::string out;
    for (const char byte : bytes) text::append_utf8(out, text::byte_to_char(static_cast<uint8_t>(byte)));
    return out;
  }
  void token(const std::string& bytes) {
    if (!ids.emplace(bytes, static_cast<int32_t>(source.tokens.size())).second) return;
    source.tokens.push_back(texts.emplace_back(spelled(bytes)));
    source.types.push_back(1);
  }
  explicit ByteVocabulary(const char* pre) {
    source.origin = "fuzz", source.model = "gpt2", source.pre = pre;
    for (int byte = 0; byte < 256; ++byte) token(std::string(1, static_cast<char>(byte)));
    for (const auto& [left, right] : kMerges) {
      token(std::string(left) + right);
      source.merges.push_back(texts.emplace_back(spelled(left) + " " + spelled(right)));
    }
    source.tokens.push_back("<|im_end|>");
    source.types.push_back(3);
    source.eos = static_cast<uint32_t>(source.tokens.size() - 1);
  }
};

std::vector<std::string> slow_split(const std::vector<std::string_view>& patterns, std::string_view input) {
  std::vector<std::string> parts{std::string(input)};
  for (const std::string_view pattern : patterns) {
    const text::Pattern regex = text::Regex(pattern, "fuzz");
    std::vector<std::string> next;
    for (const std::string& part : parts) {
      text::SplitScratch scratch;
      text::segments_of(regex, part, scratch);
      for (const text::Segment& s : scratch.segments) next.push_back(part.substr(s.begin, s.end - s.begin));
    }
    parts = std::move(next);
  }
  return parts;
}

void slow_bpe(const ByteVocabulary& vocabulary, const std::string& word, bool ignore_merges,
              std::vector<int32_t>& out) {
  if (ignore_merges && vocabulary.ids.contains(word)) return out.push_back(vocabulary.ids.at(word));
  std::vector<std::string> symbols;
  for (const char byte : word) symbols.emplace_back(1, byte);
  for (bool merged = true; merged;) {
    merged = false;
    for (const auto& [left, right] : kMerges) {
      for (size_t i = 0; i + 1 < symbols.size() && !merged; ++i) {
        if (symbols[i] != left || symbols[i + 1] != right) continue;
        symbols[i] += symbols[i + 1];
        symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(i) + 1);
        merged = true;
      }
      if (merged) break;
    }
  }
  for (const std::string& symbol : symbols) out.push_back(vocabulary.ids.at(symbol));
}

void check_bytes(const char* pre, std::string_view input) {
  const ByteVocabulary vocabulary(pre);
  const auto tokenizer = Tokenizer::from_source(vocabulary.source);
  use_tokenizer(tokenizer, input);
  std::string bytes;
  for (const int32_t id : tokenizer->encode(input)) bytes += tokenizer->token_bytes(id);
  require(bytes == input);
  const std::string valid = text::repair_utf8(input);
  const text::PreTokenizer how = text::find_pre_tokenizer(pre, "", "fuzz");
  std::vector<int32_t> want;
  for (const std::string& word : slow_split(how.patterns, valid)) slow_bpe(vocabulary, word, how.ignore_merges, want);
  require(tokenizer->encode(valid) == want);
}

void check_pieces(std::string_view input) {
  TokenizerSource source;
  std::deque<std::string> texts;
  const auto token = [&](std::string piece, int32_t type) {
    source.scores.push_back(-static_cast<float>(texts.size()));
    source.tokens.push_back(texts.emplace_back(std::move(piece)));
    source.types.push_back(type);
  };
  source.origin = "fuzz", source.model = "llama";
  token("<unk>", 2), token("<s>", 3), token("</s>", 3);
  for (int byte = 0; byte < 256; ++byte) token(fmt::format("<0x{:02X}>", byte), 6);
  for (const char* piece :
       {"\u2581", "t", "h", "e", "th", "the", "\u2581the", "\u2581\u2581", "a", "aa", "aaaa", "\u00e9", "e\u0301"})
    token(piece, 1);
  token("<tool>", 4);
  source.bos = 1, source.eos = 2, source.unk = 0;
  use_tokenizer(Tokenizer::from_source(source), input);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
  const size_t kind = data[0] % (std::size(kPre) + 1);
  if (kind < std::size(kPre))
    check_bytes(kPre[kind], input);
  else
    check_pieces(input);
  return 0;
}
