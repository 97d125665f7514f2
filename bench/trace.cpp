// bench_trace: what tracing costs. The same tokens run with all logits, as moiety trace runs them, without and with the
// capture, alternating; beside it the time of what is told afterwards (usage, and caches of the default sizes).
#include "eval/trace.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <numeric>

#include "bench/probes.h"
#include "core/error.h"
#include "core/hash.h"
#include "eval/expert_cache.h"
#include "eval/usage.h"
#include "graph/cost.h"
#include "runtime/load.h"

namespace moiety::bench {
namespace {

using Clock = std::chrono::steady_clock;

struct Options {
  std::string model;
  int tokens = 512, rounds = 9, threads = 0;
};

struct Seconds {
  double wall = 0, processor = 0;  // of processors: other work on the machine disturbs it less
};

template <class Work>
Seconds seconds_of(const Work& work) {
  const auto start = Clock::now();
  const std::clock_t processor = std::clock();
  work();
  const double spent = static_cast<double>(std::clock() - processor) / CLOCKS_PER_SEC;
  return {std::chrono::duration<double>(Clock::now() - start).count(), spent};
}

double median(std::vector<double> values) {
  std::ranges::sort(values);
  const size_t n = values.size();
  return (values[(n - 1) / 2] + values[n / 2]) / 2;
}

std::vector<int32_t> tokens(int count, int vocabulary) {
  std::vector<int32_t> ids;
  for (int i = 0; i < count; ++i)
    ids.push_back(static_cast<int32_t>((static_cast<int64_t>(i) * 7919 + 13) % vocabulary));
  return ids;
}

uint64_t hash_of(std::span<const float> logits) {
  Hash hash;
  hash.add(std::as_bytes(logits));
  return hash.value();
}

// What the arithmetic of the model's largest weights reaches at most on this machine, now.
double peak_of(const Model& model) {
  const auto types = model.bytes_by_type();
  const auto largest = std::ranges::max_element(types, {}, [](const auto& entry) { return entry.second; });
  const auto type = dtype_from_name(largest->first);
  const Peaks peaks = probe_peaks(model.threads(), cpu_info().features);
  if (type && is_quantised(*type)) return peaks.int8;
  return largest->first == "bf16" && peaks.bf16 > 0 ? peaks.bf16 : peaks.f32;
}

// token: processor seconds of one
void tell_afterwards(const eval::Trace& trace, double token) {
  const double usage = seconds_of([&] { eval::expert_usage(trace); }).processor;
  const eval::ExpertAccesses accesses = eval::expert_accesses(trace);
  const auto all = static_cast<double>(std::accumulate(accesses.bytes.begin(), accesses.bytes.end(), uint64_t{0}));
  uint64_t hits = 0;
  const auto simulate = [&] {
    for (double share : {0.1, 0.25, 0.5, 0.75}) {
      for (auto policy : {eval::CachePolicy::kLru, eval::CachePolicy::kLfu, eval::CachePolicy::kBelady}) {
        hits += eval::cache_hits(accesses, static_cast<uint64_t>(share * all), policy);
      }
    }
  };
  const double caches = seconds_of(simulate).processor, total = token * static_cast<double>(trace.tokens());
  fmt::print(
      "afterwards, of {} tokens and {} accesses: usage {:.3f} s, caches {:.3f} s ({} hits), {:.2f} % of the run\n",
      trace.tokens(), accesses.object.size(), usage, caches, hits, 100 * (usage + caches) / total);
}

// Of one kind of run.
struct Times {
  std::vector<double> wall, processor;
  template <class Work>
  void add(const Work& work) {
    const Seconds seconds = seconds_of(work);
    wall.push_back(seconds.wall), processor.push_back(seconds.processor);
  }
};

std::string cost(const std::vector<double>& without, const std::vector<double>& with) {
  std::vector<double> shares;
  for (size_t i = 0; i < with.size(); ++i) shares.push_back(100 * (with[i] / without[i] - 1));
  return fmt::format("{:.2f} % ({:.2f}..{:.2f})", median(shares), std::ranges::min(shares), std::ranges::max(shares));
}

void run(const Options& o) {
  ModelOptions options;
  options.threads = o.threads;
  options.context = o.tokens;
  const auto model = load_model(o.model, options);
  std::fputs(model->effective_configuration().c_str(), stderr);
  const auto ids = tokens(o.tokens, model->config().vocab);
  Session session(*model);
  Scheduler scheduler(*model);
  const auto plain = [&] {
    session.rewind(0);
    scheduler.submit(session, ids, Want::kAll);
    scheduler.run();
    if (session.status() != Status::kOk) fail(session.status(), "{}", session.message());
  };
  eval::Tracer tracer(*model);
  const auto traced = [&] { tracer.run(ids, "tokens", ids.size()); };
  plain(), traced();  // the pages of weights and arenas are there
  const double peak = peak_of(*model), flops = model_cost(model->graph(), o.tokens / 2).total.flops;
  Times without, with;
  for (int round = 0; round < o.rounds; ++round) {
    if (round % 2 == 0)
      without.add(plain), with.add(traced);
    else
      with.add(traced), without.add(plain);
    fmt::print(stderr, "  {:.3f} s ({:.3f} s of processors), traced {:.3f} s ({:.3f})\n", without.wall.back(),
               without.processor.back(), with.wall.back(), with.processor.back());
  }
  const double rate = o.tokens / median(without.wall);
  fmt::print(
      "| model | tokens | without, t/s | traced, t/s | cost, of {} pairs (min..max) | of processor time | of the "
      "arithmetic's "
      "peak | logits |\n| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |\n"
      "| {} | {} | {:.1f} | {:.1f} | {} | {} | {:.1f} % | {:016x} |\n",
      o.rounds, model->name(), o.tokens, rate, o.tokens / median(with.wall), cost(without.wall, with.wall),
      cost(without.processor, with.processor), 100 * rate * flops / peak, hash_of(session.logits()));
  tell_afterwards(tracer.trace(), median(without.processor) / o.tokens);
}

}  // namespace
}  // namespace moiety::bench

int main(int argc, char** argv) {
  moiety::bench::Options options;
  CLI::App app{"What tracing costs: the same tokens without and with the capture, alternating."};
  app.add_option("-m,--model", options.model, "A model with experts")->required();
  app.add_option("-p,--n-prompt", options.tokens, "Tokens of a run")->check(CLI::PositiveNumber)->capture_default_str();
  app.add_option("-r,--repetitions", options.rounds, "Pairs of runs")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("-t,--threads", options.threads, "Threads; 0: min(affinity, CPU quota, physical cores)")
      ->check(CLI::NonNegativeNumber);
  CLI11_PARSE(app, argc, argv);
  try {
    moiety::bench::run(options);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "error: %s\n", e.what());
    return 1;
  }
  return 0;
}
