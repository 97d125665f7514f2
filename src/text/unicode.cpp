#include "text/unicode.h"

#include <array>

#include <utf8proc.h>

namespace moiety::text {

namespace {

// Second byte's range, after the Unicode standard's table 3-7 (well-formed sequences); length 0: never a first byte.
struct Lead {
  uint8_t length, low, high;
};

constexpr Lead lead_of(uint8_t byte) {
  if (byte < 0x80) return {1, 0, 0};
  if (byte < 0xC2) return {0, 0, 0};
  if (byte < 0xE0) return {2, 0x80, 0xBF};
  if (byte == 0xE0) return {3, 0xA0, 0xBF};
  if (byte == 0xED) return {3, 0x80, 0x9F};
  if (byte < 0xF0) return {3, 0x80, 0xBF};
  if (byte == 0xF0) return {4, 0x90, 0xBF};
  if (byte < 0xF4) return {4, 0x80, 0xBF};
  if (byte == 0xF4) return {4, 0x80, 0x8F};
  return {0, 0, 0};
}

// Number of bytes of text[at...] that form a well-formed sequence or the beginning of one.
size_t well_formed(std::string_view text, size_t at) {
  const Lead lead = lead_of(static_cast<uint8_t>(text[at]));
  if (lead.length < 2) return lead.length;
  size_t n = 1;
  for (; n < lead.length && at + n < text.size(); ++n) {
    const auto byte = static_cast<uint8_t>(text[at + n]);
    if (byte < (n == 1 ? lead.low : 0x80) || byte > (n == 1 ? lead.high : 0xBF)) break;
  }
  return n;
}

constexpr uint16_t category_class(int category) {
  switch (category) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LT: return kLetter | kUpper | kWord;
    case UTF8PROC_CATEGORY_LL: return kLetter | kLower | kWord;
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO: return kLetter | kOtherLetter | kWord;
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME: return kMark | kWord;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL: return kNumber | kWord;
    case UTF8PROC_CATEGORY_NO: return kNumber;
    case UTF8PROC_CATEGORY_PC: return kPunctuation | kWord;
    case UTF8PROC_CATEGORY_PD:
    case UTF8PROC_CATEGORY_PS:
    case UTF8PROC_CATEGORY_PE:
    case UTF8PROC_CATEGORY_PI:
    case UTF8PROC_CATEGORY_PF:
    case UTF8PROC_CATEGORY_PO: return kPunctuation;
    case UTF8PROC_CATEGORY_SM:
    case UTF8PROC_CATEGORY_SC:
    case UTF8PROC_CATEGORY_SK:
    case UTF8PROC_CATEGORY_SO: return kSymbol;
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP: return kSpace;
    default: return 0;
  }
}

constexpr uint16_t ascii_class(char c) {
  if (c >= 'A' && c <= 'Z') return kLetter | kUpper | kWord;
  if (c >= 'a' && c <= 'z') return kLetter | kLower | kWord;
  if (c >= '0' && c <= '9') return kNumber | kWord;
  if (c == '\r' || c == '\n') return kSpace | kNewline;
  if (c == ' ' || (c >= '\t' && c <= '\r')) return kSpace;
  if (c == '_') return kPunctuation | kWord;
  if (c == '$' || c == '+' || c == '<' || c == '=' || c == '>' || c == '^' || c == '`' || c == '|' || c == '~') return kSymbol;
  return c > ' ' && c < 0x7F ? kPunctuation : 0;
}

constexpr std::array<uint16_t, 128> make_ascii_classes() {
  std::array<uint16_t, 128> table{};
  for (int c = 0; c < 128; ++c) table[static_cast<size_t>(c)] = ascii_class(static_cast<char>(c));
  return table;
}
constexpr std::array<uint16_t, 128> kAsciiClasses = make_ascii_classes();

constexpr std::array<uint16_t, 32> make_category_classes() {
  std::array<uint16_t, 32> table{};
  for (int c = 0; c < 32; ++c) table[static_cast<size_t>(c)] = category_class(c);
  return table;
}
constexpr std::array<uint16_t, 32> kCategoryClasses = make_category_classes();

constexpr bool spells_itself(uint32_t byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

constexpr std::array<uint16_t, 256> make_byte_chars() {
  std::array<uint16_t, 256> table{};
  uint16_t next = 256;
  for (uint32_t b = 0; b < 256; ++b) table[b] = spells_itself(b) ? static_cast<uint16_t>(b) : next++;
  return table;
}
constexpr std::array<uint16_t, 256> kByteChars = make_byte_chars();

constexpr std::array<int16_t, 324> make_char_bytes() {
  std::array<int16_t, 324> table{};
  for (auto& entry : table) entry = -1;
  for (size_t b = 0; b < 256; ++b) table[kByteChars[b]] = static_cast<int16_t>(b);
  return table;
}
constexpr std::array<int16_t, 324> kCharBytes = make_char_bytes();

}  // namespace

Char decode_char(std::string_view text, size_t at) {
  if (at >= text.size()) return {kInvalid, 0};
  const auto first = static_cast<uint8_t>(text[at]);
  if (first < 0x80) return {first, 1};
  const size_t length = lead_of(first).length;
  if (length == 0 || well_formed(text, at) != length) return {kInvalid, 1};
  uint32_t point = first & (0x7Fu >> length);
  for (size_t i = 1; i < length; ++i) point = (point << 6) | (static_cast<uint8_t>(text[at + i]) & 0x3Fu);
  return {point, static_cast<uint32_t>(length)};
}

uint16_t class_of(uint32_t point) {
  if (point < 128) return kAsciiClasses[point];
  if (point >= kInvalid) return 0;
  if (point == 0x85) return kSpace;  // next line: a control character that is white space
  const auto category = utf8proc_get_property(static_cast<utf8proc_int32_t>(point))->category;
  return kCategoryClasses[category & 31];
}

void append_utf8(std::string& out, uint32_t point) {
  utf8proc_uint8_t buffer[4];
  const auto n = utf8proc_encode_char(static_cast<utf8proc_int32_t>(point), buffer);
  out.append(reinterpret_cast<const char*>(buffer), static_cast<size_t>(n));
}

size_t count_chars(std::string_view text) {
  size_t n = 0;
  for (size_t at = 0; at < text.size(); ++n) at += decode_char(text, at).bytes;
  return n;
}

size_t previous_char(std::string_view text, size_t end) {
  for (size_t n = 2; n <= 4 && n <= end; ++n) {
    if (decode_char(text, end - n).bytes == n) return end - n;
  }
  return end - 1;
}

size_t complete_prefix(std::string_view text) {
  for (size_t n = 1; n <= 3 && n <= text.size(); ++n) {
    const size_t at = text.size() - n;
    if ((static_cast<uint8_t>(text[at]) & 0xC0) == 0x80) continue;
    const size_t length = lead_of(static_cast<uint8_t>(text[at])).length;
    return length > n && well_formed(text, at) == n ? at : text.size();
  }
  return text.size();
}

std::string repair_utf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const size_t n = well_formed(text, at);
    if (n > 0 && n == lead_of(static_cast<uint8_t>(text[at])).length) {
      out.append(text, at, n);
      at += n;
    } else {
      out += "\xEF\xBF\xBD";
      at += n ? n : 1;
    }
  }
  return out;
}

uint32_t byte_to_char(uint8_t byte) { return kByteChars[byte]; }

int char_to_byte(uint32_t point) { return point < kCharBytes.size() ? kCharBytes[point] : -1; }

bool append_spelled_bytes(std::string& out, std::string_view spelled) {
  const size_t before = out.size();
  for (size_t at = 0; at < spelled.size();) {
    const Char c = decode_char(spelled, at);
    const int byte = char_to_byte(c.point);
    if (byte < 0) {
      out.resize(before);
      return false;
    }
    out += static_cast<char>(byte);
    at += c.bytes;
  }
  return true;
}

}  // namespace moiety::text
