// Hand-written scanners for the split patterns that real tokenizers use: linear time, constant stack, no regular
// expression engine. Each is checked against PCRE2 on the original pattern in tests.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>
#include <utility>

namespace moiety::text {

enum class Scanner {
  kGpt2,           // also GPT-NeoX, OLMo, Granite
  kLlama3,         // \p{N}{1,3}
  kQwen2,          // the same with \p{N}
  kGpt4o,          // cased words with their contraction
  kDeepSeek3,      // the third of DeepSeek-V2/V3's three
  kNumber,         // \p{N}
  kNumbers1To3,    // \p{N}{1,3}
  kNumberRun,      // \p{N}+
  kNewline,        // [\r\n]
  kCjkKana,        // [一-龥぀-ゟ゠-ヿ]+
  kCjkHangul,      // [一-龥ࠀ-一가-퟿]+
  kAsciiPunctuation,  // [\p{P}\$\+<=>\^~\|]+
  kThreeDigits,    // [0-9][0-9][0-9]
  kTrailingSpace,  // \s+$
};

// The scanner that means exactly this pattern, if there is one.
std::optional<Scanner> find_scanner(std::string_view pattern);
// A pattern this scanner stands for, in the spelling of tokenizer.json.
std::string_view scanner_pattern(Scanner scanner);

// First match at or after `from`, [begin, end), never empty; nullopt: no more.
std::optional<std::pair<size_t, size_t>> scan(Scanner scanner, std::string_view text, size_t from);

}  // namespace moiety::text
