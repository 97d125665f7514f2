#include <algorithm>
#include <filesystem>

#include "compare.h"
#include "models/registry.h"
#include "output.h"
#include "progress.h"
#include "runtime/load.h"

namespace cli {
namespace {

namespace fs = std::filesystem;
namespace ev = moiety::eval;

struct Named {
  std::string name, value;
};

// "NAME=VALUE"; without a name, or where VALUE with its "=" is a path that exists, the name is empty.
Named named(const std::string& text) {
  const size_t equals = text.find('=');
  std::error_code code;
  if (equals == std::string::npos || equals == 0 || fs::exists(text, code)) return {"", text};
  return {text.substr(0, equals), text.substr(equals + 1)};
}

// A configuration in place of a model: it has costs, and can't be run.
bool is_config(const std::string& path) { return path.ends_with(".json") && !path.ends_with(".index.json"); }

struct Subject {
  std::string name, path;
  double train_tokens = 0;
  std::vector<Measured> results;  // none: it is run
};

std::string default_name(const std::string& path) {
  if (is_config(path)) return config_name(path);
  const fs::path p = fs::path(path).has_filename() ? fs::path(path) : fs::path(path).parent_path();
  std::error_code code;
  return fs::is_directory(p, code) ? p.filename().string() : p.stem().string();
}

std::vector<Subject> subjects_of(const CompareFlags& flags) {
  std::vector<Subject> subjects;
  std::vector<std::string> names;
  for (const std::string& text : flags.models) {
    const auto [name, path] = named(text);
    names.push_back(moiety::printable(name.empty() ? default_name(path) : name));
    if (std::ranges::count(names, names.back()) > 1) {
      throw UsageError("two models are called " + names.back() + ": name them with -m NAME=PATH");
    }
    subjects.push_back({names.back(), path, 0, {}});
  }
  const std::vector<double> tokens = train_tokens_of(flags.train_tokens, names, flags.costs.train_tokens);
  for (size_t i = 0; i < subjects.size(); ++i) subjects[i].train_tokens = tokens[i];
  for (const std::string& text : flags.results) {
    const size_t equals = text.find('=');
    const auto it = std::ranges::find(subjects, moiety::printable(text.substr(0, equals)), &Subject::name);
    if (equals == std::string::npos || it == subjects.end()) {
      throw UsageError("--result: expected NAME=FILE with the name of a model, got " + text);
    }
    read_results(text.substr(equals + 1), it->results);
  }
  for (const Subject& s : subjects) {
    if (s.results.empty() && is_config(s.path)) {
      throw UsageError(s.name + ": a configuration can't be run, name its results with --result " + s.name + "=FILE");
    }
  }
  return subjects;
}

// --bpe is for the fairseq models among others.
std::string vocabulary_of(const std::string& path, const CompareFlags& flags) {
  if (flags.run.bpe.empty()) return "";
  return moiety::find_model(path).kind == moiety::ModelKind::kFairseq ? flags.run.bpe : "";
}

// Name and costs, from the files' heads. What can't be opened or run is told here, before any model has run for hours.
ComparedModel counted(const Subject& subject, const CompareFlags& flags) {
  ComparedModel out;
  out.name = subject.name, out.train_tokens = subject.train_tokens, out.measured = subject.results;
  ConfigCost cost;
  if (is_config(subject.path)) {
    cost = config_cost(flags.costs, subject.path);
  } else {
    const moiety::ModelSource source = moiety::read_model(subject.path, vocabulary_of(subject.path, flags));
    if (subject.results.empty() && !source.tokenizer) {
      moiety::fail(moiety::Status::kUnsupported, "{}: the model has no tokenizer", moiety::printable(subject.path));
    }
    moiety::Banks banks;
    const int64_t context = cost_context(flags.costs, source.config);
    cost = graph_cost(flags.costs, source.config, moiety::build_graph(source.config, source.store, context, banks));
  }
  out.parameters = cost.cost.total.parameters, out.active = cost.cost.total.active, out.flops = cost.cost.total.flops;
  out.training = cost.training_of_token * subject.train_tokens / 1e21, out.dense = is_dense(cost.config);
  return out;
}

// The files that every model is scored on.
struct Work {
  TextScores texts;
  std::vector<ChoiceTask> tasks;

  explicit Work(const CompareFlags& flags) : texts(flags.texts) {
    for (const std::string& text : flags.choices) {
      const size_t equals = text.find('=');
      const std::string task = text.substr(0, equals);
      if (equals == std::string::npos) throw UsageError("--choices: expected TASK=FILE, got " + text);
      std::string name = task;
      if (const std::string problem = known_task()(name); !problem.empty()) throw UsageError("--choices: " + problem);
      tasks.emplace_back(flags.how, task, text.substr(equals + 1));
    }
  }
  bool empty() const { return texts.empty() && tasks.empty(); }
};

uint64_t run_id(const CompareFlags& flags, const std::vector<Subject>& subjects, const Work& work) {
  ev::RunId id;
  id.add("compare");
  for (const Subject& s : subjects) id.add(s.name);
  const TextFlags& t = flags.texts;
  id.add(t.blocks.block).add(t.blocks.stride).add(t.keep_empty);
  work.texts.identify(id);
  for (const ChoiceTask& task : work.tasks) task.identify(id);
  return id.value();
}

// The journal knows the models by what they compute; a name alone may have come to mean another one.
void check_model(const moiety::Model& model, const std::string& name, const std::string& key, ev::Journal& journal) {
  const uint64_t id = ev::RunId().add(model).value();
  const std::vector<double> halves{static_cast<double>(id >> 32), static_cast<double>(id & 0xFFFFFFFF)};
  const std::vector<double>* kept = journal.find(key);
  if (!kept) {
    journal.add(key, halves);
  } else if (*kept != halves) {
    moiety::fail(moiety::Status::kInvalidArgument, "{}: is of a run with another model {}; name another file",
                 journal.name(), name);
  }
}

void add_texts(const std::vector<ev::TextScore>& scores, std::vector<Measured>& out) {
  for (const ev::TextScore& s : scores) {
    auto it = std::ranges::find(out, s.set, &Measured::measure);
    if (it == out.end()) it = out.insert(out.end(), {Measured::kText, s.set, {}, 0});
    it->text.nats += s.nats, it->text.tokens += s.tokens, it->text.bytes += s.bytes;
  }
}

void add_accuracies(const ChoiceTask& task, int shots, const ChoiceScores& scores, std::vector<Measured>& out) {
  for (const ChoiceAccuracy& a : scores.accuracies) {
    out.push_back({Measured::kAccuracy, accuracy_name(task.name(), ev::scoring_name(a.scoring), shots), {}, a.mean()});
  }
}

// Loads, scores and closes one model. `place`: "2 of 3".
void run_model(const CompareFlags& flags, const Environment& environment, const Subject& subject, size_t index,
               const std::string& place, const Work& work, ev::Journal& journal, Interrupt& interrupt,
               ComparedModel& out) {
  ModelFlags run = flags.run;
  run.path = subject.path, run.bpe = vocabulary_of(subject.path, flags);
  const ModelPtr handle = load_model(run, environment, interrupt);
  const moiety::Model& model = runtime_model(handle);
  check_model(model, subject.name, fmt::format("{}.model", index), journal);
  ev::Scorer scorer(model);
  watch_gates(handle, scorer.scheduler());
  const auto scoring = [&](const std::string& what, const auto& work_on) {
    Progress progress(fmt::format("{} ({}), {}", subject.name, place, what));
    return work_on(
        [&](int64_t done, int64_t total) { progress.show(static_cast<double>(done) / static_cast<double>(total)); });
  };
  if (!work.texts.empty()) {
    const auto scores = scoring("texts", [&](const PiecesDone& done) {
      return work.texts.score(scorer, journal, fmt::format("{}.", index), done, cancel_token(interrupt));
    });
    add_texts(scores, out.measured);
  }
  for (size_t t = 0; t < work.tasks.size(); ++t) {
    const ChoiceScores scores = scoring(work.tasks[t].name(), [&](const PiecesDone& done) {
      return work.tasks[t].score(scorer, journal, fmt::format("{}.choices{}.", index, t), done,
                                 cancel_token(interrupt));
    });
    scores.tell_cut();
    add_accuracies(work.tasks[t], flags.how.shots, scores, out.measured);
  }
  print_gate_statistics(run, handle.get());
}

}  // namespace

std::vector<double> train_tokens_of(const std::vector<std::string>& list, const std::vector<std::string>& names,
                                    double otherwise) {
  std::vector<double> plain, out;
  std::vector<std::pair<size_t, double>> own;
  for (const std::string& text : list) {
    const size_t equals = text.find('=');
    double value = 0;
    const bool read = CLI::detail::lexical_cast(equals == std::string::npos ? text : text.substr(equals + 1), value);
    if (!read || !(value >= 1) || !(value <= 1e30)) {
      throw UsageError("--train-tokens: expected numbers from 1, or NAME=NUMBER, got " + text);
    }
    if (equals == std::string::npos) {
      plain.push_back(value);
      continue;
    }
    const auto it = std::ranges::find(names, moiety::printable(text.substr(0, equals)));
    if (it == names.end()) throw UsageError("--train-tokens: no model is called " + text.substr(0, equals));
    own.emplace_back(static_cast<size_t>(it - names.begin()), value);
  }
  if (plain.size() > 1 && plain.size() != names.size()) {
    throw UsageError("--train-tokens: expected one number, or one for each model");
  }
  out = plain.size() > 1 ? plain : std::vector<double>(names.size(), plain.empty() ? otherwise : plain[0]);
  for (const auto& [index, value] : own) out[index] = value;
  return out;
}

std::vector<ComparedModel> compare_models(const CompareFlags& flags, const Environment& environment) {
  const std::vector<Subject> subjects = subjects_of(flags);
  const auto runs = std::ranges::count_if(subjects, [](const Subject& s) { return s.results.empty(); });
  const Work work(flags);
  if (runs > 0 && work.empty()) {
    throw UsageError("nothing to score: name texts, --in, --out or --choices, or results with --result");
  }
  for (const Subject& s : subjects) {
    for (const std::string& output : {flags.csv, flags.svg}) {
      if (!output.empty()) refuse_model_file(output, s.path);
    }
  }
  Interrupt interrupt;
  ev::Journal journal;
  if (!flags.resume.empty()) journal = ev::Journal(flags.resume, run_id(flags, subjects, work));
  std::vector<ComparedModel> out;
  for (const Subject& subject : subjects) out.push_back(counted(subject, flags));
  int64_t place = 0;
  for (size_t i = 0; i < subjects.size(); ++i) {
    if (!subjects[i].results.empty()) continue;
    const std::string where = fmt::format("{} of {}", ++place, runs);
    try {
      run_model(flags, environment, subjects[i], i, where, work, journal, interrupt, out[i]);
    } catch (const moiety::Error& e) {
      if (e.status() != moiety::Status::kCancelled) throw;
      moiety::fail(
          e.status(), "interrupted at {}, model {}{}", subjects[i].name, where,
          flags.resume.empty() ? "; with --resume FILE it could go on" : "; the same command goes on from there");
    }
  }
  return out;
}

}  // namespace cli
