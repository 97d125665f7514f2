// bench_nodes: where the time of a step goes: each kind of node, its share of the time, the bytes (weights; keys and
// values of attention) and the operations it gets through, and how far that is from what the machine can do, probed
// before and after. With -d N after N tokens.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <map>
#include <string>
#include <vector>

#include "bench/probes.h"
#include "graph/graph.h"
#include "runtime/load.h"
#include "runtime/scheduler.h"

namespace {

using namespace moiety;
using Clock = std::chrono::steady_clock;

struct Options {
  std::string model, pool = "team";
  int threads = 0, rows = 1, steps = 32, depth = 0;
};

struct Sum {
  double seconds = 0, bytes = 0, flops = 0;
  int64_t calls = 0;
};

// "q_proj", "experts": the last part of a node's name.
std::string kind_of(const Node& node) {
  const std::string part = node.name.substr(node.name.rfind('.') + 1);
  return fmt::format("{} ({})", part, op_name(node.op));
}

// Of the cache that attention reads for a step.
double kv_bytes(const Model& model, const Node& node, int64_t position) {
  const Attention* attention = std::get_if<Attention>(&node.op);
  if (!attention) return 0;
  const auto seen = static_cast<double>(attention->window > 0 ? std::min<int64_t>(position, attention->window) : position);
  const PlanOptions& options = model.plan_options();
  return seen * attention->kv_heads * attention->head_dim *
         static_cast<double>(dtype_info(options.key_type).bytes + dtype_info(options.value_type).bytes);
}

void print(const std::map<std::string, Sum>& sums, double total, int steps, double bandwidth, double peak) {
  std::vector<std::pair<std::string, Sum>> rows(sums.begin(), sums.end());
  std::ranges::sort(rows, std::greater(), [](const auto& row) { return row.second.seconds; });
  fmt::print("| nodes | of the time | ms a step | us a call | GB/s | of the read bandwidth | Gop/s | of the peak |\n");
  fmt::print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n");
  Sum all;
  const auto line = [&](const std::string& name, const Sum& s) {
    fmt::print("| {} | {:.1f} % | {:.3f} | {:.1f} | {:.1f} | {:.0f} % | {:.1f} | {:.0f} % |\n", name, 100 * s.seconds / total,
               1e3 * s.seconds / steps, 1e6 * s.seconds / static_cast<double>(s.calls), s.bytes / s.seconds / 1e9,
               100 * s.bytes / s.seconds / bandwidth, s.flops / s.seconds / 1e9, 100 * s.flops / s.seconds / peak);
  };
  for (const auto& [name, s] : rows) {
    line(name, s);
    all.seconds += s.seconds, all.bytes += s.bytes, all.flops += s.flops, all.calls += s.calls;
  }
  line("all", all);
}

int measure(const Options& o) {
  ModelOptions options;
  options.threads = o.threads, options.context = o.depth + o.rows * (o.steps + 2), options.thread_pool = o.pool;
  options.max_rows = std::max(o.rows, 512);
  const auto model = load_model(o.model, options);
  const auto before = bench::probe_peaks(model->threads(), cpu_info().features);
  Scheduler scheduler(*model);
  Session session(*model);
  const auto tokens = [&](int count, int seed) {
    std::vector<int32_t> ids;
    for (int i = 0; i < count; ++i) ids.push_back(4 + (i * 7919 + seed * 104729) % (model->config().vocab - 4));
    return ids;
  };
  const auto step = [&](int seed, int count) { scheduler.submit(session, tokens(count, seed)), scheduler.run(); };
  if (o.depth > 0) step(1, o.depth);
  step(2, o.rows), step(3, o.rows);  // warm
  std::map<std::string, Sum> sums;
  double total = 0;
  Clock::time_point last;
  const int64_t position = o.depth + o.rows / 2;  // on average
  scheduler.set_observer([&](const Graph& graph, int32_t index, const Operand&) {
    const auto now = Clock::now();
    const Node& node = graph.nodes()[static_cast<size_t>(index)];
    Sum& sum = sums[kind_of(node)];
    const double seconds = std::chrono::duration<double>(now - last).count();
    const Cost cost = node_cost(graph, node, node.extent == Extent::kWanted ? 1 : o.rows, position);
    sum.seconds += seconds, sum.bytes += cost.weight_bytes + kv_bytes(*model, node, position), sum.flops += cost.flops, ++sum.calls;
    total += seconds;
    last = Clock::now();
  });
  for (int i = 0; i < o.steps; ++i) {
    session.rewind(o.depth);
    last = Clock::now();
    step(4 + i, o.rows);
  }
  const auto after = bench::probe_peaks(model->threads(), cpu_info().features);
  const double bandwidth = (before.read + after.read) / 2, peak = (before.int8 + after.int8) / 2;
  fmt::print("{}: {} rows a step, {} steps, each after {} tokens, {} threads ({}); read {:.1f} GB/s ({:.1f} before, {:.1f} after), of the file {:.1f}, int8 {:.0f} Gop/s\n\n",
             o.model, o.rows, o.steps, o.depth, model->threads().size(), model->threads().name(), bandwidth / 1e9, before.read / 1e9,
             after.read / 1e9, bench::probe_file(model->threads(), o.model) / 1e9, peak / 1e9);
  print(sums, total, o.steps, bandwidth, peak);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  Options o;
  CLI::App app("Where the time of a step goes, node by node");
  app.add_option("-m,--model", o.model, "A model")->required();
  app.add_option("-t,--threads", o.threads, "Threads; 0: all");
  app.add_option("--pool", o.pool, "team, tbb, openmp, serial")->capture_default_str();
  app.add_option("-r,--rows", o.rows, "Rows of a step: 1 decodes")->check(CLI::Range(1, 4096))->capture_default_str();
  app.add_option("-n,--steps", o.steps, "Steps to measure")->check(CLI::Range(1, 100000))->capture_default_str();
  app.add_option("-d,--depth", o.depth, "Tokens that are there before")->check(CLI::Range(0, 1 << 20))->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  try {
    return measure(o);
  } catch (const std::exception& error) {
    fmt::print(stderr, "error: {}\n", error.what());
    return 1;
  }
}
