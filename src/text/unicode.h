// UTF-8 decoding and the character classes that pre-tokenizers ask for. Categories come from utf8proc.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace moiety::text {

// Bits of a character's class. A byte that is not UTF-8 has none.
enum Class : uint16_t {
  kLetter = 1,         // \p{L}
  kNumber = 2,         // \p{N}
  kSpace = 4,          // White_Space
  kPunctuation = 8,    // \p{P}
  kSymbol = 16,        // \p{S}
  kMark = 32,          // \p{M}
  kNewline = 64,       // \r or \n
  kUpper = 128,        // \p{Lu} or \p{Lt}
  kLower = 256,        // \p{Ll}
  kOtherLetter = 512,  // \p{Lm} or \p{Lo}
  kWord = 1024,        // \w of Rust's regex: Alphabetic (nearly), M, Nd, Pc
};

constexpr uint32_t kInvalid = 0x110000;  // the code point of a byte that is not UTF-8

struct Char {
  uint32_t point = kInvalid;
  uint32_t bytes = 0;  // 0 only at the end of the text
};

// The character that starts at text[at]; a byte that starts no valid sequence is {kInvalid, 1}.
Char decode_char(std::string_view text, size_t at);
uint16_t class_of(uint32_t point);
inline bool is_space(uint32_t point) { return (class_of(point) & kSpace) != 0; }

void append_utf8(std::string& out, uint32_t point);  // kInvalid is not allowed
size_t count_chars(std::string_view text);
// The start of the character that ends at text[end - 1] (end > 0).
size_t previous_char(std::string_view text, size_t end);

// Length of the longest prefix that ends at a character's end, taking an incomplete sequence at the very end as not
// yet there. Bytes that can never become valid count as complete.
size_t complete_prefix(std::string_view text);
// `text` with each maximal ill-formed part replaced by U+FFFD.
std::string repair_utf8(std::string_view text);

// GPT-2's spelling of bytes as printable characters.
uint32_t byte_to_char(uint8_t byte);
int char_to_byte(uint32_t point);  // -1: not of that alphabet
// Bytes that `spelled` stands for; false (out is left unchanged) if some character is not of the alphabet.
bool append_spelled_bytes(std::string& out, std::string_view spelled);

}  // namespace moiety::text
