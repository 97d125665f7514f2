// The multiple-choice tasks that `eval choices` and `eval compare` score: flags, files, a model's accuracies.
#pragma once

#include "eval/choices.h"
#include "text_scores.h"

namespace cli {

struct ChoiceFlags {
  std::string labels, shots_from, templates;
  std::vector<std::string> scorings;
  int shots = 0, draws = 1;
  uint64_t seed = 0;

  void add(CLI::App& command);
};

struct ChoiceAccuracy {
  moiety::eval::Scoring scoring;
  std::vector<double> draws;

  double mean() const;
  double deviation() const;  // over the draws; 0 for one
};

struct ChoiceScores {
  std::vector<ChoiceAccuracy> accuracies;  // by scoring
  int64_t cut = 0;                         // sequences that were longer than the context and lost their beginning
  void tell_cut() const;                   // to stderr, if there are some
};

CLI::Validator known_task();

class ChoiceTask {
 public:
  // Reads the items, the examples and the template. Throws Error naming file and field.
  ChoiceTask(const ChoiceFlags& flags, const std::string& task, const std::string& file);

  const std::string& name() const { return task_; }
  const std::vector<moiety::eval::ChoiceItem>& items() const { return items_; }
  const std::vector<moiety::eval::Scoring>& scorings() const { return scorings_; }
  void identify(moiety::eval::RunId& run) const;

  // Finished items are in the journal under "<prefix><draw>.<item>".
  using ItemScored = std::function<void(int draw, size_t item, const std::vector<moiety::eval::ChoiceScore>&)>;
  ChoiceScores score(moiety::eval::Scorer& scorer, moiety::eval::Journal& journal, const std::string& prefix,
                     const PiecesDone& done, const moiety::CancelToken* cancel, const ItemScored& scored = {}) const;

 private:
  std::string shots_of(int draw, size_t item) const;

  ChoiceFlags flags_;
  std::string task_, file_;
  std::vector<moiety::eval::ChoiceItem> items_, pool_;
  moiety::eval::ChoiceTemplate form_;
  std::vector<moiety::eval::Scoring> scorings_;
};

}  // namespace cli
