// bench_pools: what a pool of threads costs. A run with next to no work, right after the one before and after pauses on
// one thread; a run whose work lies in a few tasks, as routers leave it, against an even split of the same work.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <chrono>
#include <string>
#include <vector>

#include "bench/static_split.h"
#include "core/error.h"
#include "core/threads.h"

namespace {

using namespace moiety;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

void work(double seconds) {
  for (const auto start = Clock::now(); seconds_since(start) < seconds;) {
  }
}

double median(std::vector<double> values) {
  std::ranges::nth_element(values, values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2));
  return values[values.size() / 2];
}

// The median time of a run of 32 empty tasks, `pause` seconds after the one before.
double region(Threads& pool, double pause) {
  std::atomic<int64_t> sum{0};
  std::vector<double> times;
  pool.enter();
  for (const auto begin = Clock::now(); seconds_since(begin) < 0.3;) {
    work(pause);
    const auto start = Clock::now();
    const auto task = [&](int64_t i, int) { sum.fetch_add(i, std::memory_order_relaxed); };
    pool.run(32, task);
    times.push_back(seconds_since(start));
  }
  pool.leave();
  return median(times);
}

struct Skewed {
  double ratio = 0;                // its time over that of perfectly even work
  double steals = 0, steal = 0;    // a run; seconds of one
  double idle = 0;                 // the share of the workers' time
};

// 64 tasks of which the first two hold half of the work, in pieces of 16; 1 ms of work a worker.
Skewed skewed(Threads& pool) {
  const double total = 1e-3 * pool.size();
  std::vector<double> pieces;
  for (int expert = 0; expert < 64; ++expert) {
    for (int piece = 0; piece < 16; ++piece) pieces.push_back(expert < 2 ? total / 4 / 16 : total / 2 / 62 / 16);
  }
  std::vector<double> times;
  std::vector<WorkerCounts> before = pool.counts();
  pool.enter();
  for (const auto begin = Clock::now(); seconds_since(begin) < 0.5;) {
    const auto start = Clock::now();
    const auto task = [&](int64_t i, int) { work(pieces[static_cast<size_t>(i)]); };
    pool.run(static_cast<int64_t>(pieces.size()), task);
    times.push_back(seconds_since(start));
  }
  pool.leave();
  Skewed out;
  out.ratio = median(times) / 1e-3;
  const std::vector<WorkerCounts> after = pool.counts();
  double count = 0, seconds = 0;
  for (size_t w = 0; w < after.size(); ++w) {
    count += static_cast<double>(after[w].steals - before[w].steals);
    seconds += after[w].steal_seconds - before[w].steal_seconds;
    out.idle += (after[w].idle_seconds - before[w].idle_seconds) / 0.5 / pool.size();
  }
  out.steals = count / static_cast<double>(times.size());
  if (count > 0) out.steal = seconds / count;
  return out;
}

void measure(Threads& pool) {
  std::string row = fmt::format("| {} |", pool.name());
  for (const double pause : {0.0, 5e-6, 50e-6, 500e-6, 5e-3}) row += fmt::format(" {:.2f} |", 1e6 * region(pool, pause));
  const Skewed s = skewed(pool);
  const bool counts = !pool.counts().empty();
  fmt::print("{} {:.3f} | {} | {} | {} |\n", row, s.ratio, counts ? fmt::format("{:.1f}", s.steals) : "",
             s.steal > 0 ? fmt::format("{:.2f}", 1e6 * s.steal) : "", counts ? fmt::format("{:.1f} %", 100 * s.idle) : "");
}

}  // namespace

int main(int argc, char** argv) {
  int threads = 0;
  CLI::App app("What a pool of threads costs");
  app.add_option("-t,--threads", threads, "Threads; 0: all");
  CLI11_PARSE(app, argc, argv);
  fmt::print("us of a run of 32 empty tasks, after a pause on one thread; skewed work over even work\n\n");
  fmt::print("| pool | no pause | 5 us | 50 us | 500 us | 5 ms | skewed | steals a run | us a steal | idle |\n| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n");
  for (const char* kind : {"tbb", "team", "openmp"}) {
    try {
      const auto pool = make_threads(kind, threads);
      measure(*pool);
    } catch (const Error& error) {
      fmt::print("| {} | {} |\n", kind, error.what());
    }
  }
  const auto pool = make_threads("team", threads);
  bench::StaticSplit split(*pool);
  measure(split);
}
