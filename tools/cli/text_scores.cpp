#include "text_scores.h"

namespace cli {

namespace ev = moiety::eval;

void TextFlags::add(CLI::App& command, const char* about_texts) {
  command.add_option("texts", texts, about_texts);
  command.add_option("--in", in_domain, "Texts of the training domain, named alike");
  command.add_option("--out", out_of_domain, "Texts of other domains");
  command.add_option("--block", blocks.block, "Tokens of a block; 0: 2048, or the model's context if that is less")
      ->check(number_from(0))
      ->capture_default_str();
  command
      .add_option("--stride", blocks.stride, "New tokens of a block, the others are context; 0: blocks do not overlap")
      ->check(number_from(0))
      ->capture_default_str();
  command.add_flag("--keep-empty", keep_empty, "Models that read line by line (fairseq): keep blank lines");
}

TextScores::TextScores(const TextFlags& flags) : flags_(flags) {
  const auto add = [&](const std::vector<std::string>& specs, const char* set) {
    for (const std::string& spec : specs) {
      for (ev::TextFile& file : ev::find_texts(spec, set)) {
        std::string text = ev::read_text(file.path);
        files_.push_back({std::move(file), std::move(text)});
      }
    }
  };
  add(flags.texts, ""), add(flags.in_domain, "in"), add(flags.out_of_domain, "out");
}

void TextScores::identify(ev::RunId& run) const {
  for (const File& f : files_) run.add(f.file.name).add(f.text);
}

std::vector<ev::TextScore> TextScores::score(ev::Scorer& scorer, ev::Journal& journal, const std::string& prefix,
                                             const PiecesDone& done, const moiety::CancelToken* cancel) const {
  const moiety::Tokenizer& tokenizer = runtime_tokenizer(scorer.model());
  const ev::BlockOptions blocks = ev::checked_blocks(flags_.blocks, scorer.model());
  std::vector<std::vector<int32_t>> ids;
  int64_t total = 0, blocks_done = 0;
  for (const File& f : files_) {
    ids.push_back(ev::encode_text(tokenizer, f.text, flags_.keep_empty));
    if (ids.back().empty()) {
      moiety::fail(moiety::Status::kInvalidArgument, "{}: no text in it", moiety::printable(f.file.path.string()));
    }
    total += ev::block_count(static_cast<int64_t>(ids.back().size()), blocks);
  }
  done(0, total);
  std::vector<ev::TextScore> scores;
  for (size_t i = 0; i < files_.size(); ++i) {
    ev::TextScore& score = scores.emplace_back();
    score.name = files_[i].file.name, score.set = files_[i].file.set, score.bytes = files_[i].text.size();
    ev::score_text(
        scorer, ids[i], ev::start_token(tokenizer), blocks, journal, prefix + std::to_string(i), score,
        [&] { done(++blocks_done, total); }, cancel);
    if (score.tokens == 0) {
      moiety::fail(moiety::Status::kInvalidArgument, "{}: no token to predict", moiety::printable(score.name));
    }
  }
  return scores;
}

}  // namespace cli
