#include "text/jinja_lex.h"

#include <algorithm>
#include <charconv>

#include "core/error.h"
#include "text/jinja_program.h"
#include "text/unicode.h"

namespace moiety::text {

namespace {

using Token = JinjaToken;

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\v' || c == '\f'; }
bool is_name(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(source) {
    if (source_.ends_with('\n')) source_.remove_suffix(1);
    if (source_.ends_with('\r')) source_.remove_suffix(1);
  }

  std::vector<Token> run() {
    while (at_ < source_.size()) text();
    add(Token::Type::kEnd, "");
    return std::move(out_);
  }

 private:
  void add(Token::Type type, std::string text) { out_.push_back({type, std::move(text), line_}); }
  void advance(size_t to) {
    line_ += static_cast<int>(std::count(source_.begin() + static_cast<std::ptrdiff_t>(at_), source_.begin() + static_cast<std::ptrdiff_t>(to), '\n'));
    at_ = to;
  }

  // Text up to the next tag, then the tag.
  void text() {
    size_t open = at_;
    for (;; ++open) {
      open = source_.find('{', open);
      if (open == std::string_view::npos || open + 1 >= source_.size()) {
        std::string rest(source_.substr(at_));
        strip_front(rest);
        if (!rest.empty()) add(Token::Type::kText, std::move(rest));
        return advance(source_.size());
      }
      const char c = source_[open + 1];
      if (c == '{' || c == '%' || c == '#') break;
    }
    std::string before(source_.substr(at_, open - at_));
    const char kind = source_[open + 1];
    const char sign = open + 2 < source_.size() ? source_[open + 2] : ' ';
    const bool line_start = before.find('\n') != std::string::npos || at_ == 0 || after_newline_;
    strip_front(before);
    if (sign == '-') {
      while (!before.empty() && is_blank(before.back())) before.pop_back();
    } else if (kind != '{' && sign != '+') {
      // lstrip_blocks: a block that is alone at its line's beginning takes the indentation with it.
      size_t end = before.size();
      while (end > 0 && (before[end - 1] == ' ' || before[end - 1] == '\t')) --end;
      if (end == 0 ? line_start : before[end - 1] == '\n') before.resize(end);
    }
    if (!before.empty()) add(Token::Type::kText, std::move(before));
    advance(open + 2 + (sign == '-' || (sign == '+' && kind != '{')));
    if (kind == '#') comment();
    else tag(kind);
  }

  void strip_front(std::string& text) {
    if (strip_all_) {
      text.erase(0, static_cast<size_t>(std::find_if_not(text.begin(), text.end(), is_blank) - text.begin()));
    } else if (strip_newline_) {
      if (text.starts_with("\r\n")) text.erase(0, 2);
      else if (text.starts_with("\n")) text.erase(0, 1);
    }
  }

  void closed(char sign, bool block) {
    strip_all_ = sign == '-';
    strip_newline_ = block && sign != '+';
    after_newline_ = strip_newline_ && at_ < source_.size() && source_[at_] == '\n';
  }

  void comment() {
    const size_t end = source_.find("#}", at_);
    if (end == std::string_view::npos) jinja_fail(line_, "a comment without an end");
    const char sign = end > at_ ? source_[end - 1] : ' ';
    advance(end + 2);
    closed(sign, true);
  }

  void tag(char kind) {
    const bool block = kind == '%';
    const std::string_view close = block ? "%}" : "}}";
    add(block ? Token::Type::kBlockBegin : Token::Type::kOutputBegin, "");
    int braces = 0;
    for (;;) {
      while (at_ < source_.size() && is_blank(source_[at_])) advance(at_ + 1);
      if (at_ >= source_.size()) jinja_fail(line_, "a tag without an end");
      const std::string_view rest = source_.substr(at_);
      const bool signed_close = (rest[0] == '-' || rest[0] == '+') && rest.substr(1).starts_with(close);
      if (braces == 0 && (signed_close || rest.starts_with(close))) {
        add(block ? Token::Type::kBlockEnd : Token::Type::kOutputEnd, "");
        advance(at_ + close.size() + signed_close);
        return closed(signed_close ? rest[0] : ' ', block);
      }
      if (rest[0] == '{') ++braces;
      if (rest[0] == '}' && braces > 0) --braces;
      token(rest);
    }
  }

  void token(std::string_view rest) {
    const char c = rest[0];
    size_t n = 1;
    if (c == '"' || c == '\'') return string(c);
    if (is_digit(c)) {
      while (n < rest.size() && is_digit(rest[n])) ++n;
      const bool fraction = n + 1 < rest.size() && rest[n] == '.' && is_digit(rest[n + 1]);
      if (fraction) {
        ++n;
        while (n < rest.size() && is_digit(rest[n])) ++n;
      }
      add(fraction ? Token::Type::kFloat : Token::Type::kInteger, std::string(rest.substr(0, n)));
    } else if (is_name(c)) {
      while (n < rest.size() && is_name(rest[n])) ++n;
      add(Token::Type::kName, std::string(rest.substr(0, n)));
    } else {
      for (const std::string_view two : {"==", "!=", "<=", ">=", "//", "**"}) {
        if (rest.starts_with(two)) n = 2;
      }
      if (std::string_view("+-*/%~<>=.,:()[]{}|!").find(c) == std::string_view::npos) {
        jinja_fail(line_, fmt::format("the character '{}'", printable(rest.substr(0, 1))));
      }
      add(Token::Type::kOperator, std::string(rest.substr(0, n)));
    }
    advance(at_ + n);
  }

  void string(char quote) {
    std::string value;
    size_t i = at_ + 1;
    for (; i < source_.size() && source_[i] != quote; ++i) {
      if (source_[i] != '\\' || i + 1 >= source_.size()) {
        value += source_[i];
        continue;
      }
      const char c = source_[++i];
      switch (c) {
        case 'n': value += '\n'; break;
        case 't': value += '\t'; break;
        case 'r': value += '\r'; break;
        case '\\':
        case '\'':
        case '"': value += c; break;
        case '\n': break;
        case 'u': i += unicode_escape(i + 1, value); break;
        default: jinja_fail(line_, fmt::format("the escape \\{}", printable(std::string(1, c))));
      }
    }
    if (i >= source_.size()) jinja_fail(line_, "a string without an end");
    add(Token::Type::kString, std::move(value));
    advance(i + 1);
  }

  // Four hexadecimal digits; half a pair of surrogates is refused, as it is no character. Gives the number of digits.
  size_t unicode_escape(size_t from, std::string& value) {
    uint32_t point = 0;
    const std::string_view digits = source_.substr(std::min(from, source_.size()), 4);
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), point, 16);
    if (error != std::errc() || end != digits.data() + 4 || (point >= 0xD800 && point < 0xE000)) jinja_fail(line_, "this \\u escape");
    append_utf8(value, point);
    return 4;
  }

  std::string_view source_;
  size_t at_ = 0;
  int line_ = 1;
  bool strip_all_ = false, strip_newline_ = false, after_newline_ = true;
  std::vector<Token> out_;
};

}  // namespace

std::vector<JinjaToken> lex_jinja(std::string_view source) { return Lexer(source).run(); }

}  // namespace moiety::text
