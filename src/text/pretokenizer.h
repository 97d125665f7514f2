// Pre-tokenizers: how a normalized text falls apart into words before BPE.
#pragma once

#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "text/pattern.h"

namespace moiety::text {

struct Piece {
  std::string_view text;
  bool at_start;  // it is the beginning of the whole input
};

struct PretokenizerStep {
  enum class Kind { kSplit, kByteLevel, kMetaspace };
  enum class Prepend { kAlways, kFirst, kNever };
  Kind kind = Kind::kSplit;
  Pattern pattern;  // kSplit
  Behavior behavior = Behavior::kIsolated;
  bool invert = false;
  bool add_prefix_space = false;  // kByteLevel
  bool use_regex = true;
  bool spell_bytes = true;  // kByteLevel; false if BPE takes the raw bytes
  std::string replacement;  // kMetaspace
  Prepend prepend = Prepend::kAlways;
  bool split = true;
};

// Replaces the pieces by what the steps make of them. Texts that change live in `arena`.
void pretokenize(const std::vector<PretokenizerStep>& steps, std::vector<Piece>& pieces, std::deque<std::string>& arena);

}  // namespace moiety::text
