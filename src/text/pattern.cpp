#include "text/pattern.h"

#include <algorithm>

#include "text/unicode.h"

namespace moiety::text {

namespace {

using Match = std::optional<std::pair<size_t, size_t>>;

bool is_punctuation(uint32_t point) {
  const uint16_t classes = class_of(point);
  return (classes & kPunctuation) || (point < 128 && (classes & kSymbol));  // all of ASCII's, as Rust has it
}

bool is_word(uint32_t point) { return (class_of(point) & kWord) || point == 0x200C || point == 0x200D; }

Match find_char(CharTest test, std::string_view text, size_t from) {
  for (size_t at = from; at < text.size();) {
    const Char c = decode_char(text, at);
    if (test == CharTest::kSpace ? is_space(c.point) : is_punctuation(c.point)) return std::pair{at, at + c.bytes};
    at += c.bytes;
  }
  return std::nullopt;
}

Match find_word_run(std::string_view text, size_t from) {
  size_t at = from;
  while (at < text.size() && is_space(decode_char(text, at).point)) at += decode_char(text, at).bytes;
  if (at >= text.size()) return std::nullopt;
  const bool word = is_word(decode_char(text, at).point);
  size_t end = at;
  while (end < text.size()) {
    const Char c = decode_char(text, end);
    if (is_word(c.point) != word || (!word && is_space(c.point))) break;
    end += c.bytes;
  }
  return std::pair{at, end};
}

// Calls find(from) until nothing is found; an empty match ends a segment but is none itself.
template <class Find>
void collect(std::string_view text, std::vector<Segment>& out, Find find) {
  size_t done = 0;
  for (size_t from = 0; from <= text.size();) {
    const Match match = find(from);
    if (!match) break;
    if (match->first > done) out.push_back({done, match->first, false});
    if (match->second > match->first) out.push_back({match->first, match->second, true});
    done = match->second;
    from = match->second > match->first ? match->second : match->second + std::max<uint32_t>(1, decode_char(text, match->second).bytes);
  }
  if (done < text.size()) out.push_back({done, text.size(), false});
}

// Joins neighbours: `joins(match, previous_match)` tells whether a segment goes to the one before it.
template <class Joins>
void fold(std::vector<Segment>& segments, Joins joins) {
  size_t kept = 0;
  bool previous = false;
  for (const Segment segment : segments) {
    if (kept > 0 && joins(segment.match, previous)) segments[kept - 1].end = segment.end;
    else segments[kept++] = segment;
    previous = segment.match;
  }
  segments.resize(kept);
}

}  // namespace

void segments_of(const Pattern& pattern, std::string_view text, SplitScratch& scratch) {
  auto& out = scratch.segments;
  out.clear();
  if (text.empty()) return;
  if (const auto* literal = std::get_if<std::string>(&pattern)) {
    collect(text, out, [&](size_t from) -> Match {
      const size_t at = literal->empty() ? std::string_view::npos : text.find(*literal, from);
      if (at == std::string_view::npos) return std::nullopt;
      return std::pair{at, at + literal->size()};
    });
  } else if (const auto* test = std::get_if<CharTest>(&pattern)) {
    collect(text, out, [&](size_t from) { return find_char(*test, text, from); });
  } else if (std::holds_alternative<WordRuns>(pattern)) {
    collect(text, out, [&](size_t from) { return find_word_run(text, from); });
  } else if (const auto* scanner = std::get_if<Scanner>(&pattern)) {
    collect(text, out, [&](size_t from) { return scan(*scanner, text, from); });
  } else {
    const auto& regex = std::get<Regex>(pattern);
    if (!scratch.matcher || &scratch.matcher->regex() != &regex) scratch.matcher = std::make_unique<Regex::Matcher>(regex);
    scratch.matcher->reset(text);
    collect(text, out, [&](size_t from) { return scratch.matcher->find(from); });
  }
}

void split(const Pattern& pattern, Behavior behavior, bool invert, std::string_view text, SplitScratch& memory,
           std::vector<std::string_view>& out) {
  segments_of(pattern, text, memory);
  auto& scratch = memory.segments;
  if (invert) {
    for (Segment& segment : scratch) segment.match = !segment.match;
  }
  switch (behavior) {
    case Behavior::kIsolated: break;
    case Behavior::kRemoved: std::erase_if(scratch, [](const Segment& s) { return s.match; }); break;
    case Behavior::kContiguous: fold(scratch, [](bool match, bool previous) { return match == previous; }); break;
    case Behavior::kMergedWithPrevious: fold(scratch, [](bool match, bool previous) { return match && !previous; }); break;
    case Behavior::kMergedWithNext: {
      // The mirror image of the case before: a match goes to what follows unless that is a match too.
      size_t kept = scratch.size();
      for (size_t i = scratch.size(); i-- > 0;) {
        const bool next_match = i + 1 < scratch.size() && scratch[i + 1].match;
        // scratch[i + 1] still holds its own flag: kept >= i + 1 and slots are written from the back.
        const Segment segment = scratch[i];
        if (kept < scratch.size() && segment.match && !next_match) scratch[kept].begin = segment.begin;
        else scratch[--kept] = segment;
      }
      scratch.erase(scratch.begin(), scratch.begin() + static_cast<std::ptrdiff_t>(kept));
      break;
    }
  }
  for (const Segment& segment : scratch) out.push_back(text.substr(segment.begin, segment.end - segment.begin));
}

std::string replace_all(const Pattern& pattern, std::string_view content, std::string_view text) {
  SplitScratch scratch;
  segments_of(pattern, text, scratch);
  std::string out;
  out.reserve(text.size());
  for (const Segment& segment : scratch.segments) {
    out += segment.match ? content : text.substr(segment.begin, segment.end - segment.begin);
  }
  return out;
}

Pattern make_regex_pattern(std::string_view regex, const std::string& where) {
  if (const auto scanner = find_scanner(regex)) return *scanner;
  return Regex(regex, where);
}

}  // namespace moiety::text
