#include "text/normalizer.h"

#include <algorithm>
#include <array>

#include <utf8proc.h>

#include "core/error.h"
#include "text/unicode.h"

namespace moiety::text {

namespace {

bool is_ascii(std::string_view text) {
  return std::none_of(text.begin(), text.end(), [](char c) { return static_cast<signed char>(c) < 0; });
}

// utf8proc_decompose() sorts marks by swapping neighbours, which is quadratic on hostile text: sort runs instead.
void order_marks(std::vector<utf8proc_int32_t>& points) {
  auto rank = [](utf8proc_int32_t c) -> size_t { return utf8proc_get_property(c)->combining_class; };
  for (size_t i = 0; i < points.size();) {
    if (rank(points[i]) == 0) {
      ++i;
      continue;
    }
    size_t end = i + 1;
    bool sorted = true;
    for (; end < points.size() && rank(points[end]) != 0; ++end) sorted = sorted && rank(points[end - 1]) <= rank(points[end]);
    if (!sorted) {
      // Counting sort: stable, and there are fewer than 256 classes.
      const std::vector<utf8proc_int32_t> run(points.begin() + static_cast<std::ptrdiff_t>(i), points.begin() + static_cast<std::ptrdiff_t>(end));
      std::array<size_t, 257> starts{};
      for (const auto c : run) ++starts[rank(c) + 1];
      for (size_t r = 1; r < starts.size(); ++r) starts[r] += starts[r - 1];
      for (const auto c : run) points[i + starts[rank(c)]++] = c;
    }
    i = end;
  }
}

void flush_points(std::vector<utf8proc_int32_t>& points, bool compose, std::string& out) {
  order_marks(points);
  size_t n = points.size();
  if (compose && n > 0) {
    const auto length = utf8proc_normalize_utf32(points.data(), static_cast<utf8proc_ssize_t>(n),
                                                 static_cast<utf8proc_option_t>(UTF8PROC_COMPOSE | UTF8PROC_STABLE));
    if (length < 0) fail(Status::kInternal, "normalization: {}", utf8proc_errmsg(length));
    n = static_cast<size_t>(length);
  }
  for (size_t i = 0; i < n; ++i) append_utf8(out, static_cast<uint32_t>(points[i]));
  points.clear();
}

void decompose(uint32_t point, bool compatibility, std::vector<utf8proc_int32_t>& points) {
  utf8proc_int32_t parts[32];
  int boundary = 0;
  const auto options = static_cast<utf8proc_option_t>(UTF8PROC_DECOMPOSE | UTF8PROC_STABLE |
                                                      (compatibility ? UTF8PROC_COMPAT : 0));
  const auto n = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(point), parts, 32, options, &boundary);
  if (n < 0 || n > 32) points.push_back(static_cast<utf8proc_int32_t>(point));
  else points.insert(points.end(), parts, parts + n);
}

template <class Map>
std::string map_chars(std::string_view text, Map map) {
  std::string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const Char c = decode_char(text, at);
    if (c.point == kInvalid) out += text[at];
    else map(c.point, out);
    at += c.bytes;
  }
  return out;
}

void lowercase(uint32_t point, std::string& out) {
  if (point == 0x130) out += "i\u0307";  // the one character whose lower case is two
  else append_utf8(out, static_cast<uint32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(point))));
}

// SentencePiece's nmt rules, as `tokenizers` has them.
void nmt(uint32_t c, std::string& out) {
  if ((c >= 1 && c <= 8) || c == 0x0B || (c >= 0x0E && c <= 0x1F) || c == 0x7F || c == 0x8F || c == 0x9F) return;
  const bool space = c == 0x09 || c == 0x0A || c == 0x0C || c == 0x0D || c == 0x1680 || (c >= 0x200B && c <= 0x200F) ||
                     c == 0x2028 || c == 0x2029 || c == 0x2581 || c == 0xFEFF || c == 0xFFFD;
  append_utf8(out, space ? ' ' : c);
}

void strip(std::string& text, bool left, bool right) {
  size_t begin = 0, end = text.size();
  while (right && end > 0) {
    const size_t last = previous_char(text, end);
    if (!is_space(decode_char(text, last).point)) break;
    end = last;
  }
  while (left && begin < end && is_space(decode_char(text, begin).point)) begin += decode_char(text, begin).bytes;
  text = text.substr(begin, end - begin);
}

}  // namespace

std::string normal_form(std::string_view text, Form form) {
  if (is_ascii(text)) return std::string(text);
  const bool compatibility = form == Form::kNfkc || form == Form::kNfkd;
  const bool compose = form == Form::kNfc || form == Form::kNfkc;
  std::string out;
  out.reserve(text.size());
  std::vector<utf8proc_int32_t> points;
  for (size_t at = 0; at < text.size();) {
    const Char c = decode_char(text, at);
    // A starter of ASCII never changes what came before it: a good place to keep the buffer small.
    if (c.point < 128 && points.size() >= 256) flush_points(points, compose, out);
    if (c.point == kInvalid) {
      flush_points(points, compose, out);
      out += text[at];
    } else {
      decompose(c.point, compatibility, points);
    }
    at += c.bytes;
  }
  flush_points(points, compose, out);
  return out;
}

void normalize(const std::vector<NormalizerStep>& steps, std::string& text) {
  using Kind = NormalizerStep::Kind;
  for (const auto& step : steps) {
    switch (step.kind) {
      case Kind::kForm: text = normal_form(text, step.form); break;
      case Kind::kLowercase: text = map_chars(text, lowercase); break;
      case Kind::kStrip: strip(text, step.left, step.right); break;
      case Kind::kStripAccents:
        text = map_chars(text, [](uint32_t c, std::string& out) {
          if (!(class_of(c) & kMark)) append_utf8(out, c);
        });
        break;
      case Kind::kPrepend:
        if (!text.empty()) text.insert(0, step.content);
        break;
      case Kind::kReplace: text = replace_all(step.pattern, step.content, text); break;
      case Kind::kNmt: text = map_chars(text, nmt); break;
      case Kind::kByteLevel: {
        std::string spelled;
        for (const char c : text) append_utf8(spelled, byte_to_char(static_cast<uint8_t>(c)));
        text = std::move(spelled);
        break;
      }
    }
  }
}

}  // namespace moiety::text
