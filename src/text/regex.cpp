#include "text/regex.h"

#include <limits>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "core/error.h"
#include "text/unicode.h"

namespace moiety::text {

namespace {

// White_Space, the inside of a class. PCRE2's own \s has U+180E too.
constexpr std::string_view kSpaceClass =
    R"(\x09-\x0d\x20\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";
// Oniguruma's word characters: Alphabetic, M, Nd, Pc.
constexpr std::string_view kWordClass =
    R"(\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc}\x{24b6}-\x{24e9}\x{1f130}-\x{1f149}\x{1f150}-\x{1f169}\x{1f170}-\x{1f189})";
constexpr std::string_view kHexClass = "0-9a-fA-F";

struct Translator {
  std::string_view in, where;
  std::string out;
  size_t at = 0;
  bool in_class = false;

  [[noreturn]] void refuse(std::string_view what) const {
    fail(Status::kUnsupported, "{}: {} in the pattern '{}' is not supported", where, what, printable(in));
  }

  void put_class(std::string_view inside, bool negated) {
    if (!in_class) {
      out += negated ? "[^" : "[";
      out += inside;
      out += ']';
    } else if (negated) {
      refuse("a negated class inside a class");
    } else {
      out += inside;
    }
  }

  void escape() {
    if (at + 1 >= in.size()) fail(Status::kFormat, "{}: the pattern '{}' ends in a backslash", where, printable(in));
    const char c = in[at + 1];
    at += 2;
    switch (c) {
      case 's': return put_class(kSpaceClass, false);
      case 'w': return put_class(kWordClass, false);
      case 'h': return put_class(kHexClass, false);
      case 'S':
        // Inside a class \S stands for itself: PCRE2's differs from White_Space only by U+180E.
        if (in_class) out += "\\S";
        else put_class(kSpaceClass, true);
        return;
      case 'W': return put_class(kWordClass, true);
      case 'H': return put_class(kHexClass, true);
      case 'd': out += "\\p{Nd}"; return;
      case 'D': out += "\\P{Nd}"; return;
      case 'b':
      case 'B':
      case 'G':
      case 'K':
      case 'g':
      case 'k':
        if (in_class && c == 'b') break;
        refuse(std::string("\\") + c);
      case 'u':  // \uHHHH
        if (at + 4 > in.size()) refuse("an incomplete \\u");
        out += "\\x{" + std::string(in.substr(at, 4)) + "}";
        at += 4;
        return;
      default: break;
    }
    out += '\\';
    out += c;
  }

  void group() {
    // (?:  (?=  (?!  (?<=  (?<!  (?>  (?i)  (?i:  mean the same in both; the rest is refused.
    const std::string_view rest = in.substr(at);
    for (const std::string_view known : {"(?:", "(?=", "(?!", "(?<=", "(?<!", "(?>", "(?i:", "(?i)", "(?-i:", "(?-i)"}) {
      if (rest.starts_with(known)) {
        out += known;
        at += known.size();
        return;
      }
    }
    if (rest.starts_with("(?") || rest.starts_with("(*")) refuse("this kind of group");
    out += '(';
    ++at;
  }

  void open_class() {
    in_class = true;
    out += in[at++];
    if (at < in.size() && in[at] == '^') out += in[at++];
    // Oniguruma takes a first `]` as an end and an empty class as an error; so does nobody's file.
    if (at < in.size() && in[at] == ']') refuse("an empty class");
  }

  std::string run() {
    while (at < in.size()) {
      const char c = in[at];
      if (c == '\\') {
        escape();
      } else if (in_class) {
        if (in.substr(at).starts_with("[:")) {
          const size_t end = in.find(":]", at);
          if (end == std::string_view::npos) refuse("an unclosed POSIX class");
          out += in.substr(at, end + 2 - at);
          at = end + 2;
          continue;
        }
        if (c == '[') refuse("a class inside a class");
        if (in.substr(at).starts_with("&&")) refuse("an intersection of classes");
        if (c == ']') in_class = false;
        out += c;
        ++at;
      } else if (c == '[') {
        open_class();
      } else if (c == '(') {
        group();
      } else {
        out += c;
        ++at;
      }
    }
    return std::move(out);
  }
};

constexpr uint32_t kMatchLimit = 20'000'000;  // PCRE2's own default is 10 million
constexpr uint32_t kHeapLimitKiB = 256 * 1024;

}  // namespace

std::string translate_regex(std::string_view pattern, std::string_view where) {
  if (pattern.size() > 65536) fail(Status::kUnsupported, "{}: a pattern of {} bytes; limit 65536", where, pattern.size());
  return Translator{pattern, where, {}, 0, false}.run();
}

struct Regex::Code {
  pcre2_code* code = nullptr;
  ~Code() { pcre2_code_free(code); }
};

struct Regex::Matcher::State {
  pcre2_match_data* data = nullptr;
  pcre2_match_context* context = nullptr;
  ~State() {
    pcre2_match_data_free(data);
    pcre2_match_context_free(context);
  }
};

Regex::Regex(std::string_view pattern, std::string where) : code_(std::make_unique<Code>()), where_(std::move(where)) {
  const std::string translated = translate_regex(pattern, where_);
  std::unique_ptr<pcre2_compile_context, void (*)(pcre2_compile_context*)> context(pcre2_compile_context_create(nullptr),
                                                                                     pcre2_compile_context_free);
  if (!context) throw std::bad_alloc();
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  pcre2_set_parens_nest_limit(context.get(), 64);
  int error = 0;
  PCRE2_SIZE offset = 0;
  code_->code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                              PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C,
                              &error, &offset, context.get());
  if (code_->code == nullptr) {
    PCRE2_UCHAR message[160] = {};
    pcre2_get_error_message(error, message, sizeof message);
    fail(Status::kFormat, "{}: pattern '{}': {} at {}", where_, printable(pattern),
         reinterpret_cast<const char*>(message), offset);
  }
}

Regex::Regex(Regex&&) noexcept = default;
Regex& Regex::operator=(Regex&&) noexcept = default;
Regex::~Regex() = default;

Regex::Matcher::Matcher(const Regex& regex, std::string_view text)
    : regex_(regex), text_(text), state_(std::make_unique<State>()) {
  state_->data = pcre2_match_data_create(1, nullptr);  // the whole match is all we ask for
  state_->context = pcre2_match_context_create(nullptr);
  if (state_->data == nullptr || state_->context == nullptr) throw std::bad_alloc();
  pcre2_set_match_limit(state_->context, kMatchLimit);
  pcre2_set_heap_limit(state_->context, kHeapLimitKiB);
}

Regex::Matcher::~Matcher() = default;

void Regex::Matcher::reset(std::string_view text) {
  text_ = text;
  run_begin_ = run_end_ = 0;
}

// PCRE2 would check the whole rest of the text at each call, which is quadratic over a text of many matches. So the
// text is cut into runs of valid UTF-8 once, and each is a subject of its own.
bool Regex::Matcher::next_run() {
  run_begin_ = run_end_;
  while (run_begin_ < text_.size() && decode_char(text_, run_begin_).point == kInvalid) ++run_begin_;
  run_end_ = run_begin_;
  while (run_end_ < text_.size()) {
    const Char c = decode_char(text_, run_end_);
    if (c.point == kInvalid) break;
    run_end_ += c.bytes;
  }
  return run_begin_ < run_end_;
}

std::optional<std::pair<size_t, size_t>> Regex::Matcher::find(size_t from) {
  if (from < run_begin_) run_begin_ = run_end_ = 0;  // backwards: begin anew
  for (;;) {
    if (from > run_end_ || run_begin_ == run_end_) {
      if (!next_run()) return std::nullopt;
      continue;
    }
    const size_t start = from > run_begin_ ? from : run_begin_;
    const int rc = pcre2_match(regex_.code_->code, reinterpret_cast<PCRE2_SPTR>(text_.data() + run_begin_), run_end_ - run_begin_,
                               start - run_begin_, PCRE2_NO_UTF_CHECK, state_->data, state_->context);
    if (rc == PCRE2_ERROR_NOMATCH) {
      if (!next_run()) return std::nullopt;
      continue;
    }
    if (rc < 0) {
      PCRE2_UCHAR message[160] = {};
      pcre2_get_error_message(rc, message, sizeof message);
      fail(Status::kUnsupported, "{}: matching stopped at byte {} of the text: {}", regex_.where_, start,
           reinterpret_cast<const char*>(message));
    }
    const PCRE2_SIZE* ends = pcre2_get_ovector_pointer(state_->data);
    const size_t begin = run_begin_ + ends[0];
    return std::pair<size_t, size_t>{begin, ends[1] < ends[0] ? begin : run_begin_ + ends[1]};
  }
}

}  // namespace moiety::text
