// bench_context: what a long context costs. After each number of tokens: attention when a token is decoded (bytes of
// keys and values against the read bandwidth) and when a prompt goes on (its operations, counted exactly: each token
// sees those before it and itself, against the f32 peak), and the memory that a session takes.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <fstream>
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
  std::vector<int> depths{0, 4096, 16384};
  int threads = 0, prompt = 512, steps = 32, repetitions = 3;
};

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return (values[(values.size() - 1) / 2] + values[values.size() / 2]) / 2;
}

// Anonymous memory that is there, in MiB: the cache and working memory, not the mapped weights.
double resident() {
  std::ifstream file("/proc/self/status");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("RssAnon:")) return std::stod(line.substr(8)) / 1024;
  }
  return 0;
}

// Sums over the attention nodes of the tokens at positions `first` to `first + count - 1`.
struct Work {
  double kv_bytes = 0;  // that one pass over the last token's keys and values reads
  double flops = 0;
};
Work work_of(const Model& model, int64_t first, int64_t count) {
  Work work;
  const PlanOptions& options = model.plan_options();
  const auto pair_bytes =
      static_cast<double>(dtype_info(options.key_type).bytes + dtype_info(options.value_type).bytes);
  for (const Node& node : model.graph().nodes()) {
    const auto* attention = std::get_if<Attention>(&node.op);
    if (!attention) continue;
    const auto seen = [&](int64_t position) {
      return static_cast<double>(attention->window > 0 ? std::min<int64_t>(position + 1, attention->window)
                                                       : position + 1);
    };
    work.kv_bytes += seen(first + count - 1) * attention->kv_heads * attention->head_dim * pair_bytes;
    for (int64_t i = node.extent == Extent::kWanted ? count - 1 : 0; i < count; ++i) {
      work.flops += 4.0 * attention->heads * attention->head_dim * seen(first + i);
    }
  }
  return work;
}

struct Row {
  int depth = 0;
  double step = 0, step_attention = 0, kv_bytes = 0;   // decoding: seconds a token, of them attention's, bytes
  double prompt = 0, prompt_attention = 0, flops = 0;  // seconds of the prompt, operations
  double cache = 0, arena = 0, grown = 0;              // MiB
  bench::Peaks peaks;                                  // probed just before
};

class Runner {
 public:
  Runner(const Model& model, const Options& o) : model_(model), o_(o), scheduler_(model), session_(model) {
    scheduler_.set_observer([this](const Graph& graph, int32_t node, const Operand&) {
      const auto now = Clock::now();
      if (std::holds_alternative<Attention>(graph.nodes()[static_cast<size_t>(node)].op)) {
        attention_ += std::chrono::duration<double>(now - last_).count();
      }
      last_ = Clock::now();
    });
  }

  Row measure(int depth, double before) {
    Row row;
    row.depth = depth;
    for (int done = 0; done < depth; done += 512) {
      step(std::min(512, depth - done));
      if (isatty(2)) fmt::print(stderr, "\r{} of {} tokens", done, depth);
    }
    if (isatty(2)) fmt::print(stderr, "\r\033[K");
    std::vector<double> times, attention;
    for (int i = -1; i < o_.steps; ++i) {  // the first warms up
      const double seconds = step(1);
      if (i < 0) continue;
      times.push_back(seconds), attention.push_back(attention_);
      row.kv_bytes += work_of(model_, session_.position() - 1, 1).kv_bytes / o_.steps;
    }
    row.step = median(times), row.step_attention = median(attention);
    times.clear(), attention.clear();
    for (int i = 0; i < o_.repetitions; ++i) {
      session_.rewind(depth);
      times.push_back(step(o_.prompt)), attention.push_back(attention_);
    }
    row.prompt = median(times), row.prompt_attention = median(attention);
    row.flops = work_of(model_, depth, o_.prompt).flops;
    constexpr double kMiB = 1 << 20;
    row.cache = static_cast<double>(model_.memory().kv_session) / kMiB;
    row.arena = static_cast<double>(scheduler_.arena_bytes()) / kMiB;
    row.grown = resident() - before;
    return row;
  }

 private:
  // Seconds of `count` more tokens; attention_ is what they spent there.
  double step(int count) {
    std::vector<int32_t> ids;
    for (int i = 0; i < count; ++i) ids.push_back(4 + (seed_++ * 7919) % (model_.config().vocab - 4));
    seed_ %= 100000;
    attention_ = 0;
    const auto start = last_ = Clock::now();
    scheduler_.submit(session_, ids), scheduler_.run();
    const double seconds = seconds_since(start);
    if (session_.status() != Status::kOk) fail(session_.status(), "{}", session_.message());
    return seconds;
  }

  const Model& model_;
  const Options& o_;
  Scheduler scheduler_;
  Session session_;
  Clock::time_point last_;
  double attention_ = 0;
  int seed_ = 1;
};

void print(const Options& o, const std::vector<Row>& rows) {
  fmt::print(
      "| tokens before | decode, ms | of it attention | KV read, MB | GB/s | read bandwidth, GB/s | of it | pp{}, ms | "
      "of it attention | Gflop | Gflop/s | f32 peak | of it |\n"
      "| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n",
      o.prompt);
  for (const Row& r : rows) {
    const double read = r.kv_bytes / r.step_attention, rate = r.flops / r.prompt_attention;
    fmt::print(
        "| {} | {:.2f} | {:.3f} | {:.2f} | {:.1f} | {:.1f} | {:.0f} % | {:.0f} | {:.1f} | {:.2f} | {:.0f} | {:.0f} | "
        "{:.0f} % |\n",
        r.depth, 1e3 * r.step, 1e3 * r.step_attention, r.kv_bytes / 1e6, read / 1e9, r.peaks.read / 1e9,
        100 * read / r.peaks.read, 1e3 * r.prompt, 1e3 * r.prompt_attention, r.flops / 1e9, rate / 1e9,
        r.peaks.f32 / 1e9, 100 * rate / r.peaks.f32);
  }
  fmt::print(
      "\n| tokens of the session | its cache, MiB | KiB a token | working memory, MiB | resident, both, MiB |\n"
      "| ---: | ---: | ---: | ---: | ---: |\n");
  for (const Row& r : rows) {
    const int tokens = r.depth + std::max(o.prompt, o.steps + 1);
    fmt::print("| {} | {:.1f} | {:.1f} | {:.1f} | {:.1f} |\n", tokens, r.cache, 1024 * r.cache / tokens, r.arena,
               r.grown);
  }
}

int run(const Options& o) {
  std::vector<Row> rows;
  for (const int depth : o.depths) {
    ModelOptions options;
    options.threads = o.threads, options.thread_pool = o.pool;
    options.context = depth + std::max(o.prompt, o.steps + 1), options.max_rows = 512;
    const auto model = load_model(o.model, options);
    if (rows.empty()) {
      fmt::print("{}: {} layers, {} threads ({}), keys {}, values {}\n\n", o.model, model->config().layers,
                 model->threads().size(), model->threads().name(), dtype_info(model->plan_options().key_type).name,
                 dtype_info(model->plan_options().value_type).name);
    }
    const bench::Peaks peaks = bench::probe_peaks(model->threads(), cpu_info().features);
    const double before = resident();
    rows.push_back(Runner(*model, o).measure(depth, before));
    rows.back().peaks = peaks;
  }
  print(o, rows);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  Options o;
  CLI::App app("What a long context costs: attention's time against the machine's limits, and memory");
  app.footer("A random model with few layers and a long context will do: bench_make_model --layers 2 --context 32768");
  app.add_option("-m,--model", o.model, "A model")->required();
  app.add_option("-d,--depth", o.depths, "Tokens that are there before, a list")
      ->delimiter(',')
      ->check(CLI::Range(0, 1 << 20))
      ->capture_default_str();
  app.add_option("-p,--n-prompt", o.prompt, "Tokens of the prompt behind them")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  app.add_option("-n,--steps", o.steps, "Tokens to decode")->check(CLI::Range(1, 100000))->capture_default_str();
  app.add_option("-r,--repetitions", o.repetitions, "Runs of the prompt")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  app.add_option("-t,--threads", o.threads, "Threads; 0: all");
  app.add_option("--pool", o.pool, "team, tbb, openmp, serial")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  try {
    return run(o);
  } catch (const std::exception& error) {
    fmt::print(stderr, "error: {}\n", error.what());
    return 1;
  }
}
