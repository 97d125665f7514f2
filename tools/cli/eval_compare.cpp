// moiety eval compare: quality against cost.
#include <fmt/format.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "compare.h"
#include "eval.h"
#include "output.h"

namespace cli {
namespace {

int run(const CompareFlags& flags, const Environment& environment) {
  const TextFlags& t = flags.texts;
  const bool other =
      !t.in_domain.empty() || !t.out_of_domain.empty() || !flags.results.empty() || !flags.choices.empty();
  if (flags.models.empty() && (t.texts.size() != 1 || other)) {
    throw UsageError("name models with -m, or one file of points without any");
  }
  const TextQuality by = flags.by == "loss"   ? TextQuality::kLoss
                         : flags.by == "bits" ? TextQuality::kBits
                                              : TextQuality::kPerplexity;
  const CompareReport report(flags.models.empty() ? read_points(flags) : compare_models(flags, environment), by);
  if (by != TextQuality::kBits) {
    for (const std::string& set : report.other_tokens()) {
      std::fprintf(stderr,
                   "warning: the models cut the texts%s%s into different tokens, so what a token costs does not "
                   "compare; --by bits does\n",
                   set.empty() ? "" : " ", set.c_str());
    }
  }
  if (!flags.csv.empty()) write_text_file(flags.csv, report.csv());
  if (!flags.svg.empty()) write_text_file(flags.svg, report.svg());
  std::fputs(flags.json ? (report.json().dump(2, ' ', false, Json::error_handler_t::replace) + "\n").c_str()
                        : report.table().c_str(),
             stdout);
  return 0;
}

void add_models(CLI::App& command, CompareFlags& flags) {
  command
      .add_option(
          "-m,--model", flags.models,
          "A model to compare: PATH or NAME=PATH, each with its own -m; with a --result also a configuration (.json)")
      ->allow_extra_args(false);
  flags.run.add_running(command);
  flags.texts.add(command,
                  "With -m: files or folders of text, NAME=PATH names one. Without: a JSON list of points, {name, "
                  "config or model or cost (ZFLOP) "
                  "with family (dense, moe), train_tokens, quality or ppl (a file of eval ppl --json)}; its paths are "
                  "relative to the file");
  command.add_option("--choices", flags.choices, "A task of eval choices: TASK=FILE")->allow_extra_args(false);
  flags.how.add(command);
  command
      .add_option("--result", flags.results,
                  "NAME=FILE: what eval ppl or eval choices wrote with --json for that model, which is not run again")
      ->allow_extra_args(false);
}

}  // namespace

void add_eval_compare(CLI::App& eval, const Environment& environment, Action& action) {
  auto flags = std::make_shared<CompareFlags>();
  CLI::App* command =
      eval.add_subcommand("compare", "Quality against cost of several models, and the speed-up of experts over dense models");
  add_models(*command, *flags);
  command
      ->add_option("--train-tokens", flags->train_tokens,
                   "Tokens of the training: N for all, or one for each model, or NAME=N; without it 3e11, the paper's")
      ->delimiter(',')
      ->allow_extra_args(false);
  command
      ->add_option("--train-vocab", flags->costs.vocabulary,
                   "Rows of the head that count in training; 0: all, of fairseq's models 50000")
      ->check(number_from(0))
      ->capture_default_str();
  command
      ->add_option("--depth", flags->costs.context,
                   "Costs of a token after so many; 0: 2048, or the model's context where that is less")
      ->check(number_from(0))
      ->capture_default_str();
  command
      ->add_option("--by", flags->by,
                   "What a text's quality is: perplexity or loss (of a token), or bits (a byte), which models of other "
                   "vocabularies share")
      ->check(CLI::IsMember({"perplexity", "loss", "bits"}))
      ->capture_default_str();
  command->add_option("--resume", flags->resume, "Keep what is done in this file, and go on from it");
  command->add_option("--csv", flags->csv, "Write it as CSV, a line for each model and measure");
  command->add_option("--svg", flags->svg, "Write the plots");
  command->add_flag("--json", flags->json, "As JSON, one object for each model and measure");
  command->callback(
      [flags, &environment, &action] { action = [flags, &environment] { return run(*flags, environment); }; });
}

}  // namespace cli
