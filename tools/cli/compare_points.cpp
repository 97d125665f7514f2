// Finished results: the files of points, and what `eval ppl` and `eval choices` wrote as JSON.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "compare.h"

namespace cli {
namespace {

namespace ev = moiety::eval;

[[noreturn]] void wrong(const std::string& file, const char* part, size_t index, const std::string& what) {
  moiety::fail(moiety::Status::kFormat, "{}: {} {}: {}", moiety::printable(file), part, index, what);
}

// Calls f(member, index) for the members of the list in a file; what JSON refuses names file and member.
template <class F>
void each_member(const std::string& path, const char* part, const F& f) {
  size_t index = 0;
  try {
    const Json list = Json::parse(ev::read_text(path));
    if (!list.is_array()) wrong(path, part, 0, "expected a list");
    for (const Json& one : list) f(one, index), ++index;
  } catch (const Json::exception& e) {
    wrong(path, part, index, e.what());
  }
  if (index == 0) moiety::fail(moiety::Status::kFormat, "{}: no {} in it", moiety::printable(path), part);
}

Measured& measured(std::vector<Measured>& list, Measured::Kind kind, const std::string& name) {
  const auto it = std::ranges::find_if(list, [&](const Measured& m) { return m.kind == kind && m.measure == name; });
  return it != list.end() ? *it : list.emplace_back(Measured{kind, name, {}, 0});
}

// A number of at least `low`; anything else that JSON may hold there is refused.
double number(const std::string& path, const Json& one, const char* field, size_t index, double low) {
  const double value = one.at(field).get<double>();
  if (!std::isfinite(value) || value < low || value > 9e15) {
    wrong(path, "result", index, fmt::format("{} is {}", field, value));
  }
  return value;
}

// Perplexity of all tokens of a result.
double perplexity_of(const std::string& path) {
  std::vector<Measured> results;
  read_results(path, results);
  ev::TextScore all;
  for (const Measured& m : results) all.nats += m.text.nats, all.tokens += m.text.tokens;
  if (all.tokens == 0) moiety::fail(moiety::Status::kFormat, "{}: no perplexity in it", moiety::printable(path));
  return all.perplexity();
}

// Cost and family of a point: {"config" or "model", "train_tokens"} or {"cost", "family"}.
void read_cost(const CompareFlags& flags, const Json& one, size_t index, double train_tokens, ComparedModel& out) {
  const std::string& file = flags.texts.texts[0];
  if (one.contains("config") || one.contains("model")) {
    const bool config = one.contains("config");
    const std::filesystem::path path =
        std::filesystem::path(file).parent_path() / one[config ? "config" : "model"].get<std::string>();
    ConfigFlags costs = flags.costs;
    costs.train_tokens = one.value("train_tokens", train_tokens);
    const ConfigCost cost = config_cost(costs, (config ? path : path / "config.json").string());
    out.train_tokens = costs.train_tokens, out.dense = is_dense(cost.config);
    out.training = cost.training_of_token * costs.train_tokens / 1e21;
    out.flops = cost.cost.total.flops, out.parameters = cost.cost.total.parameters, out.active = cost.cost.total.active;
  } else if (one.contains("cost")) {
    out.training = one["cost"].get<double>();
  } else {
    wrong(file, "point", index, "no cost: give cost, config or model");
  }
  if (one.contains("family")) {
    const std::string family = one["family"].get<std::string>();
    if (family != "dense" && family != "moe") wrong(file, "point", index, "family is dense or moe");
    out.dense = family == "dense";
  } else if (one.contains("cost")) {
    wrong(file, "point", index, "family is missing");
  }
}

}  // namespace

std::string accuracy_name(const std::string& task, const std::string& scoring, int shots) {
  return moiety::printable(task + ", " + scoring) + (shots > 0 ? fmt::format(", {} shots", shots) : "");
}

void read_results(const std::string& path, std::vector<Measured>& out) {
  each_member(path, "result", [&](const Json& one, size_t index) {
    if (one.contains("nats")) {
      Measured& m = measured(out, Measured::kText, moiety::printable(one.value("set", std::string())));
      m.text.nats += number(path, one, "nats", index, 0);
      m.text.tokens += static_cast<int64_t>(number(path, one, "tokens", index, 1));
      m.text.bytes += static_cast<uint64_t>(number(path, one, "bytes", index, 1));
    } else if (one.contains("accuracy")) {
      const std::string name =
          accuracy_name(one.at("task").get<std::string>(), one.at("scoring").get<std::string>(), one.value("shots", 0));
      measured(out, Measured::kAccuracy, name).quality = number(path, one, "accuracy", index, 0);
    } else {
      wrong(path, "result", index, "neither of eval ppl (nats) nor of eval choices (accuracy)");
    }
  });
}

std::vector<ComparedModel> read_points(const CompareFlags& flags) {
  const std::string& file = flags.texts.texts[0];
  const double train_tokens = train_tokens_of(flags.train_tokens, {""}, flags.costs.train_tokens)[0];
  std::vector<ComparedModel> points;
  each_member(file, "point", [&](const Json& one, size_t index) {
    ComparedModel point;
    point.name = moiety::printable(one.at("name").get<std::string>());
    read_cost(flags, one, index, train_tokens, point);
    Measured& m = point.measured.emplace_back();
    if (one.contains("ppl")) {
      m.quality = perplexity_of((std::filesystem::path(file).parent_path() / one["ppl"].get<std::string>()).string());
    } else if (one.contains("quality")) {
      m.quality = one["quality"].get<double>();
    } else {
      wrong(file, "point", index, "no quality: give quality or ppl");
    }
    points.push_back(std::move(point));
  });
  return points;
}

}  // namespace cli
