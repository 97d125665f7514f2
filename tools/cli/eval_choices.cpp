#include <algorithm>
#include <cmath>
#include <cstdio>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "eval.h"
#include "eval/choices.h"
#include "eval/journal.h"
#include "eval/text_set.h"
#include "formats/output_file.h"
#include "progress.h"
#include "runtime.h"

namespace cli {
namespace {

namespace ev = moiety::eval;
using Json = nlohmann::ordered_json;

struct ChoicesFlags {
  ModelFlags model;
  std::string task, file, labels, shots_from, templates, resume, items;
  std::vector<std::string> scorings;
  int shots = 0, draws = 1;
  uint64_t seed = 0;
  bool json = false;
};

struct Run {
  std::vector<ev::ChoiceItem> items, pool;
  ev::ChoiceTemplate form;
  std::vector<ev::Scoring> scorings;
  std::vector<std::vector<double>> accuracy;  // [scorings][draws]
  int64_t cut = 0;
};

std::vector<ev::Scoring> scorings_of(const ChoicesFlags& flags, const ev::ChoiceTemplate& form) {
  std::vector<ev::Scoring> out;
  for (ev::Scoring s : ev::kScorings) {
    const bool asked = std::ranges::find(flags.scorings, ev::scoring_name(s)) != flags.scorings.end();
    if (asked || (flags.scorings.empty() && (s != ev::Scoring::kSuffix || !form.suffix_target.empty()))) out.push_back(s);
  }
  return out;
}

ev::RunId run_id(const ChoicesFlags& flags, const moiety::Model& model, const Run& run) {
  ev::RunId id;
  id.add("choices").add(model).add(flags.task).add(ev::read_text(flags.file)).add(flags.shots).add(flags.draws).add(std::to_string(flags.seed));
  if (!flags.labels.empty()) id.add(ev::read_text(flags.labels));
  if (!flags.shots_from.empty()) id.add(ev::read_text(flags.shots_from));
  id.add(run.form.context).add(run.form.target).add(run.form.suffix_context).add(run.form.suffix_target).add(run.form.unconditional).add(run.form.separator);
  for (ev::Scoring s : run.scorings) id.add(ev::scoring_name(s));
  return id;
}

std::vector<ev::ChoiceScore> unpacked(const std::vector<double>& values, size_t choices, const ev::Journal& journal) {
  if (values.size() != 4 * choices) moiety::fail(moiety::Status::kFormat, "{}: a piece is broken", journal.name());
  std::vector<ev::ChoiceScore> scores;
  for (size_t c = 0; c < choices; ++c) scores.push_back({values[4 * c], values[4 * c + 1], values[4 * c + 2], values[4 * c + 3]});
  return scores;
}

// The prompts' examples of a draw. From the file itself an item never sees its own answer.
std::string shots_of(const ChoicesFlags& flags, const Run& run, int draw, size_t item) {
  if (flags.shots == 0) return "";
  const bool own = flags.shots_from.empty();
  const auto examples = ev::draw_examples(own ? run.items.size() : run.pool.size(), static_cast<size_t>(flags.shots), flags.seed,
                                          static_cast<uint64_t>(draw), own ? std::optional<size_t>(item) : std::nullopt);
  return ev::shots_text(run.form, own ? run.items : run.pool, examples);
}

Json item_json(int draw, size_t index, const ev::ChoiceItem& item, const std::vector<ev::ChoiceScore>& scores, const Run& run) {
  Json choices = Json::array(), picked = Json::object();
  for (size_t c = 0; c < scores.size(); ++c) {
    Json one{{"text", item.choices[c]}, {"correct", static_cast<bool>(item.correct[c])}, {"tokens", scores[c].tokens}};
    for (ev::Scoring s : run.scorings) one[ev::scoring_name(s)] = scores[c].value(s);
    choices.push_back(one);
  }
  for (ev::Scoring s : run.scorings) picked[ev::scoring_name(s)] = ev::chosen(scores, s);
  return {{"draw", draw}, {"item", index}, {"chosen", picked}, {"choices", choices}};
}

void score_all(const ChoicesFlags& flags, Run& run, ev::ChoiceScorer& scorer, ev::Journal& journal, Interrupt& interrupt) {
  std::unique_ptr<moiety::OutputFile> out;
  if (!flags.items.empty()) out = std::make_unique<moiety::OutputFile>(flags.items);
  Progress progress("scoring");
  run.accuracy.assign(run.scorings.size(), std::vector<double>(static_cast<size_t>(flags.draws)));
  size_t done = 0;
  const size_t total = run.items.size() * static_cast<size_t>(flags.draws);
  for (int draw = 0; draw < flags.draws; ++draw) {
    for (size_t i = 0; i < run.items.size(); ++i) {
      const ev::ChoiceItem& item = run.items[i];
      const std::string key = fmt::format("{}.{}", draw, i);
      const std::vector<double>* kept = journal.find(key);
      if (!kept) {
        std::vector<double> values;
        for (const ev::ChoiceScore& s : scorer.score(item, shots_of(flags, run, draw, i), cancel_token(interrupt))) {
          values.insert(values.end(), {s.sum, s.tokens, s.unconditional, s.suffix});
        }
        kept = &journal.add(key, std::move(values));
      }
      const auto scores = unpacked(*kept, item.choices.size(), journal);
      for (size_t s = 0; s < run.scorings.size(); ++s) {
        run.accuracy[s][static_cast<size_t>(draw)] += item.correct[ev::chosen(scores, run.scorings[s])] ? 1.0 / static_cast<double>(run.items.size()) : 0;
      }
      if (out) {
        const std::string line = item_json(draw, i, item, scores, run).dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
        out->write(line.data(), line.size());
      }
      progress.show(static_cast<double>(++done) / static_cast<double>(total));
    }
  }
  run.cut = scorer.cut();
  if (out) out->commit();
}

void report(const ChoicesFlags& flags, const Run& run) {
  Json list = Json::array();
  if (!flags.json) std::printf("| task | items | shots | draws | scoring | accuracy |\n| --- | ---: | ---: | ---: | --- | ---: |\n");
  for (size_t s = 0; s < run.scorings.size(); ++s) {
    const std::vector<double>& draws = run.accuracy[s];
    double mean = 0, square = 0;
    for (double a : draws) mean += a / static_cast<double>(draws.size());
    for (double a : draws) square += (a - mean) * (a - mean);
    const double deviation = draws.size() > 1 ? std::sqrt(square / static_cast<double>(draws.size() - 1)) : 0;
    const char* name = ev::scoring_name(run.scorings[s]);
    if (flags.json) {
      list.push_back({{"task", flags.task}, {"items", run.items.size()}, {"shots", flags.shots}, {"draws", flags.draws}, {"scoring", name},
                      {"accuracy", mean}, {"deviation", deviation}, {"accuracies", draws}});
    } else {
      std::printf("| %s | %zu | %d | %d | %s | %.2f ± %.2f %% |\n", flags.task.c_str(), run.items.size(), flags.shots, flags.draws, name, 100 * mean, 100 * deviation);
    }
  }
  if (flags.json) std::printf("%s\n", list.dump(2).c_str());
}

int run(const ChoicesFlags& flags, const Environment& environment) {
  Run run;
  run.items = ev::read_choice_items(flags.task, flags.file, flags.labels);
  if (!flags.shots_from.empty()) run.pool = ev::read_choice_items(flags.task, flags.shots_from, {});
  const std::string path = flags.templates.empty() ? shipped_templates() : flags.templates;
  run.form = ev::read_choice_template(ev::read_text(path), moiety::printable(path), flags.task);
  run.scorings = scorings_of(flags, run.form);
  Interrupt interrupt;
  const ModelPtr handle = load_model(flags.model, environment, interrupt);
  const moiety::Model& model = runtime_model(handle);
  ev::Journal journal;
  if (!flags.resume.empty()) journal = ev::Journal(flags.resume, run_id(flags, model, run).value());
  ev::Scorer scorer(model);
  const auto has = [&](ev::Scoring s) { return std::ranges::find(run.scorings, s) != run.scorings.end(); };
  ev::ChoiceScorer choices(scorer, runtime_tokenizer(model), run.form, has(ev::Scoring::kUnconditional), has(ev::Scoring::kSuffix));
  try {
    score_all(flags, run, choices, journal, interrupt);
  } catch (const moiety::Error& e) {
    if (e.status() != moiety::Status::kCancelled) throw;
    moiety::fail(e.status(), "interrupted{}", flags.resume.empty() ? "; with --resume FILE it could go on" : "; the same command goes on from there");
  }
  if (run.cut > 0) std::fprintf(stderr, "%lld sequences were longer than the context and lost their beginning\n", static_cast<long long>(run.cut));
  report(flags, run);
  return 0;
}

}  // namespace

void add_eval_choices(CLI::App& eval, const Environment& environment, Action& action) {
  auto flags = std::make_shared<ChoicesFlags>();
  CLI::App* command = eval.add_subcommand("choices", "Multiple choice by likelihood, zero- and few-shot, on a task's published file");
  flags->model.add(*command, false);
  command->add_option("task", flags->task, "The task")->required()
      ->check(CLI::IsMember({"copa", "record", "hellaswag", "piqa", "winogrande", "storycloze", "openbookqa", "arc", "boolq"}));
  command->add_option("file", flags->file, "Its items: JSON lines as published; StoryCloze is CSV")->required();
  command->add_option("--labels", flags->labels, "The answers, a line each, of files without them (PIQA)");
  command->add_option("--score", flags->scorings, "sum, mean (of a token), unconditional, suffix; a list; without it all that the template has")
      ->delimiter(',')->check(CLI::IsMember({"sum", "mean", "unconditional", "suffix"}));
  command->add_option("-k,--shots", flags->shots, "Examples before each item")->check(CLI::NonNegativeNumber)->capture_default_str();
  command->add_option("--draws", flags->draws, "Draws of examples; their mean and deviation are told")->check(CLI::PositiveNumber)->capture_default_str();
  command->add_option("-s,--seed", flags->seed, "Of the draws")->capture_default_str();
  command->add_option("--shots-from", flags->shots_from, "A file to draw examples from; without it the other items of the file");
  command->add_option("--templates", flags->templates, "How items become text; without it moiety's own");
  command->add_option("--items", flags->items, "Write each choice's scores, a JSON object a line");
  command->add_option("--resume", flags->resume, "Keep what is done in this file, and go on from it");
  command->add_flag("--json", flags->json, "As JSON");
  command->callback([flags, &environment, &action] {
    action = [flags, &environment] {
      if (flags->model.path.empty()) flags->model.path = shipped_model();
      return run(*flags, environment);
    };
  });
}

}  // namespace cli
