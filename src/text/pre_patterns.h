// What the names in tokenizer.ggml.pre stand for.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace moiety::text {

struct PreTokenizer {
  std::vector<std::string_view> patterns;  // splits, each match and each gap a part of its own, one after another
  bool ignore_merges = false;
  bool add_bos = false;  // unless the file says
};

// An absent name means GPT-2's splits for the architectures that are known to have them, else "default".
// Throws Error kUnsupported for a name that is not known.
PreTokenizer find_pre_tokenizer(std::string_view name, std::string_view architecture, const std::string& origin);

}  // namespace moiety::text
