// Multiple choice by likelihood: the published files of a task, the templates that make them a text, four ways to score
// a choice, and examples drawn for few-shot prompts.
#pragma once

#include <array>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "eval/scorer.h"

namespace moiety::eval {

struct ChoiceItem {
  std::map<std::string, std::string> fields;  // what templates may name
  std::vector<std::string> choices;
  std::vector<bool> correct;  // one or more
};

// copa, record, hellaswag, piqa, winogrande, storycloze (CSV), openbookqa, arc, boolq: JSON lines as published. labels:
// a file of answers, one a line, where the items have none (PIQA). Errors (kFormat) name file, line and field.
std::vector<ChoiceItem> read_choice_items(std::string_view task, const std::filesystem::path& path,
                                          const std::filesystem::path& labels = {});

// A template's parts are text with {field}, {choice}, and {field|filter}: "end" cuts a final full stop, "lower" makes
// the first letter small. A blank at the end of a context belongs to the target.
struct ChoiceTemplate {
  std::string context, target;                // the target is scored after the context
  std::string suffix_context, suffix_target;  // kSuffix: the target is the same for all choices; may be empty
  std::string unconditional = "Answer:";      // what stands in for the context in kUnconditional
  std::string separator = "\n\n";             // between the examples of a prompt
  std::map<std::string, std::map<std::string, std::string>> values;  // field -> its value -> what is written
};

// The template of a task in a file of templates (templates/choices.json). Throws Error kFormat, kInvalidArgument.
ChoiceTemplate read_choice_template(std::string_view json, const std::string& subject, std::string_view task);

// A part with its fields filled in. Throws Error kFormat naming a field that the item lacks.
std::string fill_template(const ChoiceTemplate& t, std::string_view part, const ChoiceItem& item, size_t choice);

enum class Scoring : uint8_t { kSum, kMean, kUnconditional, kSuffix };
inline constexpr std::array<Scoring, 4> kScorings{Scoring::kSum, Scoring::kMean, Scoring::kUnconditional, Scoring::kSuffix};
const char* scoring_name(Scoring scoring);  // "sum", "mean", "unconditional", "suffix"

// Natural log-probabilities of one choice's parts.
struct ChoiceScore {
  double sum = 0;            // of the target
  double tokens = 0;         // of the target
  double unconditional = 0;  // of the target after the template's own context
  double suffix = 0;         // of the shared suffix
  double value(Scoring scoring) const;
};

class ChoiceScorer {
 public:
  // `suffix`: score the shared suffix too (the template must have one); `unconditional` likewise.
  ChoiceScorer(Scorer& scorer, const Tokenizer& tokenizer, const ChoiceTemplate& t, bool unconditional, bool suffix);

  // `shots` stands before the context ("" for zero-shot).
  std::vector<ChoiceScore> score(const ChoiceItem& item, const std::string& shots, const CancelToken* cancel = nullptr);
  int64_t cut() const { return cut_; }  // sequences that lost their beginning, because the context is too short for them

 private:
  double log_probability(std::string context, std::string target, double* tokens, const CancelToken* cancel);
  Scorer& scorer_;
  const Tokenizer& tokenizer_;
  const ChoiceTemplate& template_;
  bool unconditional_, suffix_;
  int64_t cut_ = 0;
};

// Indices of `count` different examples of `pool`, without `except`: draw number `draw` of a seed.
std::vector<size_t> draw_examples(size_t pool, size_t count, uint64_t seed, uint64_t draw,
                                  std::optional<size_t> except = std::nullopt);

// Examples as they stand before an item: each with its (first) correct choice, and the separator behind it.
std::string shots_text(const ChoiceTemplate& t, const std::vector<ChoiceItem>& pool, const std::vector<size_t>& examples);

// The largest value's index, the first of equals.
size_t chosen(const std::vector<ChoiceScore>& scores, Scoring scoring);

}  // namespace moiety::eval
