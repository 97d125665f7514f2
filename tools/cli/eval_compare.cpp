#include <cmath>
#include <cstdio>
#include <filesystem>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "eval.h"
#include "core/error.h"
#include "eval/compare.h"
#include "eval/text_set.h"
#include "formats/output_file.h"
#include "inspect.h"

namespace cli {
namespace {

namespace ev = moiety::eval;

struct CompareFlags {
  std::string points, csv, svg;
  ConfigFlags costs;
  bool json = false;
};

struct Entry {
  ev::Point point;
  double flops = 0;  // a token; 0: not known
};

[[noreturn]] void wrong(const std::string& file, size_t index, const std::string& what) {
  moiety::fail(moiety::Status::kFormat, "{}: point {}: {}", moiety::printable(file), index, what);
}

// Perplexity of all tokens of a result of eval ppl --json, or the given set of it.
double perplexity_of(const std::string& path) {
  const Json list = Json::parse(ev::read_text(path));
  double nats = 0, tokens = 0;
  for (const Json& one : list) nats += one.at("nats").get<double>(), tokens += one.at("tokens").get<double>();
  return std::exp(nats / tokens);
}

// {"name", "family": "dense" or "moe", "cost": ZFLOP or "model"/"config": path, "train_tokens", "quality": number or
// "ppl": path of a result}
Entry read_point(const CompareFlags& flags, const Json& one, size_t index) {
  const std::filesystem::path folder = std::filesystem::path(flags.points).parent_path();
  const auto beside = [&](const Json& name) { return (folder / name.get<std::string>()).string(); };
  Entry entry;
  entry.point.name = moiety::printable(one.at("name").get<std::string>());
  if (one.contains("config") || one.contains("model")) {
    ConfigFlags costs = flags.costs;
    costs.train_tokens = one.value("train_tokens", costs.train_tokens);
    const ConfigCost cost = one.contains("config") ? config_cost(costs, beside(one["config"])) : config_cost(costs, beside(one["model"]) + "/config.json");
    entry.point.cost = cost.training / 1e21, entry.flops = cost.cost.total.flops, entry.point.dense = cost.config.experts == 0;
  } else if (one.contains("cost")) {
    entry.point.cost = one["cost"].get<double>();
  } else {
    wrong(flags.points, index, "no cost: give cost, config or model");
  }
  if (one.contains("family")) {
    const std::string family = one["family"].get<std::string>();
    if (family != "dense" && family != "moe") wrong(flags.points, index, "family is dense or moe");
    entry.point.dense = family == "dense";
  } else if (one.contains("cost")) {
    wrong(flags.points, index, "family is missing");
  }
  if (one.contains("ppl")) entry.point.quality = perplexity_of(beside(one["ppl"]));
  else if (one.contains("quality")) entry.point.quality = one["quality"].get<double>();
  else wrong(flags.points, index, "no quality: give quality or ppl");
  return entry;
}

std::vector<Entry> read_points(const CompareFlags& flags) {
  std::vector<Entry> entries;
  try {
    for (const Json& one : Json::parse(ev::read_text(flags.points))) entries.push_back(read_point(flags, one, entries.size()));
  } catch (const Json::exception& e) {
    wrong(flags.points, entries.size(), e.what());
  }
  if (entries.empty()) moiety::fail(moiety::Status::kFormat, "{}: no point in it", moiety::printable(flags.points));
  return entries;
}

void write_file(const std::string& path, const std::string& text) {
  moiety::OutputFile file(path);
  file.write(text.data(), text.size());
  file.commit();
}

int run(const CompareFlags& flags) {
  const std::vector<Entry> entries = read_points(flags);
  std::vector<ev::Point> points;
  for (const Entry& e : entries) points.push_back(e.point);
  std::string csv = "model,family,mflop_per_token,train_zflop,quality,speed_up\n";
  std::string table = "| model | family | MFLOP a token | training, ZFLOP | quality | speed-up |\n| --- | --- | ---: | ---: | ---: | ---: |\n";
  Json list = Json::array();
  for (const Entry& e : entries) {
    const ev::Point& p = e.point;
    const auto factor = p.dense ? std::nullopt : ev::speed_up(points, p);
    const std::string flops = e.flops > 0 ? fmt::format("{:.1f}", e.flops / 1e6) : "", family = p.dense ? "dense" : "moe";
    const std::string told = factor ? fmt::format("{:.2f}", *factor) : p.dense ? "" : "beyond the dense models";
    csv += fmt::format("\"{}\",{},{},{:.6g},{:.6g},{}\n", p.name, family, flops, p.cost, p.quality, factor ? fmt::format("{:.6g}", *factor) : "");
    table += fmt::format("| {} | {} | {} | {:.4g} | {:.4f} | {} |\n", p.name, family, flops, p.cost, p.quality, told);
    list.push_back({{"name", p.name}, {"family", family}, {"flops_per_token", e.flops}, {"train_zflops", p.cost}, {"quality", p.quality},
                    {"speed_up", factor ? Json(*factor) : Json()}});
  }
  if (!flags.csv.empty()) write_file(flags.csv, csv);
  if (!flags.svg.empty()) write_file(flags.svg, ev::comparison_svg(points, "training, ZFLOP", "quality"));
  std::fputs(flags.json ? (list.dump(2) + "\n").c_str() : table.c_str(), stdout);
  return 0;
}

}  // namespace

void add_eval_compare(CLI::App& eval, Action& action) {
  auto flags = std::make_shared<CompareFlags>();
  CLI::App* command = eval.add_subcommand("compare", "Quality against cost of several models, and the speed-up over dense ones");
  command->add_option("points", flags->points, "A JSON list of {name, config or model or cost (ZFLOP) with family (dense, moe), train_tokens, "
                      "quality or ppl (a file of eval ppl --json)}; paths are relative to the file")->required();
  command->add_option("--train-tokens", flags->costs.train_tokens, "Of points that do not say")->check(CLI::PositiveNumber)->capture_default_str();
  command->add_option("--csv", flags->csv, "Write the table as CSV");
  command->add_option("--svg", flags->svg, "Write the plot");
  command->add_flag("--json", flags->json, "As JSON");
  command->callback([flags, &action] { action = [flags] { return run(*flags); }; });
}

}  // namespace cli
