// moiety trace: which experts a text uses.
#include <cstdio>

#include <fmt/format.h>

#include "eval/text_set.h"
#include "formats/output_file.h"
#include "output.h"
#include "progress.h"
#include "runtime.h"
#include "trace_report.h"

namespace cli {
namespace {

namespace ev = moiety::eval;

struct TraceFlags {
  ModelFlags model;
  std::vector<std::string> texts;
  std::string prompt, routes, csv, svg, resume;
  std::vector<double> resident;
  int block = 0;
  bool json = false, keep_empty = false;
};

struct Text {
  std::string name;
  std::vector<int32_t> ids;
};

std::vector<Text> read_texts(const TraceFlags& flags, const moiety::Tokenizer& tokenizer) {
  std::vector<Text> texts;
  const auto add = [&](const std::string& name, std::string_view text) {
    Text one{name, ev::encode_text(tokenizer, text, flags.keep_empty)};
    if (const auto start = ev::start_token(tokenizer)) one.ids.insert(one.ids.begin(), *start);
    texts.push_back(std::move(one));
  };
  if (!flags.prompt.empty()) add("prompt", flags.prompt);
  for (const std::string& spec : flags.texts) {
    for (const ev::TextFile& file : ev::find_texts(spec)) add(file.name, ev::read_text(file.path));
  }
  if (texts.empty()) throw UsageError("no text: name files or folders, or give -p TEXT");
  return texts;
}

// Each token's experts and weights, a JSON object a line, best choice first.
class RoutesFile {
 public:
  RoutesFile(const std::string& path, const moiety::Model& model, const ev::Trace& trace) : file_(path), trace_(trace) {
    Json layers = Json::array();
    for (const ev::TracedLayer& layer : trace.layers) layers.push_back({{"name", layer.name}, {"experts", layer.experts}});
    write(Json{{"model", model.name()}, {"layers", layers}});
  }
  void add(const ev::TokenRoutes& token) {
    Json experts = Json::array(), weights = Json::array();
    size_t slot = 0;
    for (const ev::TracedLayer& layer : trace_.layers) {
      Json ids = Json::array(), shares = Json::array();
      for (int k = 0; k < layer.top_k; ++k, ++slot) {
        if (token.experts[slot] < 0) continue;
        ids.push_back(token.experts[slot]), shares.push_back(token.weights[slot]);
      }
      experts.push_back(ids), weights.push_back(shares);
    }
    write(Json{{"text", trace_.domains[token.domain]}, {"position", token.position}, {"id", token.id}, {"experts", experts}, {"weights", weights}});
  }
  void commit() { file_.commit(); }

 private:
  void write(const Json& line) {
    const std::string text = line.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
    file_.write(text.data(), text.size());
  }
  moiety::OutputFile file_;
  const ev::Trace& trace_;
};

// Routes files hold weights, so the journal of a run that writes one holds them too.
uint64_t run_id(const TraceFlags& flags, const moiety::Model& model, const std::vector<Text>& texts, size_t block) {
  ev::RunId id;
  id.add("trace").add(model).add(static_cast<double>(block)).add(!flags.routes.empty());
  for (const Text& text : texts) {
    id.add(text.name).add(std::string_view(reinterpret_cast<const char*>(text.ids.data()), text.ids.size() * sizeof(int32_t)));
  }
  return id.value();
}

int run(const TraceFlags& flags, const Environment& environment) {
  for (const std::string& output : {flags.routes, flags.csv, flags.svg}) {
    if (!output.empty()) refuse_model_file(output, flags.model.path);
  }
  Interrupt interrupt;
  const ModelPtr handle = load_model(flags.model, environment, interrupt);
  const moiety::Model& model = runtime_model(handle);
  const std::vector<Text> texts = read_texts(flags, runtime_tokenizer(model));
  const size_t block = flags.block > 0 ? static_cast<size_t>(flags.block) : static_cast<size_t>(model.context());
  ev::Journal journal;
  if (!flags.resume.empty()) journal = ev::Journal(flags.resume, run_id(flags, model, texts, block));
  ev::Tracer tracer(model);
  if (!flags.resume.empty()) tracer.set_journal(journal);
  if (handle->gates) tracer.set_observer(handle->gates->observer(tracer.batch()));
  std::unique_ptr<RoutesFile> routes;
  if (!flags.routes.empty()) routes = std::make_unique<RoutesFile>(flags.routes, model, tracer.trace());
  size_t total = 0, done = 0;
  for (const Text& text : texts) total += text.ids.size();
  bool stopped = false;
  {
    Progress progress("tracing");
    try {
      for (const Text& text : texts) {
        tracer.run(text.ids, text.name, block, routes ? [&](const ev::TokenRoutes& t) { routes->add(t); } : ev::RoutesSink{},
                   [&](size_t rows) { progress.show(static_cast<double>(done += rows) / static_cast<double>(total)); },
                   cancel_token(interrupt));
      }
    } catch (const moiety::Error& e) {
      if (e.status() != moiety::Status::kCancelled || done == 0) throw;
      stopped = true;  // what was seen is told
    }
  }
  if (stopped) {
    std::fprintf(stderr, "interrupted: this is of the first %zu of %zu tokens%s\n", done, total,
                 flags.resume.empty() ? "; with --resume FILE it could go on" : "; the same command goes on from the last whole block");
  }
  const TraceReport report(tracer.trace(), flags.resident);
  if (routes) routes->commit();
  if (!flags.csv.empty()) write_text_file(flags.csv, report.csv());
  if (!flags.svg.empty()) write_text_file(flags.svg, report.svg(model.name()));
  if (flags.json) std::printf("%s\n", report.json(model.name()).dump(2, ' ', false, Json::error_handler_t::replace).c_str());
  else std::fputs(report.text().c_str(), stdout);
  print_gate_statistics(flags.model, handle.get());
  return stopped ? 1 : 0;
}

}  // namespace

void add_trace(CLI::App& app, const Environment& environment, Action& action) {
  auto flags = std::make_shared<TraceFlags>();
  CLI::App* command = app.add_subcommand("trace", "Show which experts a text uses: loads, pairs, reuse, and what a cache of experts would hit");
  flags->model.add(*command, false);
  command->add_option("texts", flags->texts, "Files or folders of text, each a domain of its own; NAME=PATH names one");
  command->add_option("-p,--prompt", flags->prompt, "A text");
  command->add_option("--block", flags->block, "Tokens that run together, from an empty context; 0: the context")->check(CLI::NonNegativeNumber)->capture_default_str();
  command->add_option("--resident", flags->resident, "GiB of experts that a cache keeps, a list; without it shares of all experts")->delimiter(',')->check(CLI::PositiveNumber);
  command->add_option("--routes", flags->routes, "Write each token's experts and weights, a JSON object a line");
  command->add_option("--csv", flags->csv, "Write the loads: layer, expert, text, choices, share");
  command->add_option("--svg", flags->svg, "Write the heat map as a picture");
  command->add_option("--resume", flags->resume, "Keep what is done in this file, block by block, and go on from it");
  command->add_flag("--json", flags->json, "Everything as JSON");
  command->add_flag("--keep-empty", flags->keep_empty, "Models that read line by line (fairseq): keep blank lines");
  command->callback([flags, &environment, &action] { action = on_named_or_shipped(flags, environment, run); });
}

}  // namespace cli
