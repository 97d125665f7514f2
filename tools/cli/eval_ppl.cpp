#include <cstdio>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "eval.h"
#include "eval/perplexity.h"
#include "eval/text_set.h"
#include "progress.h"
#include "runtime.h"

namespace cli {
namespace {

namespace ev = moiety::eval;
using Json = nlohmann::ordered_json;

struct PplFlags {
  ModelFlags model;
  std::vector<std::string> texts, in_domain, out_of_domain;
  ev::BlockOptions blocks;
  std::string resume;
  bool json = false, keep_empty = false;
};

struct Text {
  ev::TextFile file;
  std::vector<int32_t> ids;
  uint64_t bytes = 0;
};

std::vector<Text> read_texts(const PplFlags& flags, const moiety::Tokenizer& tokenizer, ev::RunId& run) {
  std::vector<ev::TextFile> files;
  const auto add = [&](const std::vector<std::string>& specs, const char* set) {
    for (const std::string& spec : specs) std::ranges::move(ev::find_texts(spec, set), std::back_inserter(files));
  };
  add(flags.texts, ""), add(flags.in_domain, "in"), add(flags.out_of_domain, "out");
  if (files.empty()) throw UsageError("no text: name files or folders, or give --in or --out");
  std::vector<Text> texts;
  for (ev::TextFile& file : files) {
    const std::string text = ev::read_text(file.path);
    run.add(file.name).add(text);
    texts.push_back({std::move(file), ev::encode_text(tokenizer, text, flags.keep_empty), text.size()});
    if (texts.back().ids.empty()) moiety::fail(moiety::Status::kInvalidArgument, "{}: no text in it", moiety::printable(texts.back().file.path.string()));
  }
  return texts;
}

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
  Interrupt interrupt;
  const ModelPtr handle = load_model(flags.model, environment, interrupt);
  const moiety::Model& model = runtime_model(handle);
  const moiety::Tokenizer& tokenizer = runtime_tokenizer(model);
  const ev::BlockOptions blocks = ev::checked_blocks(flags.blocks, model);
  ev::RunId id;
  id.add("ppl").add(model).add(blocks.block).add(blocks.stride).add(flags.keep_empty);
  const std::vector<Text> texts = read_texts(flags, tokenizer, id);
  ev::Journal journal;
  if (!flags.resume.empty()) journal = ev::Journal(flags.resume, id.value());

  int64_t total = 0, done = 0;
  for (const Text& text : texts) total += ev::block_count(static_cast<int64_t>(text.ids.size()), blocks);
  ev::Scorer scorer(model);
  if (handle->gates) scorer.scheduler().set_observer(handle->gates->observer(scorer.scheduler().batch()));
  Progress progress("scoring");
  std::vector<ev::TextScore> scores;
  try {
    for (size_t i = 0; i < texts.size(); ++i) {
      ev::TextScore& score = scores.emplace_back();
      score.name = texts[i].file.name, score.set = texts[i].file.set, score.bytes = texts[i].bytes;
      ev::score_text(scorer, texts[i].ids, ev::start_token(tokenizer), blocks, journal, std::to_string(i), score,
                     [&] { progress.show(static_cast<double>(++done) / static_cast<double>(total)); }, cancel_token(interrupt));
      if (score.tokens == 0) moiety::fail(moiety::Status::kInvalidArgument, "{}: no token to predict", moiety::printable(score.name));
    }
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
  command->add_option("texts", flags->texts, "Files or folders of text; NAME=PATH names one");
  command->add_option("--in", flags->in_domain, "Texts of the training domain, named alike");
  command->add_option("--out", flags->out_of_domain, "Texts of other domains");
  command->add_option("--block", flags->blocks.block, "Tokens of a block; 0: 2048, or the model's context if that is less")
      ->check(number_from(0))->capture_default_str();
  command->add_option("--stride", flags->blocks.stride, "New tokens of a block, the others are context; 0: blocks do not overlap")
      ->check(number_from(0))->capture_default_str();
  command->add_flag("--keep-empty", flags->keep_empty, "Models that read line by line (fairseq): keep blank lines");
  command->add_option("--resume", flags->resume, "Keep what is done in this file, and go on from it");
  command->add_flag("--json", flags->json, "A list, one object a text: name, tokens, nats, loss_base2, bits_per_byte (of the file's bytes), perplexity");
  command->callback([flags, &environment, &action] {
    action = [flags, &environment] {
      if (flags->model.path.empty()) flags->model.path = shipped_model();
      return run(*flags, environment);
    };
  });
}

}  // namespace cli
