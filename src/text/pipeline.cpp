#include "text/pipeline.h"

#include <algorithm>

#include "core/error.h"
#include "text/unicode.h"

namespace moiety::text {

struct Pipeline::Run {
  Run(std::string_view text, EncodeOptions wanted) : options(wanted), scratch(text.size()) {}
  EncodeOptions options;
  Bpe::Scratch scratch;
  std::deque<std::string> arena;
  std::vector<int32_t> out;
};

void Pipeline::finish() {
  special.resize(static_cast<size_t>(vocab.size()));
  for (const auto& token : added_tokens) {
    if (token.special) special[static_cast<size_t>(token.id)] = true;
  }
  collect_end_ids(*this);
}

std::vector<int32_t> Pipeline::encode(std::string_view text, EncodeOptions options) const {
  Run run(text, options);
  run.out.reserve(text.size() / 3 + 16);
  if (options.add_special) run.out.insert(run.out.end(), prefix.begin(), prefix.end());
  // A control token that is not parsed may hide others in its text, so the matcher sees all of it at once.
  bool after_special = true;
  for (const auto& part : raw_matcher.split(text, options.parse_special)) {
    if (part.id >= 0) {
      run.out.push_back(part.id);
      after_special = true;
      continue;
    }
    const bool at_start = part.text.data() == text.data();
    if (space_after_special && after_special) encode_text(run, run.arena.emplace_back(" " + std::string(part.text)), at_start);
    else encode_text(run, part.text, at_start);
    after_special = false;
  }
  if (options.add_special) run.out.insert(run.out.end(), suffix.begin(), suffix.end());
  return std::move(run.out);
}

void Pipeline::encode_text(Run& run, std::string_view text, bool at_start) const {
  if (!normalizer.empty()) {
    std::string normalized(text);
    normalize(normalizer, normalized);
    text = run.arena.emplace_back(std::move(normalized));
  }
  if (normalized_matcher.empty()) return encode_words(run, text, at_start);
  for (const auto& part : normalized_matcher.split(text, run.options.parse_special)) {
    if (part.id >= 0) run.out.push_back(part.id);
    else encode_words(run, part.text, at_start && part.text.data() == text.data());
  }
}

void Pipeline::encode_words(Run& run, std::string_view text, bool at_start) const {
  std::vector<Piece> pieces{{text, at_start}};
  pretokenize(pretokenizer, pieces, run.arena);
  for (const Piece& piece : pieces) {
    if (safe_cut.empty()) {
      bpe.encode(piece.text, run.out, run.scratch);
      continue;
    }
    const std::string_view word = piece.text;
    for (size_t begin = 0; begin < word.size();) {
      size_t end = begin;
      while (word.substr(end).starts_with(safe_cut)) end += safe_cut.size();
      end = std::min(word.find(safe_cut, end), word.size());
      bpe.encode(word.substr(begin, end - begin), run.out, run.scratch);
      begin = end;
    }
  }
}

namespace {

int hex(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

void strip_token(const DecoderStep& step, std::string& text) {
  size_t begin = 0;
  for (size_t n = 0; n < step.start && text.compare(begin, step.content.size(), step.content) == 0; ++n) {
    begin += step.content.size();
  }
  text.erase(0, begin);
  for (size_t n = 0; n < step.stop && text.size() >= step.content.size() && text.ends_with(step.content); ++n) {
    text.resize(text.size() - step.content.size());
  }
}

void apply(const DecoderStep& step, bool first, std::string& text) {
  switch (step.kind) {
    case DecoderStep::Kind::kByteLevel: {
      std::string bytes;
      if (append_spelled_bytes(bytes, text)) text = std::move(bytes);
      return;
    }
    case DecoderStep::Kind::kByteFallback:
      if (text.size() == 6 && text.starts_with("<0x") && text[5] == '>' && hex(text[3]) >= 0 && hex(text[4]) >= 0) {
        text = std::string(1, static_cast<char>(hex(text[3]) * 16 + hex(text[4])));
      }
      return;
    case DecoderStep::Kind::kMetaspace:
      text = replace_all(Pattern(step.replacement), first && step.drops_first ? "" : " ", text);
      return;
    case DecoderStep::Kind::kReplace: text = replace_all(step.pattern, step.content, text); return;
    case DecoderStep::Kind::kStrip: strip_token(step, text); return;
  }
}

}  // namespace

std::string Pipeline::piece(int32_t id, bool first) const {
  if (id == newline) return "\n";
  std::string text(vocab.text(id));
  if (verbatim.empty() || !verbatim[static_cast<size_t>(id)]) {
    for (const auto& step : decoder.steps) apply(step, first, text);
  }
  if (decoder.join_spaces && !first) text.insert(0, " ");
  return text;
}

void collect_end_ids(Pipeline& pipeline) {
  // Ends of a turn that files of chat models often forget to name as EOS. Only control tokens count.
  for (const std::string_view name : {"<|eot_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>", "<|eom_id|>", "<|endoftext|>",
                                      "<|end_of_text|>", "<|return|>", "<|call|>", "<EOT>", "<｜end▁of▁sentence｜>"}) {
    const int32_t id = pipeline.vocab.find(name);
    if (id >= 0 && pipeline.special[static_cast<size_t>(id)]) pipeline.end_ids.push_back(id);
  }
  if (pipeline.eos) pipeline.end_ids.push_back(*pipeline.eos);
  auto& ids = pipeline.end_ids;
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
}

void register_added_tokens(Pipeline& pipeline, const std::string& where) {
  for (const auto& token : pipeline.added_tokens) {
    if (token.content.size() > kLongestAddedToken) {
      fail(Status::kUnsupported, "{}: an added token of {} bytes ('{}'); limit {}", where, token.content.size(),
           printable(token.content), kLongestAddedToken);
    }
    if (!token.normalized) {
      pipeline.raw_matcher.add(token.content, token);
      continue;
    }
    std::string pattern = token.content;
    normalize(pipeline.normalizer, pattern);
    if (pattern.size() > kLongestAddedToken) {
      fail(Status::kUnsupported, "{}: the added token '{}' grows to {} bytes; limit {}", where, printable(token.content),
           pattern.size(), kLongestAddedToken);
    }
    pipeline.normalized_matcher.add(pattern, token);
  }
}

}  // namespace moiety::text
