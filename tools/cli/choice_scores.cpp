#include "choice_scores.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace cli {

namespace ev = moiety::eval;

namespace {

std::vector<ev::ChoiceScore> unpacked(const std::vector<double>& values, size_t choices, const ev::Journal& journal) {
  if (values.size() != 4 * choices) moiety::fail(moiety::Status::kFormat, "{}: a piece is broken", journal.name());
  std::vector<ev::ChoiceScore> scores;
  for (size_t c = 0; c < choices; ++c) {
    scores.push_back({values[4 * c], values[4 * c + 1], values[4 * c + 2], values[4 * c + 3]});
  }
  return scores;
}

}  // namespace

CLI::Validator known_task() {
  return CLI::IsMember(
      {"copa", "record", "hellaswag", "piqa", "winogrande", "storycloze", "openbookqa", "arc", "boolq"});
}

void ChoiceFlags::add(CLI::App& command) {
  command.add_option("--labels", labels, "The answers, a line each, of files without them (PIQA)");
  command
      .add_option("--score", scorings,
                  "sum, mean (of a token), unconditional, suffix; a list; without it all that the template has")
      ->delimiter(',')
      ->check(CLI::IsMember({"sum", "mean", "unconditional", "suffix"}));
  command.add_option("-k,--shots", shots, "Examples before each item")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command.add_option("--draws", draws, "Draws of examples; their mean and deviation are told")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command.add_option("-s,--seed", seed, "Of the draws")->capture_default_str();
  command.add_option("--shots-from", shots_from,
                     "A file to draw examples from; without it the other items of the file");
  command.add_option("--templates", templates, "How items become text; without it moiety's own");
}

double ChoiceAccuracy::mean() const {
  return std::accumulate(draws.begin(), draws.end(), 0.0,
                         [&](double sum, double a) { return sum + a / static_cast<double>(draws.size()); });
}

double ChoiceAccuracy::deviation() const {
  if (draws.size() < 2) return 0;
  double square = 0;
  for (double a : draws) square += (a - mean()) * (a - mean());
  return std::sqrt(square / static_cast<double>(draws.size() - 1));
}

void ChoiceScores::tell_cut() const {
  if (cut > 0) {
    std::fprintf(stderr, "%lld sequences were longer than the context and lost their beginning\n",
                 static_cast<long long>(cut));
  }
}

ChoiceTask::ChoiceTask(const ChoiceFlags& flags, const std::string& task, const std::string& file)
    : flags_(flags), task_(task), file_(file) {
  items_ = ev::read_choice_items(task, file, flags.labels);
  if (!flags.shots_from.empty()) pool_ = ev::read_choice_items(task, flags.shots_from, {});
  const std::string path = flags.templates.empty() ? shipped_templates() : flags.templates;
  form_ = ev::read_choice_template(ev::read_text(path), moiety::printable(path), task);
  for (ev::Scoring s : ev::kScorings) {
    const bool asked = std::ranges::find(flags.scorings, ev::scoring_name(s)) != flags.scorings.end();
    if (asked || (flags.scorings.empty() && (s != ev::Scoring::kSuffix || !form_.suffix_target.empty()))) {
      scorings_.push_back(s);
    }
  }
}

void ChoiceTask::identify(ev::RunId& run) const {
  run.add(task_).add(ev::read_text(file_)).add(flags_.shots).add(flags_.draws).add(std::to_string(flags_.seed));
  if (!flags_.labels.empty()) run.add(ev::read_text(flags_.labels));
  if (!flags_.shots_from.empty()) run.add(ev::read_text(flags_.shots_from));
  run.add(form_.context)
      .add(form_.target)
      .add(form_.suffix_context)
      .add(form_.suffix_target)
      .add(form_.unconditional)
      .add(form_.separator);
  for (const auto& [field, words] : form_.values) {
    for (const auto& [value, word] : words) run.add(field).add(value).add(word);
  }
  for (ev::Scoring s : scorings_) run.add(ev::scoring_name(s));
}

// The prompt's examples of a draw. From the file itself an item never sees its own answer.
std::string ChoiceTask::shots_of(int draw, size_t item) const {
  if (flags_.shots == 0) return "";
  const bool own = flags_.shots_from.empty();
  const auto& pool = own ? items_ : pool_;
  const auto examples =
      ev::draw_examples(pool.size(), static_cast<size_t>(flags_.shots), flags_.seed, static_cast<uint64_t>(draw),
                        own ? std::optional<size_t>(item) : std::nullopt);
  return ev::shots_text(form_, pool, examples);
}

ChoiceScores ChoiceTask::score(ev::Scorer& scorer, ev::Journal& journal, const std::string& prefix,
                               const PiecesDone& done, const moiety::CancelToken* cancel,
                               const ItemScored& scored) const {
  const auto has = [&](ev::Scoring s) { return std::ranges::find(scorings_, s) != scorings_.end(); };
  ev::ChoiceScorer choices(scorer, runtime_tokenizer(scorer.model()), form_, has(ev::Scoring::kUnconditional),
                           has(ev::Scoring::kSuffix));
  ChoiceScores out;
  for (ev::Scoring s : scorings_) out.accuracies.push_back({s, std::vector<double>(static_cast<size_t>(flags_.draws))});
  const auto count = static_cast<int64_t>(items_.size());
  done(0, count * flags_.draws);
  for (int draw = 0; draw < flags_.draws; ++draw) {
    for (size_t i = 0; i < items_.size(); ++i) {
      const ev::ChoiceItem& item = items_[i];
      const std::string key = fmt::format("{}{}.{}", prefix, draw, i);
      const std::vector<double>* kept = journal.find(key);
      if (!kept) {
        std::vector<double> values;
        for (const ev::ChoiceScore& s : choices.score(item, shots_of(draw, i), cancel)) {
          values.insert(values.end(), {s.sum, s.tokens, s.unconditional, s.suffix});
        }
        kept = &journal.add(key, std::move(values));
      }
      const auto scores = unpacked(*kept, item.choices.size(), journal);
      for (ChoiceAccuracy& a : out.accuracies) {
        if (item.correct[ev::chosen(scores, a.scoring)]) {
          a.draws[static_cast<size_t>(draw)] += 1.0 / static_cast<double>(count);
        }
      }
      if (scored) scored(draw, i, scores);
      done(draw * count + static_cast<int64_t>(i) + 1, count * flags_.draws);
    }
  }
  out.cut = choices.cut();
  return out;
}

}  // namespace cli
