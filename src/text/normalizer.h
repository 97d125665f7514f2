// Normalizers: what a tokenizer does to a text before it is split.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "text/pattern.h"

namespace moiety::text {

enum class Form { kNfc, kNfd, kNfkc, kNfkd };

struct NormalizerStep {
  enum class Kind { kForm, kLowercase, kStrip, kStripAccents, kPrepend, kReplace, kNmt, kByteLevel };
  Kind kind = Kind::kForm;
  Form form = Form::kNfc;
  bool left = false, right = false;  // kStrip
  std::string content;               // kPrepend, kReplace
  Pattern pattern;                   // kReplace
};

// Bytes that are not UTF-8 pass through unchanged. Linear in the text.
std::string normal_form(std::string_view text, Form form);
void normalize(const std::vector<NormalizerStep>& steps, std::string& text);

}  // namespace moiety::text
