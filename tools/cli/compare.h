// The two ways of `moiety eval compare`: points from a file, and models that are run.
#pragma once

#include "choice_scores.h"
#include "compare_report.h"
#include "inspect.h"

namespace cli {

struct CompareFlags {
  ModelFlags run;  // all but its path
  std::vector<std::string> models, results, train_tokens, choices;
  TextFlags texts;  // without models: the file of points
  ChoiceFlags how;
  ConfigFlags costs;
  std::string by = "perplexity", resume, csv, svg;
  bool json = false;
};

// Throws UsageError, and Error naming file, point and field.
std::vector<ComparedModel> read_points(const CompareFlags& flags);

// Opens one model after the other and scores it, or takes its results where they are given. Throws UsageError, Error.
std::vector<ComparedModel> compare_models(const CompareFlags& flags, const Environment& environment);

// A file of `eval ppl --json` or `eval choices --json`: adds what it holds, the texts of a set together.
void read_results(const std::string& path, std::vector<Measured>& out);

// What an accuracy is called: "copa, sum", "copa, sum, 4 shots".
std::string accuracy_name(const std::string& task, const std::string& scoring, int shots);

// One number for each of `names`: "N" for all, or as many as names, and NAME=N for one. Throws UsageError.
std::vector<double> train_tokens_of(const std::vector<std::string>& list, const std::vector<std::string>& names,
                                    double otherwise);

}  // namespace cli
