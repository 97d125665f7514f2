// Perplexity of texts in blocks, as fairseq's eval_lm cuts them: the input of a block is its text shifted by one, the
// first block begins with the start token and every later one with the last token of the block before, and each token
// is predicted once. With a stride the blocks overlap, and each scores only what is new in it.
#pragma once

#include <cmath>
#include <numbers>
#include <string>

#include "eval/journal.h"
#include "eval/scorer.h"

namespace moiety::eval {

struct BlockOptions {
  int block = 0;   // tokens of a block; 0: 2048, or the context where that is less
  int stride = 0;  // new tokens of a block; 0: all of them
};

// Throws Error kInvalidArgument if the block does not fit the context or the stride the block.
BlockOptions checked_blocks(BlockOptions options, const Model& model);

struct TextScore {
  std::string name, set;
  int64_t tokens = 0;  // predicted ones
  double nats = 0;     // minus the sum of their log-probabilities
  uint64_t bytes = 0;  // of the text

  double loss_base2() const { return nats / static_cast<double>(tokens) / std::numbers::ln2; }
  double bits_per_byte() const { return nats / static_cast<double>(bytes) / std::numbers::ln2; }
  double perplexity() const { return std::exp(nats / static_cast<double>(tokens)); }
};

// How many blocks `tokens` tokens make.
int64_t block_count(int64_t tokens, const BlockOptions& options);

// Adds tokens and nats to `out`. Blocks that `journal` holds under "<key>.<block>" are not run again, the others are
// added to it. Without a start token the first token is not predicted. `done` is called after each block.
void score_text(Scorer& scorer, std::span<const int32_t> ids, std::optional<int32_t> start, const BlockOptions& options,
                Journal& journal, const std::string& key, TextScore& out, const std::function<void()>& done = {},
                const CancelToken* cancel = nullptr);

}  // namespace moiety::eval
