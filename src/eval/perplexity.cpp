#include "eval/perplexity.h"

#include <algorithm>

namespace moiety::eval {

BlockOptions checked_blocks(BlockOptions options, const Model& model) {
  constexpr int kUsual = 2048;
  if (options.block == 0) options.block = std::min(kUsual, model.context());
  if (options.stride == 0) options.stride = options.block;
  if (options.block < 1 || options.block > model.context()) {
    fail(Status::kInvalidArgument, "block is {} tokens, expected 1 to {}, the context of {}", options.block,
         model.context(), model.name());
  }
  if (options.stride < 1 || options.stride > options.block) {
    fail(Status::kInvalidArgument, "stride is {} tokens, expected 1 to {}, the block", options.stride, options.block);
  }
  return options;
}

int64_t block_count(int64_t tokens, const BlockOptions& options) {
  if (tokens <= options.block) return tokens > 0 ? 1 : 0;
  return 1 + (tokens - options.block + options.stride - 1) / options.stride;
}

void score_text(Scorer& scorer, std::span<const int32_t> ids, std::optional<int32_t> start, const BlockOptions& options,
                Journal& journal, const std::string& key, TextScore& out, const std::function<void()>& done,
                const CancelToken* cancel) {
  // text[0] is never predicted: the start token, or where there is none the first token.
  std::vector<int32_t> text;
  if (start) text.push_back(*start);
  text.insert(text.end(), ids.begin(), ids.end());
  if (text.size() < 2) return;
  const size_t targets = text.size() - 1, block = static_cast<size_t>(options.block);
  size_t from = 0, index = 0;  // of the targets: target i is text[i + 1]
  while (from < targets) {
    const size_t to = std::min(targets, from == 0 ? block : from + static_cast<size_t>(options.stride));
    const std::string name = fmt::format("{}.{}", key, index++);
    const std::vector<double>* kept = journal.find(name);
    if (!kept) {
      const size_t begin = to > block && options.stride < options.block ? to - block : from;
      const auto logprobs =
          scorer.score(std::span(text).subspan(begin, to + 1 - begin), from + 1 - begin, block, cancel);
      double nats = 0;
      for (double p : logprobs) nats -= p;
      kept = &journal.add(name, {nats, static_cast<double>(logprobs.size())});
    }
    if (kept->size() != 2) fail(Status::kFormat, "{}: {} is broken", journal.name(), name);
    out.nats += (*kept)[0];
    out.tokens += static_cast<int64_t>((*kept)[1]);
    from = to;
    if (done) done();
  }
}

}  // namespace moiety::eval
