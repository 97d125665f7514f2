// Regex: a regular expression of a tokenizer.json, compiled with PCRE2 to mean what Oniguruma (which the `tokenizers`
// package uses) makes of it. Match and heap limits are set; running into one is Error kUnsupported.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace moiety::text {

class Regex {
 public:
  // `where` names file and field for errors. Throws Error kFormat (does not compile), kUnsupported (syntax that means
  // something else in Oniguruma and is not translated).
  Regex(std::string_view pattern, std::string where);
  Regex(Regex&&) noexcept;
  Regex& operator=(Regex&&) noexcept;
  ~Regex();

  // A matcher goes through one text; it holds PCRE2's scratch space, so the regex itself stays immutable.
  class Matcher {
   public:
    explicit Matcher(const Regex& regex, std::string_view text = {});
    void reset(std::string_view text);  // goes through another text with the same scratch space
    const Regex& regex() const { return regex_; }
    Matcher(const Matcher&) = delete;
    Matcher& operator=(const Matcher&) = delete;
    ~Matcher();
    // First match at or after `from`, [begin, end). `text` may hold bytes that are not UTF-8: no match touches them.
    std::optional<std::pair<size_t, size_t>> find(size_t from);

   private:
    const Regex& regex_;
    std::string_view text_;
    struct State;
    std::unique_ptr<State> state_;
    bool next_run();
    size_t run_begin_ = 0, run_end_ = 0;  // the run of valid UTF-8 that is searched now
  };

 private:
  struct Code;
  std::unique_ptr<Code> code_;
  std::string where_;
};

// The pattern as PCRE2 must be given it; exposed for tests.
std::string translate_regex(std::string_view pattern, std::string_view where);

}  // namespace moiety::text
