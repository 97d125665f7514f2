// The tokens of a chat template.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace moiety::text {

struct JinjaToken {
  enum class Type { kText, kName, kString, kInteger, kFloat, kOperator, kOutputBegin, kOutputEnd, kBlockBegin, kBlockEnd, kEnd };
  Type type;
  std::string text;
  int line;
};

// Text between tags, and what is in the tags; the last token is kEnd. Throws Error kUnsupported with the line.
std::vector<JinjaToken> lex_jinja(std::string_view source);

}  // namespace moiety::text
