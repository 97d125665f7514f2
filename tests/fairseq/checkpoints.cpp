// Whole models: each mode of expect.json, each batch as one gating group, each text of score.npz block by block.
#include <cmath>
#include <deque>
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
  gate.normalise_before = mode.value("norm", false);
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

// skip[row]: pads, which are all alike, where the best gate goes first: the order of equal ones is not specified.
void compare_gates(const Run& got, const Npz& want, const std::string& what, const std::string& base,
                   const std::vector<bool>& skip, Outcome& out) {
  for (size_t g = 0; g < got.gates.size(); ++g) {
    const GateTrace& t = got.gates[g];  // "layers.1.route"
    const std::string layer = base + ".layer" + t.node.substr(7, t.node.find('.', 7) - 7) + ".";
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
    std::vector<bool> skip;
    for (const int32_t id : tokens) skip.push_back(flags.value("bpr", false) && id == model.config().pad_id);
    if (layers.size() == got.gates.size()) compare_gates(got, want, what, base, skip, out);
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

void check_checkpoint(const fs::path& folder, Outcome& out) {
  const Json expect = Json::parse(read_file(folder / "expect.json"));
  const fs::path file = folder / fs::path(expect.at("checkpoint").get<std::string>()).filename();
  const Npz batches(folder / "expect.npz");
  const bool scored = fs::exists(folder / "score.npz");
  for (const auto& [mode, flags] : expect.at("modes").items()) {
    ModelOptions options;
    options.activations = ActivationPrecision::kF32;
    options.gate = gate_of(flags);
    const std::string what = folder.filename().string() + " ";
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
    } catch (const std::exception& error) {
      out.report(folder.filename().string(), error.what());
    }
  }
  return out;
}

}  // namespace moiety::test
