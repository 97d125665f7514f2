#include <doctest/doctest.h>

#include "eval/perplexity.h"
#include "tests/models/golden.h"
#include "tests/models/random_model.h"
#include "tests/runtime/model_files.h"
#include "tests/support/status.h"
#include "runtime/load.h"

using namespace moiety;
using eval::BlockOptions;
using eval::Journal;
using eval::Scorer;
using eval::TextScore;

namespace {

double log_probability(std::span<const float> logits, int32_t target) {
  double sum = 0;
  for (float v : logits) sum += std::exp(static_cast<double>(v));
  return static_cast<double>(logits[static_cast<size_t>(target)]) - std::log(sum);
}

// What a block means, said as plainly as possible: each target after at most `block` tokens of the stream before it.
double plain_nats(const Model& model, const std::vector<int32_t>& text, size_t block, size_t stride) {
  double nats = 0;
  const auto vocab = static_cast<size_t>(model.config().vocab);
  for (size_t target = 1; target < text.size(); ++target) {
    size_t from = 0, to = std::min(block, text.size() - 1);
    while (target > to) from = to, to = std::min(to + stride, text.size() - 1);
    const size_t begin = stride < block && to > block ? to - block : from;
    const auto logits = test::logits_of(model, std::span(text).subspan(begin, target - begin), target - begin);
    nats -= log_probability(std::span(logits).last(vocab), text[target]);
  }
  return nats;
}

}  // namespace

TEST_CASE("log-probabilities are those of transformers (golden models)") {
  for (const char* name : {"olmoe-f32", "mixtral-f32", "llama-f32"}) {
    for (const test::GoldenCase& c : test::golden_cases()) {
      if (c.name != name) continue;
      ModelOptions options = test::exact();
      options.context = c.context;
      const auto model = load_model(c.model, options);
      const auto vocab = static_cast<size_t>(model->config().vocab);
      const size_t length = c.prompts[0].size();
      const auto logits = test::read_npy(c.logits, c.prompts.size() * length * vocab);
      Scorer scorer(*model);
      for (size_t p = 0; p < c.prompts.size(); ++p) {
        const auto got = scorer.score(c.prompts[p], 1);
        REQUIRE(got.size() == length - 1);
        for (size_t i = 0; i + 1 < length; ++i) {
          const auto row = std::span(logits).subspan((p * length + i) * vocab, vocab);
          CHECK(std::abs(got[i] - log_probability(row, c.prompts[p][i + 1])) < 1e-4);
        }
        const auto tail = scorer.score(c.prompts[p], length - 3);  // its beginning is in the cache
        CHECK(tail == std::vector<double>(got.end() - 3, got.end()));
      }
    }
  }
}

TEST_CASE("blocks predict each token once, overlapping or not") {
  Config config = find_architecture("olmoe")->tiny()[0];
  config.context = 32;
  const auto model = test::random_model(config, test::exact(7));
  const auto ids = test::random_tokens(config.vocab, 45, 3);
  for (const auto& [block, stride] : std::vector<std::pair<int, int>>{{8, 8}, {8, 3}, {8, 1}, {32, 32}, {11, 10}, {1, 1}}) {
    CAPTURE(block);
    CAPTURE(stride);
    const BlockOptions blocks = eval::checked_blocks({block, stride}, *model);
    for (bool start : {true, false}) {
      std::vector<int32_t> text = ids;
      if (start) text.insert(text.begin(), 5);
      Scorer scorer(*model);
      Journal journal;
      TextScore score;
      int done = 0;
      eval::score_text(scorer, ids, start ? std::optional<int32_t>(5) : std::nullopt, blocks, journal, "0", score,
                       [&] { ++done; });
      CHECK(score.tokens == static_cast<int64_t>(text.size()) - 1);
      CHECK(done == eval::block_count(score.tokens, blocks));
      CHECK(score.nats == doctest::Approx(plain_nats(*model, text, static_cast<size_t>(block), static_cast<size_t>(stride))).epsilon(1e-6));
    }
  }
  const BlockOptions whole = eval::checked_blocks({}, *model);
  CHECK(whole.block == 32);
  CHECK(whole.stride == 32);
  CHECK(test::status_of([&] { eval::checked_blocks({33, 0}, *model); }) == Status::kInvalidArgument);
  CHECK(test::status_of([&] { eval::checked_blocks({8, 9}, *model); }) == Status::kInvalidArgument);
}

TEST_CASE("a run that is stopped goes on where it was, with the same bits") {
  Config config = find_architecture("olmoe")->tiny()[0];
  const auto model = test::random_model(config, test::exact());
  const auto ids = test::random_tokens(config.vocab, 50, 4);
  const BlockOptions blocks = eval::checked_blocks({8, 0}, *model);
  const test::TemporaryFolder folder;
  const auto path = folder.path() / "journal";
  Scorer scorer(*model);
  TextScore whole;
  Journal none;
  eval::score_text(scorer, ids, 1, blocks, none, "0", whole);

  CancelToken cancel;
  int done = 0;
  {
    Journal journal(path, 1);
    TextScore part;
    const auto stop = [&] {
      if (++done == 3) cancel.cancel();
    };
    CHECK(test::status_of([&] { eval::score_text(scorer, ids, 1, blocks, journal, "0", part, stop, &cancel); }) ==
          Status::kCancelled);
    CHECK(journal.size() == 3);
  }
  Journal journal(path, 1);
  TextScore rest;
  eval::score_text(scorer, ids, 1, blocks, journal, "0", rest);
  CHECK(rest.nats == whole.nats);
  CHECK(rest.tokens == whole.tokens);
  // Finished pieces are not run again: a session that would fail is not asked.
  TextScore again;
  cancel.cancel();
  eval::score_text(scorer, ids, 1, blocks, journal, "0", again, {}, &cancel);
  CHECK(again.nats == whole.nats);
}

TEST_CASE("what can't be scored is refused and leaves the scorer usable") {
  Config config = find_architecture("olmoe")->tiny()[0];
  config.context = 8;
  const auto model = test::random_model(config, test::exact());
  Scorer scorer(*model);
  const auto ids = test::random_tokens(config.vocab, 12, 4);
  const std::span<const int32_t> all(ids);
  CHECK(test::status_of([&] { scorer.score(all, 1); }) == Status::kContextFull);
  CHECK(test::status_of([&] { scorer.score(all.first(4), 0); }) == Status::kInvalidArgument);
  CHECK(test::status_of([&] { scorer.score(std::vector<int32_t>{1, 2, config.vocab}, 1); }) == Status::kInvalidArgument);
  CHECK(test::status_of([&] { scorer.score(std::vector<int32_t>{1, -1, 2}, 1); }) == Status::kInvalidArgument);
  CHECK(scorer.score(all.first(9), 1).size() == 8);
  CHECK(scorer.score(all.first(3), 3).empty());
}
