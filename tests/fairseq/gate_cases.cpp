// The gate alone: logits go through an embedding into a route, which runs in a plan of each backend.
#include <nlohmann/json.hpp>

#include "backends/reference/reference.h"
#include "checks.h"
#include "graph/builder.h"
#include "npz.h"
#include "runtime/gate_telemetry.h"
#include "tests/models/golden.h"
#include "tests/support/simd_backends.h"

namespace moiety::test {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

struct GateCase {
  std::string name;
  Json flags;
  Npz arrays;

  Route route() const {
    const double fraction = flags.at("moe_eval_capacity_token_fraction");
    const bool fixed = flags.at("eval_mode").get<bool>() && fraction > 0;
    const std::string policy = flags.at("second_expert_policy");
    Route op{.experts = flags.at("E"), .top_k = 2};
    op.renormalise =
        flags.at("normalize_gate_prob_before_dropping").get<bool>() ? Renormalise::kBeforeDrop : Renormalise::kAfterDrop;
    op.noise = policy == "sampling" ? Noise::kGumbel : Noise::kNone;
    op.keep = policy == "random" ? Keep::kByChance : Keep::kAll;
    op.drop = flags.at("batch_prioritized_routing").get<bool>() ? Drop::kBatchPrioritised : Drop::kByPosition;
    op.capacity = fixed ? Capacity::kFraction : Capacity::kTwiceMean;
    op.capacity_factor = fixed ? fraction : 0;
    op.pads_choose = !flags.at("has_padding_mask").get<bool>();
    return op;
  }
};

GateTrace trace(const GateCase& c, const Backend& backend, Threads& threads) {
  const NpyArray& logits = c.arrays["logits"];
  std::vector<float> table(logits.values.begin(), logits.values.end());
  const auto rows = static_cast<int32_t>(logits.shape.at(0));
  Graph graph;
  Builder builder(graph);
  builder.route(builder.embedding(make_tensor(table.data(), DType::kF32, {rows, logits.shape.at(1)})), c.route());
  Batch batch;
  GivenNoise noise;
  if (c.arrays.has("u")) noise.uniform = c.arrays.values<float>("u");
  if (c.arrays.has("gumbel")) noise.gumbel = c.arrays.values<float>("gumbel");
  batch.noise = &noise;
  batch.spans.push_back({nullptr, 0, rows, 0});
  for (int32_t row = 0; row < rows; ++row) batch.ids.push_back(row), batch.positions.push_back(row);
  if (c.arrays.has("padding_mask")) {
    const auto pads = c.arrays.values<bool>("padding_mask");
    for (size_t row = 0; row < pads.size(); ++row)
      if (pads[row]) batch.positions[row] = kPadPosition;
  }
  GateTrace seen;
  GateTelemetry telemetry([&](const GateTrace& t) { seen = t; });
  const Observer observer = telemetry.observer(batch);
  const Plan plan(graph, {&backend}, {.max_rows = rows}, threads.size());
  Executor(threads).run(plan, batch, nullptr, &observer);
  return seen;
}

// Column j of [rows, 2].
template <class T>
std::vector<T> choice(const std::vector<T>& all, size_t j) {
  std::vector<T> column;
  for (size_t i = j; i < all.size(); i += 2) column.push_back(all[i]);
  return column;
}

void compare_metadata(const GateCase& c, const std::string& what, const GateTrace& t, Outcome& out) {
  const GateStatistics& s = t.statistics;
  const std::pair<const char*, double> figures[] = {{"entropy_gating", s.entropy},
                                                    {"overflow_expert1", s.overflow[0]},
                                                    {"overflow_expert2", s.overflow[1]},
                                                    {"unused_expert1_count", s.unused[0]},
                                                    {"unused_expert2_count", s.unused[1]},
                                                    {"expert1_balance_top", s.balance_top[0]},
                                                    {"expert1_balance_bottom", s.balance_bottom[0]},
                                                    {"expert2_balance_top", s.balance_top[1]},
                                                    {"expert2_balance_bottom", s.balance_bottom[1]}};
  for (const auto& [name, value] : figures) {
    const Json& want = c.flags.at("metadata").value(name, Json());
    if (want.is_number()) out.compare(what + name, std::vector{value}, std::vector{want.get<double>()}, 1e-5, 1e-5);
  }
  out.compare(what + "l_aux", std::vector{s.gate_loss}, c.arrays["l_aux"].values, 0, 2e-6);
  out.compare(what + "capacity", std::vector{t.capacity}, std::vector{c.flags.at("capacity").get<int64_t>()}, 0);
}

void compare_case(const GateCase& c, const std::string& where, const GateTrace& t, Outcome& out) {
  const std::string what = fmt::format("{} on {}: ", c.name, where);
  const double step = c.flags.at("weights_dtype") == "f16" ? 0x1p-10 : 2e-6;
  for (size_t j = 0; j < 2; ++j) {
    const std::string n(1, static_cast<char>('1' + j));
    out.compare(what + "expert" + n, choice(t.expert, j), c.arrays["expert" + n].values, 0);
    out.compare(what + "location" + n, choice(t.location, j), c.arrays["location" + n].values, 0);
    out.compare(what + "kept" + n, choice(t.kept, j), c.arrays["kept" + n].values, 0);
    out.compare(what + "weight" + n, choice(t.weight, j), c.arrays["weight" + n].values, step * 1e-3, step);
    std::vector<int> considered;
    for (const int32_t place : choice(t.location, j)) considered.push_back(place >= 0);
    out.compare(what + "considered" + n, considered, c.arrays["considered" + n].values, 0);
  }
  compare_metadata(c, what, t, out);
}

}  // namespace

Outcome check_gate_cases(const fs::path& data) {
  Outcome out;
  const fs::path folder = data / "gate";
  if (!fs::exists(folder / "cases.json")) return out;
  std::string text = read_file(folder / "cases.json");
  for (size_t at = 0; (at = text.find(": NaN", at)) != std::string::npos;) text.replace(at, 5, ": null");
  const auto threads = make_threads("tbb", 2);
  const ReferenceBackend reference;
  const auto levels = simd_backends();
  std::vector<const Backend*> backends{&reference};
  for (const auto& level : levels) backends.push_back(level.get());
  const Json book = Json::parse(text);
  for (const Json& flags : book.at("cases")) {
    const fs::path file = folder / flags.at("file").get<std::string>();
    const GateCase c{flags.at("name"), flags, Npz(file)};
    const bool exact = flags.at("must_match_exactly_on_choices");
    for (const Backend* backend : backends) {
      Outcome one;
      compare_case(c, backend->target(), trace(c, *backend, *threads), one);
      if (!exact && !one.wrong.empty()) out.notes.push_back("not exact, and need not be: " + one.wrong.front());
      ++(exact ? out.checked : out.information);
      if (exact) out.wrong.insert(out.wrong.end(), one.wrong.begin(), one.wrong.end());
    }
  }
  return out;
}

}  // namespace moiety::test
