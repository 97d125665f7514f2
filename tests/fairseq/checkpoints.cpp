// Whole models: each mode of expect.json, each batch as one gating group, each text of score.npz block by block.
#include <cmath>
#include <deque>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "checks.h"
#include "npz.h"
#include "runtime/gate_telemetry.h"
#include "runtime/load.h"
#include "runtime/scheduler.h"
#include "tests/models/golden.h"

namespace moiety::test {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr double kLogProbability = 1e-4;  // how far one may be off

GateOptions gate_of(const Json& mode) {
  GateOptions gate;
  const double fraction = mode.value("frac", 1.0);
  gate.capacity = fraction >= 1 ? Capacity::kNone : fraction > 0 ? Capacity::kFraction : Capacity::kTwiceMean;
  gate.fraction = fraction;
  gate.batch_prioritised = mode.value("bpr", false);
  if (mode.contains("norm")) gate.normalise_before = mode.at("norm").get<bool>();  // else as the checkpoint says
  gate.pad_mask = mode.value("padmask", false);
  gate.every_row = true;
  return gate;
}

// What a batch of rows of equal length gives, as one gating group.
struct Run {
  std::vector<double> logprobs;  // [B,T,V]
  std::vector<GateTrace> gates;
  std::vector<std::vector<float>> gate_logits;
};

Run run(const Model& model, const std::vector<int32_t>& tokens, size_t length) {
  Run out;
  Scheduler scheduler(model);
  GateTelemetry telemetry([&](const GateTrace& t) {
    out.gates.push_back(t);
    out.gate_logits.emplace_back(t.logits, t.logits + t.rows * t.experts);
  });
  scheduler.set_observer(telemetry.observer(scheduler.batch()));
  std::deque<Session> sessions;
  std::vector<Request> group;
  const auto vocab = static_cast<size_t>(model.config().vocab);
  out.logprobs.resize(tokens.size() * vocab);
  for (size_t at = 0; at < tokens.size(); at += length) {
    double* to = out.logprobs.data() + at * vocab;
    group.push_back({&sessions.emplace_back(model), std::span(tokens).subspan(at, length), Want::kAll,
                     [to](int, std::span<const float> logits) mutable {
                       const double most = *std::ranges::max_element(logits);
                       double sum = 0;
                       for (const float logit : logits) sum += std::exp(logit - most);
                       for (const float logit : logits) *to++ = logit - most - std::log(sum);
                     }});
  }
  scheduler.submit(group);
  scheduler.run();
  return out;
}

std::string layer_of(const GateTrace& trace) {  // "1" of "layers.1.route"
  return trace.node.substr(7, trace.node.find('.', 7) - 7);
}

// skip[row]: pads, which are all alike, where the best gate goes first: the order of equal ones is not specified.
void compare_gates(const Run& got, const Npz& want, const std::string& what, const std::string& base,
                   const std::vector<bool>& skip, Outcome& out) {
  for (size_t g = 0; g < got.gates.size(); ++g) {
    const GateTrace& t = got.gates[g];
    const std::string layer = base + ".layer" + layer_of(t) + ".";
    const std::string where = what + layer;
    for (size_t j = 0; j < 2; ++j) {
      const std::string n(1, static_cast<char>('1' + j));
      const auto rows = [&](const auto& all, size_t first, size_t step, bool every) {
        std::vector<double> values;
        for (size_t i = first; i < all.size(); i += step)
          if (every || !skip.at(i / step)) values.push_back(static_cast<double>(all[i]));
        return values;
      };
      const auto compare = [&](const std::string& name, const auto& ours, double tolerance, bool every = false) {
        out.compare(where + name, rows(ours, j, 2, every), rows(want[layer + name].values, 0, 1, every), tolerance);
      };
      compare("expert" + n, t.expert, 0, true);
      compare("location" + n, t.location, 0);
      compare("kept" + n, t.kept, 0);
      compare("weight" + n, t.weight, 1e-4);
    }
    out.compare(where + "gate_logits", got.gate_logits[g], want[layer + "gate_logits"].values, 1e-4);
    out.compare(where + "l_aux", std::vector{t.statistics.gate_loss}, want[layer + "l_aux"].values, 0, 1e-4);
    const double capacity = want[layer + "capacity"].values.at(0);
    if (t.capacity != INT64_MAX) out.compare(where + "capacity", std::vector{t.capacity}, std::vector{capacity}, 0);
  }
}

// What the gates did with tokens that are no pads, against what expect.json says of them: the case has such rows.
void count_rows(const Run& got, const std::vector<bool>& pad, const Json& said, const std::string& what, Outcome& out) {
  for (size_t g = 0; g < got.gates.size(); ++g) {
    const GateTrace& t = got.gates[g];
    std::map<std::string, int> rows{{"first_dropped", 0}, {"second_dropped", 0}, {"both_dropped", 0}, {"ties", 0}};
    for (size_t row = 0; row < pad.size(); ++row) {
      if (pad[row]) continue;
      const bool first = t.kept[2 * row], second = t.kept[2 * row + 1];
      const auto experts = static_cast<size_t>(t.experts);
      std::vector<float> logits(&got.gate_logits[g][row * experts], &got.gate_logits[g][row * experts] + experts);
      std::ranges::sort(logits, std::greater());
      rows["first_dropped"] += !first && second, rows["second_dropped"] += first && !second;
      rows["both_dropped"] += !first && !second;
      rows["ties"] += logits[0] == logits[1] || (experts > 2 && logits[1] == logits[2]);
    }
    const Json& layer = said.at("layers").at(layer_of(t));
    for (const auto& [name, count] : rows) {
      if (!layer.contains(name)) continue;
      out.compare(what + " " + t.node + " " + name, std::vector{count}, std::vector{layer.at(name).get<int>()}, 0);
      out.rows[name] += count;
    }
  }
}

// expect.npz: every MODE.BATCH.logprobs of this mode.
void check_batches(const Model& model, const std::string& mode, const Json& flags, const Npz& want,
                   const std::string& what, Outcome& out) {
  for (const auto& [name, array] : want.arrays()) {
    if (!name.starts_with("batch_")) continue;
    const std::string base = mode + "." + name.substr(6);
    if (!want.has(base + ".logprobs")) continue;
    const auto tokens = want.values<int32_t>(name);
    const Run got = run(model, tokens, static_cast<size_t>(array.shape.at(1)));
    const auto vocab = static_cast<size_t>(model.config().vocab);
    const std::vector<double>& all = want[base + ".logprobs"].values;
    std::vector<double> ours, theirs;  // without pads
    for (size_t i = 0; i < all.size() && all.size() == got.logprobs.size(); ++i) {
      if (tokens[i / vocab] == model.config().pad_id) continue;
      ours.push_back(got.logprobs[i]), theirs.push_back(all[i]);
    }
    if (theirs.empty()) out.report(what + base, "the shape of its log-probabilities");
    out.compare(what + base + ".logprobs", ours, theirs, kLogProbability);
    std::set<std::string> layers;
    for (const auto& [key, ignored] : want.arrays())
      if (key.starts_with(base + ".layer")) layers.insert(key.substr(0, key.find('.', base.size() + 1)));
    if (layers.size() != got.gates.size()) out.report(what + base, fmt::format("{} gates", got.gates.size()));
    std::vector<bool> pad, skip;
    for (const int32_t id : tokens) pad.push_back(id == model.config().pad_id);
    for (const bool one : pad) skip.push_back(flags.value("bpr", false) && one), out.rows["pads"] += one;
    if (layers.size() == got.gates.size()) {
      compare_gates(got, want, what, base, skip, out);
      count_rows(got, pad, flags.at("batches").at(name.substr(6)), what + base, out);
    }
    ++out.checked;
  }
}

// score.npz: every TEXT.(blocks64|hub).MODE.NAME of this mode.
void check_scores(const Model& model, const std::string& mode, const Npz& want, const std::string& what, Outcome& out) {
  for (const auto& [name, array] : want.arrays()) {
    if (!name.ends_with(".source") || name.find("." + mode + ".") == std::string::npos) continue;
    const std::string base = name.substr(0, name.size() - 7);
    const auto source = want.values<int32_t>(name), target = want.values<int32_t>(base + ".target");
    const Run got = run(model, source, source.size());
    std::vector<double> ours;
    for (size_t i = 0; i < target.size(); ++i)
      ours.push_back(got.logprobs.at(i * static_cast<size_t>(model.config().vocab) + static_cast<size_t>(target[i])));
    out.compare(what + base, ours, want[base + ".logprob"].values, kLogProbability);
    ++out.checked;
  }
}

// The files that fairseq wrote are there and no others, and those that it has to put together first are refused.
void check_files(const fs::path& folder, const Json& expect, const std::string& what, Outcome& out) {
  if (expect.contains("files")) {
    std::set<std::string> there;
    for (const auto& entry : fs::directory_iterator(folder))
      if (entry.path().extension() == ".pt") there.insert(entry.path().filename().string());
    if (Json(there) != expect.at("files")) out.report(what + "its .pt files", Json(there).dump());
  }
  const Json refused = expect.value("refused", Json::object());
  for (const auto& [file, words] : refused.items()) {
    std::string error;
    try {
      load_model(folder / file, {});
    } catch (const Error& refusal) {
      if (refusal.status() == Status::kUnsupported) error = refusal.what();
    }
    if (error.find(words.get<std::string>()) == std::string::npos) out.report(what + file, "not refused: " + error);
    ++out.rows["refused"];
  }
}

void check_checkpoint(const fs::path& folder, Outcome& out) {
  const Json expect = Json::parse(read_file(folder / "expect.json"));
  const fs::path file = folder / fs::path(expect.at("checkpoint").get<std::string>()).filename();
  const Npz batches(folder / "expect.npz");
  const bool scored = fs::exists(folder / "score.npz");
  const std::string what = folder.filename().string() + " ";
  check_files(folder, expect, what, out);
  for (const auto& [mode, flags] : expect.at("modes").items()) {
    ModelOptions options;
    options.activations = ActivationPrecision::kF32;
    options.gate = gate_of(flags);
    std::unique_ptr<Model> model;
    try {
      model = load_model(file, options);
    } catch (const Error& error) {
      if (error.status() != Status::kUnsupported) throw;
      return out.notes.push_back(what + "skipped, it is refused: " + error.what());
    }
    check_batches(*model, mode, flags, batches, what, out);
    if (scored) check_scores(*model, mode, Npz(folder / "score.npz"), what, out);
  }
}

}  // namespace

Outcome check_checkpoints(const fs::path& data) {
  Outcome out;
  if (!fs::exists(data / "ckpt")) return out;
  std::set<fs::path> folders;
  for (const auto& entry : fs::directory_iterator(data / "ckpt"))
    if (fs::exists(entry.path() / "expect.npz")) folders.insert(entry.path());
  for (const fs::path& folder : folders) {
    try {
      check_checkpoint(folder, out);
      ++out.rows["checkpoints"];
    } catch (const std::exception& error) {
      out.report(folder.filename().string(), error.what());
    }
  }
  return out;
}

}  // namespace moiety::test
