#include "text/scanners.h"

#include <doctest/doctest.h>

#include "text/helpers.h"
#include "text/pattern.h"
#include "text/regex.h"

using namespace moiety;
using namespace moiety::text;

namespace {

constexpr Scanner kAll[] = {Scanner::kGpt2, Scanner::kLlama3, Scanner::kQwen2, Scanner::kGpt4o, Scanner::kDeepSeek3, Scanner::kNumber,
                            Scanner::kNumbers1To3, Scanner::kNumberRun, Scanner::kNewline, Scanner::kCjkKana, Scanner::kCjkHangul,
                            Scanner::kAsciiPunctuation, Scanner::kThreeDigits, Scanner::kTrailingSpace};

using Match = std::optional<std::pair<size_t, size_t>>;

}  // namespace

TEST_CASE("every scanner finds what PCRE2 finds for its pattern") {
  for (const Scanner scanner : kAll) {
    const std::string pattern(scanner_pattern(scanner));
    CAPTURE(pattern);
    REQUIRE(find_scanner(pattern) == scanner);
    const Regex regex(pattern, "test");
    for (uint32_t seed = 1; seed <= 40; ++seed) {
      const std::string text = test::mixed_text(seed == 1 ? 100000 : 40 * seed, seed);
      Regex::Matcher matcher(regex, text);
      for (size_t from = 0; from < text.size();) {
        const Match want = matcher.find(from), got = scan(scanner, text, from);
        CAPTURE(seed);
        CAPTURE(from);
        CAPTURE(text.substr(from, 40));
        REQUIRE(got == want);
        if (!want) break;
        from = want->second;
      }
    }
  }
}

TEST_CASE("scanners are linear, on a stack of 256 KiB") {
  for (const char* unit : {"A", " ", "\n", "9", "中", "\u0301", "'", "aB", " \n", "中A", "\xFF"}) {
    std::string text;
    while (text.size() < (1u << 20)) text += unit;
    text += "x";
    test::on_small_stack([&] {
      for (const Scanner scanner : kAll) {
        size_t matches = 0, at = 0;
        while (const Match match = scan(scanner, text, at)) {
          ++matches;
          at = match->second;
        }
        CHECK(matches <= text.size());
      }
    });
  }
}

TEST_CASE("regular expressions mean what Oniguruma makes of them") {
  auto first = [](const char* pattern, std::string_view text) {
    const Regex regex(pattern, "test");
    Regex::Matcher matcher(regex, text);
    const Match match = matcher.find(0);
    return match ? std::string(text.substr(match->first, match->second - match->first)) : std::string("none");
  };
  CHECK(first("\\s+", "a\u180e \t") == " \t");  // PCRE2's own \s has U+180E
  CHECK(first("[\\s]+", "a\u180e") == "none");
  CHECK(first("\\h+", "xyz1fA") == "1fA");      // hexadecimal digits, not horizontal space
  CHECK(first("\\w+", "-é_\u0301½") == "é_\u0301");
  CHECK(first("a$", "a\nb") == "a");            // $ and ^ are of lines
  CHECK(first("(?i:'s)", "'\u017f") == "'\u017f");
  CHECK(first("\\u4e2d", "a中") == "中");
  CHECK(first("\\d+", "a٣3²") == "٣3");
  CHECK(first("x", "\xFFx\xFF") == "x");
  for (const char* refused : {"[a[bc]]", "[a-z&&[^b]]", "(?m:a.b)", "(?<n>a)", "(*LIMIT_MATCH=1)a", "\\Ga", "[\\W]", "a\\b"}) {
    CAPTURE(refused);
    CHECK(test::error_of([&] { Regex(refused, "file: field"); }).find("file: field") == 0);
  }
  CHECK(test::error_of([] { Regex("(", "f"); }).find("f: pattern '('") == 0);
  const std::string deep = std::string(100, '(') + "a" + std::string(100, ')');
  CHECK(test::error_of([&] { Regex(deep, "f"); }) != "");
}

TEST_CASE("a pattern that backtracks without end is stopped") {
  const Regex regex("(a+)+$", "file: field");
  const std::string text = std::string(5000, 'a') + "b";
  test::on_small_stack([&] {
    const auto message = test::error_of([&] {
      Regex::Matcher matcher(regex, text);
      (void)matcher.find(0);
    });
    CHECK(message.find("file: field: matching stopped at byte 0") == 0);
  });
}

TEST_CASE("split behaviours") {
  auto parts = [](Behavior behavior, bool invert) {
    SplitScratch scratch;
    std::vector<std::string_view> out;
    split(Pattern(std::string("-")), behavior, invert, "the-final--countdown-", scratch, out);
    std::string joined;
    for (const auto part : out) joined += std::string(joined.empty() ? "" : "|") + std::string(part);
    return joined;
  };
  CHECK(parts(Behavior::kIsolated, false) == "the|-|final|-|-|countdown|-");
  CHECK(parts(Behavior::kRemoved, false) == "the|final|countdown");
  CHECK(parts(Behavior::kRemoved, true) == "-|-|-|-");
  CHECK(parts(Behavior::kContiguous, false) == "the|-|final|--|countdown|-");
  CHECK(parts(Behavior::kMergedWithPrevious, false) == "the-|final-|-|countdown-");
  CHECK(parts(Behavior::kMergedWithNext, false) == "the|-final|-|-countdown|-");
}
