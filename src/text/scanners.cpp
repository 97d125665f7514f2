#include "text/scanners.h"

#include <array>

#include "text/unicode.h"

namespace moiety::text {

namespace {

struct Known {
  std::string_view pattern;
  Scanner scanner;
};

// The first spelling of a scanner is the one scanner_pattern() gives.
constexpr std::array kKnown = {
    Known{R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)", Scanner::kGpt2},
    Known{R"('(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)", Scanner::kGpt2},
    // Without the last branch a lone space stays unmatched, which isolates it just the same.
    Known{R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S))", Scanner::kGpt2},
    Known{R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
          Scanner::kLlama3},
    Known{R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
          Scanner::kQwen2},
    Known{R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
          Scanner::kGpt4o},
    Known{"[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| "
          "?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+",
          Scanner::kDeepSeek3},
    Known{R"(\p{N})", Scanner::kNumber},
    Known{R"(\p{N}{1,3})", Scanner::kNumbers1To3},
    Known{R"(\p{N}+)", Scanner::kNumberRun},
    Known{"[\r\n]", Scanner::kNewline},
    Known{R"([\r\n])", Scanner::kNewline},
    Known{"[一-龥\u3040-ゟ゠-ヿ]+", Scanner::kCjkKana},
    Known{"[一-龥ࠀ-一가-\uD7FF]+", Scanner::kCjkHangul},
    Known{R"([\p{P}\$\+<=>\^~\|]+)", Scanner::kAsciiPunctuation},
    Known{"[0-9][0-9][0-9]", Scanner::kThreeDigits},
    Known{R"(\s+$)", Scanner::kTrailingSpace},
};

struct Text {
  std::string_view bytes;

  Char at(size_t i) const { return decode_char(bytes, i); }
  uint16_t classes(size_t i) const {
    if (i >= bytes.size()) return 0;
    return class_of(at(i).point);
  }
  bool ends(size_t i) const { return i >= bytes.size(); }
  char byte(size_t i) const { return ends(i) ? '\0' : bytes[i]; }
  // End of the run of characters of `wanted` that starts at i.
  size_t run(size_t i, uint16_t wanted, size_t most = ~size_t{0}) const {
    for (; most > 0 && !ends(i); --most) {
      const Char c = at(i);
      if (!(class_of(c.point) & wanted)) break;
      i += c.bytes;
    }
    return i;
  }
  // End of the run of characters that are in none of `others`.
  size_t run_without(size_t i, uint16_t others) const {
    while (!ends(i)) {
      const Char c = at(i);
      if (class_of(c.point) & others) break;
      i += c.bytes;
    }
    return i;
  }
  size_t next(size_t i) const { return i + at(i).bytes; }
};

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

// End of 's 't 're 've 'm 'll 'd at i, or i. Ignoring case, U+017F (long s) is an s.
size_t contraction(const Text& text, size_t i, bool ignore_case) {
  if (text.byte(i) != '\'') return i;
  const char a = ignore_case ? lower(text.byte(i + 1)) : text.byte(i + 1);
  const char b = ignore_case ? lower(text.byte(i + 2)) : text.byte(i + 2);
  if (a == 's' || a == 't' || a == 'm' || a == 'd') return i + 2;
  if ((a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l')) return i + 3;
  if (ignore_case && text.bytes.substr(i + 1).starts_with("\u017F")) return i + 3;
  return i;
}

// \s+(?!\S)|\s+ at i, which is white space.
size_t spaces(const Text& text, size_t i) {
  const size_t end = text.run(i, kSpace);
  if (text.ends(end)) return end;
  const size_t last = previous_char(text.bytes, end);
  return last > i ? last : end;
}

// \s*[\r\n]+|\s+(?!\S)|\s+ at i, which is white space.
size_t lines_or_spaces(const Text& text, size_t i) {
  size_t after_newline = i;
  size_t end = i;
  while (!text.ends(end)) {
    const Char c = text.at(end);
    const uint16_t classes = class_of(c.point);
    if (!(classes & kSpace)) break;
    end += c.bytes;
    if (classes & kNewline) after_newline = end;
  }
  if (after_newline > i) return after_newline;
  if (text.ends(end)) return end;
  const size_t last = previous_char(text.bytes, end);
  return last > i ? last : end;
}

size_t newlines(const Text& text, size_t i, bool slashes) {
  while (text.byte(i) == '\r' || text.byte(i) == '\n' || (slashes && text.byte(i) == '/')) {
    if (text.ends(i)) break;
    ++i;
  }
  return i;
}

size_t gpt2(const Text& text, size_t i) {
  if (const size_t end = contraction(text, i, false); end > i) return end;
  const size_t word = text.byte(i) == ' ' ? i + 1 : i;
  const uint16_t classes = text.classes(word);
  if (!text.ends(word)) {
    if (classes & kLetter) return text.run(word, kLetter);
    if (classes & kNumber) return text.run(word, kNumber);
    if (!(classes & kSpace)) return text.run_without(word, kSpace | kLetter | kNumber);
  }
  return spaces(text, i);
}

size_t llama3(const Text& text, size_t i, size_t digits) {
  if (const size_t end = contraction(text, i, true); end > i) return end;
  const uint16_t classes = text.classes(i);
  if (classes & kLetter) return text.run(i, kLetter);
  if (!(classes & (kNewline | kNumber))) {
    const size_t word = text.next(i);
    if (text.classes(word) & kLetter) return text.run(word, kLetter);
  }
  if (classes & kNumber) return text.run(i, kNumber, digits);
  const size_t mark = text.byte(i) == ' ' ? i + 1 : i;
  if (!text.ends(mark) && !(text.classes(mark) & (kSpace | kLetter | kNumber))) {
    return newlines(text, text.run_without(mark, kSpace | kLetter | kNumber), false);
  }
  return lines_or_spaces(text, i);
}

// [U]*[L]+ at i, where U is upper, title, other letters and marks and L lower, other letters and marks; i if none.
size_t cased_word(const Text& text, size_t i) {
  constexpr uint16_t kL = kLower | kOtherLetter | kMark;
  size_t both = i;  // end of the last character of the run of U that may be an L too
  size_t end = i;
  while (!text.ends(end)) {
    const Char c = text.at(end);
    const uint16_t classes = class_of(c.point);
    if (!(classes & (kUpper | kOtherLetter | kMark))) break;
    end += c.bytes;
    if (classes & kL) both = end;
  }
  const size_t tail = text.run(end, kL);
  return tail > end ? tail : both;
}

// [U]+[L]* at i, or i.
size_t upper_word(const Text& text, size_t i) {
  const size_t end = text.run(i, kUpper | kOtherLetter | kMark);
  return end > i ? text.run(end, kLower | kOtherLetter | kMark) : i;
}

size_t gpt4o(const Text& text, size_t i) {
  const uint16_t classes = text.classes(i);
  const bool may_lead = !(classes & (kNewline | kLetter | kNumber));
  const size_t led = may_lead ? text.next(i) : i;
  for (const auto word : {cased_word, upper_word}) {
    for (const size_t start : {led, i}) {
      if (const size_t end = word(text, start); end > start) return contraction(text, end, true);
      if (start == i) break;
    }
  }
  if (classes & kNumber) return text.run(i, kNumber, 3);
  const size_t mark = text.byte(i) == ' ' ? i + 1 : i;
  if (!text.ends(mark) && !(text.classes(mark) & (kSpace | kLetter | kNumber))) {
    return newlines(text, text.run_without(mark, kSpace | kLetter | kNumber), true);
  }
  return lines_or_spaces(text, i);
}

bool ascii_letter(char c) { return lower(c) >= 'a' && lower(c) <= 'z'; }

// i if nothing matches there.
size_t deepseek3(const Text& text, size_t i) {
  const uint16_t classes = text.classes(i);
  if (static_cast<signed char>(text.byte(i)) > 0 && (classes & (kPunctuation | kSymbol)) && ascii_letter(text.byte(i + 1))) {
    size_t end = i + 1;
    while (ascii_letter(text.byte(end))) ++end;
    return end;
  }
  if (!(classes & (kNewline | kLetter | kPunctuation | kSymbol))) {
    const size_t word = text.next(i);
    if (text.classes(word) & (kLetter | kMark)) return text.run(word, kLetter | kMark);
  }
  if (classes & (kLetter | kMark)) return text.run(i, kLetter | kMark);
  const size_t mark = text.byte(i) == ' ' ? i + 1 : i;
  if (text.classes(mark) & (kPunctuation | kSymbol)) {
    return newlines(text, text.run(mark, kPunctuation | kSymbol), false);
  }
  return classes & kSpace ? lines_or_spaces(text, i) : i;
}

bool cjk_kana(uint32_t c) { return (c >= 0x4E00 && c <= 0x9FA5) || (c >= 0x3040 && c <= 0x30FF); }
bool cjk_hangul(uint32_t c) { return (c >= 0x0800 && c <= 0x9FA5) || (c >= 0xAC00 && c <= 0xD7FF); }
bool punctuation_like(uint32_t c) {
  return (class_of(c) & kPunctuation) || (c < 128 && std::string_view("$+<=>^~|").find(static_cast<char>(c)) != std::string_view::npos);
}

template <class Predicate>
size_t run_of(const Text& text, size_t i, Predicate predicate) {
  while (!text.ends(i)) {
    const Char c = text.at(i);
    if (!predicate(c.point)) break;
    i += c.bytes;
  }
  return i;
}

bool digit(char c) { return c >= '0' && c <= '9'; }

// End of the match that starts at i, or i.
size_t match_at(Scanner scanner, const Text& text, size_t i) {
  switch (scanner) {
    case Scanner::kGpt2: return gpt2(text, i);
    case Scanner::kLlama3: return llama3(text, i, 3);
    case Scanner::kQwen2: return llama3(text, i, 1);
    case Scanner::kGpt4o: return gpt4o(text, i);
    case Scanner::kDeepSeek3: return deepseek3(text, i);
    case Scanner::kNumber: return text.run(i, kNumber, 1);
    case Scanner::kNumbers1To3: return text.run(i, kNumber, 3);
    case Scanner::kNumberRun: return text.run(i, kNumber);
    case Scanner::kNewline: return text.run(i, kNewline, 1);
    case Scanner::kCjkKana: return run_of(text, i, cjk_kana);
    case Scanner::kCjkHangul: return run_of(text, i, cjk_hangul);
    case Scanner::kAsciiPunctuation: return run_of(text, i, punctuation_like);
    case Scanner::kThreeDigits:
      return digit(text.byte(i)) && digit(text.byte(i + 1)) && digit(text.byte(i + 2)) ? i + 3 : i;
    case Scanner::kTrailingSpace: break;
  }
  return i;
}

// \s+$ with a $ that also stands before a newline: a run of white space counts up to its last newline, or to its end
// if the text ends there.
std::optional<std::pair<size_t, size_t>> trailing_space(const Text& text, size_t from) {
  for (size_t i = from; !text.ends(i); i = text.next(i)) {
    if (!(text.classes(i) & kSpace)) continue;
    const size_t end = text.run(i, kSpace);
    if (text.ends(end)) return std::pair{i, end};
    const size_t newline = text.bytes.rfind('\n', end - 1);
    if (newline != std::string_view::npos && newline > i) return std::pair{i, newline};
    i = previous_char(text.bytes, end);
  }
  return std::nullopt;
}

}  // namespace

std::optional<Scanner> find_scanner(std::string_view pattern) {
  for (const Known& known : kKnown) {
    if (known.pattern == pattern) return known.scanner;
  }
  return std::nullopt;
}

std::string_view scanner_pattern(Scanner scanner) {
  for (const Known& known : kKnown) {
    if (known.scanner == scanner) return known.pattern;
  }
  return {};
}

std::optional<std::pair<size_t, size_t>> scan(Scanner scanner, std::string_view bytes, size_t from) {
  const Text text{bytes};
  if (scanner == Scanner::kTrailingSpace) return trailing_space(text, from);
  for (size_t i = from; !text.ends(i); i = text.next(i)) {
    if (const size_t end = match_at(scanner, text, i); end > i) return std::pair{i, end};
  }
  return std::nullopt;
}

}  // namespace moiety::text
