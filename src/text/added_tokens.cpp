#include "text/added_tokens.h"

#include <algorithm>

#include "text/unicode.h"

namespace moiety::text {

namespace {

bool is_word(uint32_t point) { return (class_of(point) & kWord) || point == 0x200C || point == 0x200D; }

}  // namespace

void AddedMatcher::add(std::string_view pattern, const AddedToken& token) {
  if (pattern.empty()) return;
  uint32_t node = 0;
  for (const char c : pattern) {
    const uint64_t key = (uint64_t{node} << 8) | static_cast<uint8_t>(c);
    const auto [edge, is_new] = edges_.try_emplace(key, static_cast<uint32_t>(token_of_.size()));
    if (is_new) token_of_.push_back(-1);
    node = edge->second;
  }
  starts_[static_cast<uint8_t>(pattern[0])] = true;
  if (token_of_[node] >= 0) return;
  token_of_[node] = static_cast<int32_t>(tokens_.size());
  tokens_.push_back(token);
}

std::optional<AddedMatcher::Match> AddedMatcher::find(std::string_view text, size_t from) const {
  for (size_t at = from; at < text.size(); ++at) {
    if (!starts_[static_cast<uint8_t>(text[at])]) continue;
    std::optional<Match> best;
    uint32_t node = 0;
    for (size_t end = at; end < text.size();) {
      const auto edge = edges_.find((uint64_t{node} << 8) | static_cast<uint8_t>(text[end]));
      if (edge == edges_.end()) break;
      node = edge->second;
      ++end;
      if (token_of_[node] >= 0) best = Match{at, end, &tokens_[static_cast<size_t>(token_of_[node])]};
    }
    if (best) return best;
  }
  return std::nullopt;
}

std::vector<AddedMatcher::Part> AddedMatcher::split(std::string_view text, bool parse_special) const {
  std::vector<Part> parts;
  size_t done = 0;
  for (auto match = find(text, 0); match; match = find(text, match->end)) {
    const AddedToken& token = *match->token;
    size_t begin = match->begin, end = match->end;
    if (token.special && !parse_special) continue;
    if (token.single_word) {
      const bool left = begin == 0 || !is_word(decode_char(text, previous_char(text, begin)).point);
      const bool right = end == text.size() || !is_word(decode_char(text, end).point);
      if (!left || !right) continue;
    }
    if (token.lstrip) {
      while (begin > 0) {
        const size_t before = previous_char(text, begin);
        if (!is_space(decode_char(text, before).point)) break;
        begin = before;
      }
    }
    if (token.rstrip) {
      while (end < text.size() && is_space(decode_char(text, end).point)) end += decode_char(text, end).bytes;
    }
    // Spaces that the token before took already stay with it.
    begin = std::max(begin, done);
    if (begin > done) parts.push_back({text.substr(done, begin - done), -1});
    parts.push_back({text.substr(begin, std::max(begin, end) - begin), token.id});
    done = std::max(begin, end);
  }
  if (done < text.size()) parts.push_back({text.substr(done), -1});
  return parts;
}

}  // namespace moiety::text
