// bench_skew: the experts of one layer when routing is skewed. Half of all tokens go to experts 0 and 1, the others
// anywhere, against even routing, on each pool and on a static split of the same tasks; random q4_0 weights of
// OLMoE-1B-7B's shape. Prints the steals of a step and how long workers were idle.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "backends/list.h"
#include "bench/static_split.h"
#include "core/blocks.h"
#include "graph/routing.h"

namespace {

using namespace moiety;
using Clock = std::chrono::steady_clock;

struct Options {
  int threads = 0, rows = 512, experts = 64, active = 2, width = 2048, hidden = 1024;
  double seconds = 1;
};

struct Layer {
  explicit Layer(const Options& o) : memory(dtype_bytes(DType::kQ4_0, int64_t{3} * o.experts * o.width * o.hidden)) {
    std::mt19937_64 random(1);
    const size_t block = dtype_info(DType::kQ4_0).bytes;
    for (size_t at = 0; at < memory.size(); at += block) {
      for (size_t i = 2; i < block; i += 8) {
        const uint64_t value = random();
        std::memcpy(memory.data() + at + i, &value, 8);
      }
      store_u16(memory.data() + at, 0x2000);
    }
    std::vector<Expert> list;
    std::byte* at = memory.data();
    const auto take = [&](int64_t rows, int64_t cols) {
      const Tensor t = make_tensor(at, DType::kQ4_0, {rows, cols});
      at += t.bytes();
      return t;
    };
    for (int e = 0; e < o.experts; ++e) {
      Expert expert;
      expert.gate = take(o.hidden, o.width), expert.up = take(o.hidden, o.width), expert.down = take(o.width, o.hidden);
      list.push_back(expert);
    }
    bank.emplace("experts", std::move(list));
  }
  static void store_u16(std::byte* at, uint16_t value) { std::memcpy(at, &value, 2); }
  Buffer memory;
  std::optional<ExpertBank> bank;
};

// ids[row, active]: with `skewed` every second token chooses experts 0 and 1 first.
std::vector<int32_t> choices(const Options& o, bool skewed) {
  std::mt19937 random(2);
  std::vector<int32_t> all(static_cast<size_t>(o.experts)), out;
  std::iota(all.begin(), all.end(), 0);
  for (int row = 0; row < o.rows; ++row) {
    std::ranges::shuffle(all, random);
    if (skewed && row % 2 == 0) {
      std::iter_swap(all.begin(), std::ranges::find(all, 0));
      std::iter_swap(all.begin() + 1, std::ranges::find(all, 1));
    }
    out.insert(out.end(), all.begin(), all.begin() + o.active);
  }
  return out;
}

class Bench {
 public:
  explicit Bench(const Options& o) : o_(o), layer_(o), backends_(make_backends({"simd"}, {})) {
    graph_.add(node(Embedding{}, Kind::kRows, o.width));
    graph_.add(node(Route{.experts = o.experts, .top_k = o.active}, Kind::kRouting, o.active));
    Node experts = node(Experts{.bank = &*layer_.bank}, Kind::kRows, o.width);
    experts.inputs = {Value{0}, Value{1}};
    graph_.add(experts);
    PlanOptions options;
    options.max_rows = o.rows;
    kernel_ = std::move(backends_.front()->prepare(graph_, graph_.nodes().back(), options).kernel);
    x_.resize(static_cast<size_t>(o.rows) * static_cast<size_t>(o.width)), y_.resize(x_.size());
    std::mt19937 random(3);
    std::normal_distribution<float> normal;
    for (float& v : x_) v = normal(random);
  }

  // The median seconds of a step; checks that every pool gives the same bits.
  double step(Threads& threads, bool skewed) {
    const std::vector<int32_t> ids = choices(o_, skewed);
    const std::vector<float> weights(ids.size(), 1.0f / static_cast<float>(o_.active));
    const Buffer memory(Routing::bytes(o_.rows, o_.experts, o_.active)), scratch(kernel_->scratch_bytes(o_.rows, threads.size()));
    const Routing routing = Routing::at(memory.data(), o_.rows, o_.experts, o_.active);
    sort_by_expert(o_.rows, o_.active, ids.data(), weights.data(), routing);
    Operand inputs[2];
    inputs[0].tensor = make_tensor(x_.data(), DType::kF32, {o_.rows, o_.width});
    inputs[1].routing = routing;
    KernelCall call;
    call.inputs = inputs, call.scratch = scratch.data(), call.threads = &threads;
    call.output.tensor = make_tensor(y_.data(), DType::kF32, {o_.rows, o_.width});
    std::vector<double> times;
    threads.enter();
    kernel_->run(call);
    for (const auto begin = Clock::now(); std::chrono::duration<double>(Clock::now() - begin).count() < o_.seconds;) {
      const auto start = Clock::now();
      kernel_->run(call);
      times.push_back(std::chrono::duration<double>(Clock::now() - start).count());
    }
    threads.leave();
    steps_ = static_cast<double>(times.size() + 1);
    std::vector<float>& expected = skewed ? skewed_ : even_;
    if (expected.empty()) expected = y_;
    if (expected != y_) throw std::runtime_error(fmt::format("{}: other bits", threads.name()));
    std::ranges::nth_element(times, times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2));
    return times[times.size() / 2];
  }

  void row(Threads& threads) {
    const double even = step(threads, false);
    const std::vector<WorkerCounts> before = threads.counts();
    const auto start = Clock::now();
    const double skewed = step(threads, true);
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    const std::vector<WorkerCounts> after = threads.counts();
    std::string steals, idle;
    for (size_t w = 0; w < after.size(); ++w) {
      steals += fmt::format("{}{:.1f}", w ? ", " : "", static_cast<double>(after[w].steals - before[w].steals) / steps_);
      idle += fmt::format("{}{:.1f}", w ? ", " : "", 100 * (after[w].idle_seconds - before[w].idle_seconds) / seconds);
    }
    fmt::print("| {} | {:.2f} | {:.2f} | {:+.1f} % | {} | {} |\n", threads.name(), 1e3 * even, 1e3 * skewed, 100 * (skewed / even - 1), steals, idle);
  }

 private:
  static Node node(Op op, Kind kind, int64_t cols) {
    Node node;
    node.op = std::move(op), node.kind = kind, node.cols = cols;
    return node;
  }
  const Options& o_;
  Layer layer_;
  std::vector<std::unique_ptr<Backend>> backends_;
  Graph graph_;
  std::unique_ptr<Kernel> kernel_;
  std::vector<float> x_, y_, even_, skewed_;
  double steps_ = 1;
};

}  // namespace

int main(int argc, char** argv) {
  Options o;
  CLI::App app("Experts under skewed routing, by pool");
  app.add_option("-t,--threads", o.threads, "Threads; 0: all");
  app.add_option("-r,--rows", o.rows, "Tokens of a step")->check(CLI::Range(1, 8192))->capture_default_str();
  app.add_option("-k,--active", o.active, "Experts of a token")->check(CLI::Range(2, 16))->capture_default_str();
  app.add_option("--seconds", o.seconds, "Seconds of each measurement")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  try {
    Bench bench(o);
    fmt::print("{} tokens, {} of {} experts; skewed: half of the tokens choose experts 0 and 1\n\n", o.rows, o.active, o.experts);
    fmt::print("| pool | even, ms | skewed, ms | slower by | steals a step, by worker | idle, % of the time |\n| --- | ---: | ---: | ---: | --- | --- |\n");
    for (const char* kind : {"team", "tbb"}) bench.row(*make_threads(kind, o.threads));
    const auto pool = make_threads("team", o.threads);
    moiety::bench::StaticSplit split(*pool);
    bench.row(split);
  } catch (const std::exception& error) {
    fmt::print(stderr, "error: {}\n", error.what());
    return 1;
  }
}
