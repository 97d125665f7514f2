#include <fmt/format.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "choice_scores.h"
#include "eval.h"
#include "formats/output_file.h"
#include "progress.h"

namespace cli {
namespace {

namespace ev = moiety::eval;
using Json = nlohmann::ordered_json;

struct ChoicesFlags {
  ModelFlags model;
  ChoiceFlags how;
  std::string task, file, resume, items;
  bool json = false;
};

Json item_json(int draw, size_t index, const ChoiceTask& task, const std::vector<ev::ChoiceScore>& scores) {
  const ev::ChoiceItem& item = task.items()[index];
  Json choices = Json::array(), picked = Json::object();
  for (size_t c = 0; c < scores.size(); ++c) {
    Json one{{"text", item.choices[c]}, {"correct", static_cast<bool>(item.correct[c])}, {"tokens", scores[c].tokens}};
    for (ev::Scoring s : task.scorings()) one[ev::scoring_name(s)] = scores[c].value(s);
    choices.push_back(one);
  }
  for (ev::Scoring s : task.scorings()) picked[ev::scoring_name(s)] = ev::chosen(scores, s);
  return {{"draw", draw}, {"item", index}, {"chosen", picked}, {"choices", choices}};
}

ChoiceScores score_all(const ChoicesFlags& flags, const ChoiceTask& task, ev::Scorer& scorer, ev::Journal& journal,
                       const Interrupt& interrupt) {
  std::unique_ptr<moiety::OutputFile> out;
  if (!flags.items.empty()) out = std::make_unique<moiety::OutputFile>(flags.items);
  Progress progress("scoring");
  const auto show = [&](int64_t done, int64_t total) {
    progress.show(static_cast<double>(done) / static_cast<double>(total));
  };
  const auto scored = [&](int draw, size_t item, const std::vector<ev::ChoiceScore>& scores) {
    if (!out) return;
    const std::string line =
        item_json(draw, item, task, scores).dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
    out->write(line.data(), line.size());
  };
  ChoiceScores scores = task.score(scorer, journal, "", show, cancel_token(interrupt), scored);
  if (out) out->commit();
  return scores;
}

void report(const ChoicesFlags& flags, const ChoiceTask& task, const ChoiceScores& scores) {
  Json list = Json::array();
  std::string table =
      "| task | items | shots | draws | scoring | accuracy |\n| --- | ---: | ---: | ---: | --- | ---: |\n";
  for (const ChoiceAccuracy& a : scores.accuracies) {
    const char* name = ev::scoring_name(a.scoring);
    list.push_back({{"task", flags.task},
                    {"items", task.items().size()},
                    {"shots", flags.how.shots},
                    {"draws", flags.how.draws},
                    {"scoring", name},
                    {"accuracy", a.mean()},
                    {"deviation", a.deviation()},
                    {"accuracies", a.draws}});
    table += fmt::format("| {} | {} | {} | {} | {} | {:.2f} ± {:.2f} % |\n", flags.task, task.items().size(),
                         flags.how.shots, flags.how.draws, name, 100 * a.mean(), 100 * a.deviation());
  }
  std::fputs(flags.json ? (list.dump(2) + "\n").c_str() : table.c_str(), stdout);
}

int run(const ChoicesFlags& flags, const Environment& environment) {
  const ChoiceTask task(flags.how, flags.task, flags.file);
  Interrupt interrupt;
  const ModelPtr handle = load_model(flags.model, environment, interrupt);
  const moiety::Model& model = runtime_model(handle);
  ev::RunId id;
  id.add("choices").add(model);
  task.identify(id);
  ev::Journal journal;
  if (!flags.resume.empty()) journal = ev::Journal(flags.resume, id.value());
  ev::Scorer scorer(model);
  watch_gates(handle, scorer.scheduler());
  ChoiceScores scores;
  try {
    scores = score_all(flags, task, scorer, journal, interrupt);
  } catch (const moiety::Error& e) {
    if (e.status() != moiety::Status::kCancelled) throw;
    moiety::fail(
        e.status(), "interrupted{}",
        flags.resume.empty() ? "; with --resume FILE it could go on" : "; the same command goes on from there");
  }
  scores.tell_cut();
  report(flags, task, scores);
  print_gate_statistics(flags.model, handle.get());
  return 0;
}

}  // namespace

void add_eval_choices(CLI::App& eval, const Environment& environment, Action& action) {
  auto flags = std::make_shared<ChoicesFlags>();
  CLI::App* command =
      eval.add_subcommand("choices", "Multiple choice by likelihood, zero- and few-shot, on a task's published file");
  flags->model.add(*command, false);
  command->add_option("task", flags->task, "The task")->required()->check(known_task());
  command->add_option("file", flags->file, "Its items: JSON lines as published; StoryCloze is CSV")->required();
  flags->how.add(*command);
  command->add_option("--items", flags->items, "Write each choice's scores, a JSON object a line");
  command->add_option("--resume", flags->resume, "Keep what is done in this file, and go on from it");
  command->add_flag("--json", flags->json, "As JSON");
  command->callback([flags, &environment, &action] { action = on_named_or_shipped(flags, environment, run); });
}

}  // namespace cli
