#include <cstdio>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "eval.h"
#include "progress.h"
#include "text_scores.h"

namespace cli {
namespace {

namespace ev = moiety::eval;
using Json = nlohmann::ordered_json;

struct PplFlags {
  ModelFlags model;
  TextFlags texts;
  std::string resume;
  bool json = false;
};

void print_row(const std::string& set, const std::string& name, const ev::TextScore& s) {
  std::printf("| %-3s | %-24s | %9lld | %8.4f | %9.4f | %10.4f |\n", set.c_str(), name.c_str(), static_cast<long long>(s.tokens),
              s.loss_base2(), s.bits_per_byte(), s.perplexity());
}

void print_table(const std::vector<ev::TextScore>& scores) {
  std::printf("| set | text | tokens | loss (base 2) | bits a byte | perplexity |\n| --- | --- | ---: | ---: | ---: | ---: |\n");
  for (const ev::TextScore& s : scores) print_row(s.set, moiety::printable(s.name), s);
  for (const char* set : {"in", "out", ""}) {  // all tokens of a set together
    ev::TextScore sum;
    int texts = 0;
    for (const ev::TextScore& s : scores) {
      if (s.set == set) sum.tokens += s.tokens, sum.nats += s.nats, sum.bytes += s.bytes, ++texts;
    }
    if (texts > 1) print_row(set, fmt::format("all {} together", texts), sum);
  }
}

Json json_of(const std::vector<ev::TextScore>& scores) {
  Json out = Json::array();
  for (const ev::TextScore& s : scores) {
    Json one{{"name", s.name}};
    if (!s.set.empty()) one["set"] = s.set;
    one.update(Json{{"tokens", s.tokens}, {"bytes", s.bytes}, {"nats", s.nats}, {"loss_base2", s.loss_base2()},
                    {"bits_per_byte", s.bits_per_byte()}, {"perplexity", s.perplexity()}});
    out.push_back(one);
  }
  return out;
}

int run(const PplFlags& flags, const Environment& environment) {
  if (flags.texts.empty()) throw UsageError("no text: name files or folders, or give --in or --out");
  const TextScores texts(flags.texts);
  Interrupt interrupt;
  const ModelPtr handle = load_model(flags.model, environment, interrupt);
  const moiety::Model& model = runtime_model(handle);
  runtime_tokenizer(model);  // the model has one
  const ev::BlockOptions blocks = ev::checked_blocks(flags.texts.blocks, model);
  ev::RunId id;
  id.add("ppl").add(model).add(blocks.block).add(blocks.stride).add(flags.texts.keep_empty);
  texts.identify(id);
  ev::Journal journal;
  if (!flags.resume.empty()) journal = ev::Journal(flags.resume, id.value());

  int64_t done = 0, total = 0;
  ev::Scorer scorer(model);
  watch_gates(handle, scorer.scheduler());
  Progress progress("scoring");
  std::vector<ev::TextScore> scores;
  try {
    const auto show = [&](int64_t now, int64_t all) {
      done = now, total = all;
      progress.show(static_cast<double>(done) / static_cast<double>(total));
    };
    scores = texts.score(scorer, journal, "", show, cancel_token(interrupt));
  } catch (const moiety::Error& e) {
    progress.clear();
    if (e.status() != moiety::Status::kCancelled) throw;
    moiety::fail(e.status(), "interrupted after {} of {} blocks{}", done, total,
                 flags.resume.empty() ? "; with --resume FILE it could go on" : "; the same command goes on from there");
  }
  progress.clear();
  if (flags.json) std::printf("%s\n", json_of(scores).dump(2, ' ', false, Json::error_handler_t::replace).c_str());
  else print_table(scores);
  print_gate_statistics(flags.model, handle.get());
  return 0;
}

}  // namespace

void add_eval_ppl(CLI::App& eval, const Environment& environment, Action& action) {
  auto flags = std::make_shared<PplFlags>();
  CLI::App* command = eval.add_subcommand("ppl", "Perplexity of texts, in blocks as fairseq's eval_lm cuts them");
  flags->model.add(*command, false);
  flags->texts.add(*command, "Files or folders of text; NAME=PATH names one");
  command->add_option("--resume", flags->resume, "Keep what is done in this file, and go on from it");
  command->add_flag("--json", flags->json, "A list, one object a text: name, tokens, nats, loss_base2, bits_per_byte (of the file's bytes), perplexity");
  command->callback([flags, &environment, &action] { action = on_named_or_shipped(flags, environment, run); });
}

}  // namespace cli
