// Scores of fairseq's own checkpoints beside fairseq's own figures (eval_lm's blocks), from the folder
// MOIETY_FAIRSEQ_DATA (default: ../shared/data/fairseq); without it the test reports itself as skipped.
#include <doctest/doctest.h>

#include <cstdlib>
#include <nlohmann/json.hpp>

#include "eval/perplexity.h"
#include "eval/text_set.h"
#include "runtime/fairseq_model.h"
#include "runtime/load.h"
#include "tests/models/golden.h"

using namespace moiety;

TEST_CASE("blocks, sums and losses are eval_lm's, whatever the gate's capacity") {
  const char* given = std::getenv("MOIETY_FAIRSEQ_DATA");
  const std::filesystem::path data = given ? given : MOIETY_SOURCE_DIR "/../shared/data/fairseq";
  if (!std::filesystem::exists(data / "ckpt")) {
    MESSAGE("SKIP: no checkpoints in ", data.string());
    return;
  }
  const auto tokenizer = read_fairseq_tokenizer(data / "text");
  int checked = 0;
  for (const char* name : {"c-moe-4ranks-f16", "d-dense-f32"}) {
    const auto folder = data / "ckpt" / name;
    const auto book = nlohmann::json::parse(test::read_file(folder / "expect.json"));
    for (const auto& [text, modes] : book.at("scoring").items()) {
      const auto ids = eval::encode_text(*tokenizer, eval::read_text(data / "text" / text), true);
      for (const auto& [mode, expected] : modes.items()) {
        if (!expected.is_object() || !expected.contains("block_sums")) continue;
        CAPTURE(mode);
        ModelOptions options;
        options.activations = ActivationPrecision::kF32;
        if (mode != "nodrop") parse_gate(mode == "train" ? "train" : "frac=0.2", options.gate);
        const auto model = load_model(folder / "checkpoint_last.pt", options);
        eval::Scorer scorer(*model);
        eval::Journal journal;
        eval::TextScore score;
        const auto blocks = eval::checked_blocks({modes.at("blocks_of").get<int>(), 0}, *model);
        eval::score_text(scorer, ids, eval::start_token(*tokenizer), blocks, journal, "0", score);
        const auto& sums = expected.at("block_sums");
        CHECK(score.tokens == expected.at("tokens").get<int64_t>());
        REQUIRE(journal.size() == sums.size());
        for (size_t b = 0; b < sums.size(); ++b) {
          CHECK(std::abs(journal.find("0." + std::to_string(b))->at(0) + sums[b].get<double>()) < 64 * 1e-4);
          ++checked;
        }
        CHECK(std::abs(score.loss_base2() - expected.at("loss_base2").get<double>()) < 1e-4);
      }
    }
  }
  CHECK(checked > 0);
  MESSAGE("checked ", checked, " blocks");
}
