// Pattern: what a Split, Replace or similar step looks for, and how a text falls apart around its matches.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "text/regex.h"
#include "text/scanners.h"

namespace moiety::text {

// Every single character of a kind is a match.
enum class CharTest { kSpace, kPunctuation };
// Runs of word characters, and runs of what is neither word nor space (Rust's \w+|[^\w\s]+).
struct WordRuns {};

using Pattern = std::variant<std::string, CharTest, WordRuns, Scanner, Regex>;  // a string is found literally

enum class Behavior { kIsolated, kRemoved, kContiguous, kMergedWithPrevious, kMergedWithNext };

struct Segment {
  size_t begin, end;
  bool match;
};

// Memory that splits of many texts share; the result of segments_of().
struct SplitScratch {
  std::vector<Segment> segments;
  std::unique_ptr<Regex::Matcher> matcher;  // of the last regex
};

// All segments of a text in order, matches and what lies between; empty segments are left out.
void segments_of(const Pattern& pattern, std::string_view text, SplitScratch& scratch);
// Appends the parts into which a split with this behaviour cuts the text.
void split(const Pattern& pattern, Behavior behavior, bool invert, std::string_view text, SplitScratch& scratch,
           std::vector<std::string_view>& out);
std::string replace_all(const Pattern& pattern, std::string_view content, std::string_view text);
// A scanner if there is one for this regular expression, else PCRE2.
Pattern make_regex_pattern(std::string_view regex, const std::string& where);

}  // namespace moiety::text
