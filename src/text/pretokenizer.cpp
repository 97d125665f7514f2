#include "text/pretokenizer.h"

#include "text/unicode.h"

namespace moiety::text {

namespace {

struct Work {
  SplitScratch scratch;
  std::vector<std::string_view> parts;
};

void add_parts(const Piece& piece, const std::vector<std::string_view>& parts, std::vector<Piece>& out) {
  for (const auto part : parts) {
    if (!part.empty()) out.push_back({part, piece.at_start && part.data() == piece.text.data()});
  }
}

void byte_level(const PretokenizerStep& step, Piece piece, std::deque<std::string>& arena, Work& work,
                std::vector<Piece>& out) {
  if (step.add_prefix_space && !piece.text.starts_with(' ')) {
    piece.text = arena.emplace_back(" " + std::string(piece.text));
  }
  work.parts.clear();
  if (step.use_regex) split(Scanner::kGpt2, Behavior::kIsolated, false, piece.text, work.scratch, work.parts);
  else work.parts.push_back(piece.text);
  const size_t first = out.size();
  add_parts(piece, work.parts, out);
  if (!step.spell_bytes) return;
  for (size_t i = first; i < out.size(); ++i) {
    std::string spelled;
    for (const char c : out[i].text) append_utf8(spelled, byte_to_char(static_cast<uint8_t>(c)));
    out[i].text = arena.emplace_back(std::move(spelled));
  }
}

void metaspace(const PretokenizerStep& step, Piece piece, std::deque<std::string>& arena, std::vector<Piece>& out) {
  std::string text;
  text.reserve(piece.text.size() + piece.text.size() / 2 + step.replacement.size());
  for (const char c : piece.text) {
    if (c == ' ') text += step.replacement;
    else text += c;
  }
  const bool prepends = step.prepend == PretokenizerStep::Prepend::kAlways ||
                        (step.prepend == PretokenizerStep::Prepend::kFirst && piece.at_start);
  if (prepends && !text.starts_with(step.replacement)) text.insert(0, step.replacement);
  piece.text = arena.emplace_back(std::move(text));
  if (!step.split) {
    out.push_back(piece);
    return;
  }
  // Each replacement begins a new part.
  for (size_t begin = 0; begin < piece.text.size();) {
    size_t end = piece.text.find(step.replacement, begin + 1);
    if (end == std::string_view::npos) end = piece.text.size();
    out.push_back({piece.text.substr(begin, end - begin), piece.at_start && begin == 0});
    begin = end;
  }
}

}  // namespace

void pretokenize(const std::vector<PretokenizerStep>& steps, std::vector<Piece>& pieces, std::deque<std::string>& arena) {
  Work work;
  std::vector<Piece> next;
  for (const auto& step : steps) {
    next.clear();
    for (const Piece& piece : pieces) {
      if (piece.text.empty()) continue;
      switch (step.kind) {
        case PretokenizerStep::Kind::kSplit:
          work.parts.clear();
          split(step.pattern, step.behavior, step.invert, piece.text, work.scratch, work.parts);
          add_parts(piece, work.parts, next);
          break;
        case PretokenizerStep::Kind::kByteLevel: byte_level(step, piece, arena, work, next); break;
        case PretokenizerStep::Kind::kMetaspace: metaspace(step, piece, arena, next); break;
      }
    }
    pieces.swap(next);
  }
}

}  // namespace moiety::text
