// Added tokens: strings that are found in a text as a whole, before (or after) it is normalized.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace moiety::text {

struct AddedToken {
  std::string content;
  int32_t id = -1;
  bool special = false, normalized = false, lstrip = false, rstrip = false, single_word = false;
};

constexpr size_t kLongestAddedToken = 1024;  // bytes; matching costs at most this much a byte of text

// Finds the leftmost of the tokens, the longest where several begin.
class AddedMatcher {
 public:
  // `pattern` is what to look for (the normalized content for tokens that match normalized text).
  void add(std::string_view pattern, const AddedToken& token);
  bool empty() const { return tokens_.empty(); }

  struct Part {
    std::string_view text;
    int32_t id;  // -1: text between tokens
  };
  // The parts cover the text; with parse_special false, special tokens are text.
  std::vector<Part> split(std::string_view text, bool parse_special) const;

 private:
  struct Match {
    size_t begin, end;
    const AddedToken* token;
  };
  std::optional<Match> find(std::string_view text, size_t from) const;

  std::array<bool, 256> starts_{};
  std::unordered_map<uint64_t, uint32_t> edges_;  // (node, byte) -> node; node 0 is the root
  std::vector<int32_t> token_of_{-1};             // by node: index into tokens_ or -1
  std::vector<AddedToken> tokens_;
};

}  // namespace moiety::text
