// bench_experts: does a decoded token cost the same when there are more experts and each token uses as many as before?
// Models of OLMoE-1B-7B's shape that differ in nothing but the number of experts decode in turn, a few tokens at a
// time, so that a noise of the machine meets them all. All lie in one pool of random weights. A model with few experts
// is there several times, with other experts of the pool each, and its tokens go round: so an expert is as cold for it
// as for the model that has them all, which is how a model of full depth finds them. The router (its matrix and its
// choice) is timed apart, as its bytes grow with the experts.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstring>
#include <deque>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "backends/list.h"
#include "bench/probes.h"
#include "bench/shapes.h"
#include "core/error.h"
#include "graph/cost.h"
#include "runtime/scheduler.h"

namespace moiety::bench {
namespace {

using Clock = std::chrono::steady_clock;

struct Options {
  std::vector<int64_t> experts{8, 32, 128, 512};
  std::string type = "q4_0";
  int64_t layers = 2, active = 8;
  int threads = 0, tokens = 16, rounds = 40;
  double most = 0;  // percent; 0: no limit
};

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

double quantile(std::vector<double> values, double share) {
  std::ranges::sort(values);
  return values[static_cast<size_t>(share * static_cast<double>(values.size() - 1) + 0.5)];
}

// The weights of the model with the most experts; the others take the first experts of each layer, and all the rest.
class Pool {
 public:
  Pool(const Shape& shape, const std::string& type) {
    const std::vector<Item> items = tensors(shape);
    size_t bytes = 0;
    for (const Item& item : items)
      bytes += align_up(dtype_bytes(type_of(item, type, shape), count_of(item)), kAlignment);
    memory_ = huge_pages(bytes);
    std::byte* at = memory_.data();
    RandomWeights random;
    for (const Item& item : items) {
      const DType dtype = type_of(item, type, shape);
      places_[item.gguf] = {at, dtype};
      std::byte* to = at;
      random.write(dtype, item.fill, count_of(item), [&](std::span<const std::byte> piece) {
        std::memcpy(to, piece.data(), piece.size());
        to += piece.size();
      });
      at += align_up(static_cast<size_t>(to - at), kAlignment);
    }
  }

  // With the experts of the pool from `first` on.
  ModelSource model(const Shape& shape, int64_t first) const {
    ModelSource source;
    source.name = fmt::format("{} experts", shape.experts), source.format = "memory";
    Config& c = source.config;
    const auto small = [](int64_t value) { return static_cast<int>(value); };
    c.architecture = "olmoe";
    c.layers = small(shape.layers), c.width = small(shape.width), c.heads = small(shape.heads),
    c.kv_heads = small(shape.kv_heads);
    c.head_dim = small(shape.head()), c.vocab = small(shape.vocabulary), c.context = small(shape.context);
    c.experts = small(shape.experts), c.active = small(shape.active), c.expert_width = small(shape.expert_width);
    c.eps = shape.eps, c.rope.theta = shape.theta;
    for (const Item& item : tensors(shape)) {
      const auto& [data, dtype] = places_.at(item.gguf);
      Tensor t;
      t.data = data, t.dtype = dtype, t.rank = static_cast<int>(item.shape.size());
      std::ranges::copy(item.shape, t.shape.begin());
      t.row_bytes = static_cast<int64_t>(dtype_bytes(dtype, t.cols()));
      if (item.gguf.find("_exps.") != std::string::npos || item.gguf.find("ffn_gate_inp.") != std::string::npos) {
        t.data += static_cast<size_t>(first) * t.bytes() / static_cast<size_t>(shape.experts);
      }
      std::string name = item.hf;
      if (const size_t mark = name.find("#."); mark != std::string::npos) name.erase(mark, 2);
      source.store.add(name, {t, MemoryClass::kCopy, "memory", item.gguf});
    }
    return source;
  }

 private:
  struct Place {
    std::byte* data;
    DType dtype;
  };
  Buffer memory_;
  std::map<std::string, Place> places_;
};

// One of the models that are one number of experts, with its session.
class Instance {
 public:
  Instance(ModelSource source, int64_t first, const Options& o)
      : first_(first),
        model_(std::move(source), make_backends({}, {}), options_of(o)),
        classes_(cost_classes(model_.graph())),
        scheduler_(model_),
        session_(model_) {
    scheduler_.set_observer(
        [this](const Graph& graph, int32_t node, const Operand& output) { observe(graph, node, output); });
  }

  struct Seconds {
    double router = 0, net = 0;
  };
  Seconds decode(int32_t id) {
    session_.rewind(0);
    router_ = spent_outside_ = 0;
    const auto start = last_ = Clock::now();
    scheduler_.submit(session_, {&id, 1});
    scheduler_.run();
    const double total = seconds_since(start) - spent_outside_;
    return {router_, total - router_};
  }
  const Model& model() const { return model_; }
  const std::map<int32_t, std::set<int64_t>>& used() const { return used_; }  // experts of the pool, by node

 private:
  static ModelOptions options_of(const Options& o) {
    ModelOptions options;
    options.threads = o.threads, options.context = 8, options.max_rows = 8;
    return options;
  }
  void observe(const Graph& graph, int32_t node, const Operand& output) {
    const auto now = Clock::now();
    const auto i = static_cast<size_t>(node);
    if (classes_[i] == CostClass::kRouter) router_ += std::chrono::duration<double>(now - last_).count();
    if (graph.nodes()[i].kind == Kind::kRouting) {
      for (int32_t e = 0; e < model_.config().experts; ++e) {
        if (output.routing.offsets[e + 1] > output.routing.offsets[e]) used_[node].insert(first_ + e);
      }
    }
    last_ = Clock::now();
    spent_outside_ += std::chrono::duration<double>(last_ - now).count();
  }

  int64_t first_;
  Model model_;
  std::vector<CostClass> classes_;
  Scheduler scheduler_;
  Session session_;
  Clock::time_point last_;
  double router_ = 0, spent_outside_ = 0;  // of this token; the second: in observe() itself
  std::map<int32_t, std::set<int64_t>> used_;
};

// A number of experts.
class Runner {
 public:
  // As many instances for every number of experts, so that changing them costs all the same.
  Runner(const Pool& pool, Shape shape, const Options& o) {
    const auto [least, most] = std::ranges::minmax(o.experts);
    for (int64_t i = 0; i < most / least; ++i) {
      const int64_t places = most / shape.experts;
      const int64_t first = i % places * shape.experts;
      instances_.emplace_back(pool.model(shape, first), first, o);
    }
  }
  Instance::Seconds decode(int32_t id) { return instances_[next_++ % instances_.size()].decode(id); }
  const Model& model() const { return instances_.front().model(); }
  // Distinct experts of the pool that the tokens used, of the layer with the fewest.
  size_t used() const {
    std::map<int32_t, std::set<int64_t>> all;
    for (const Instance& instance : instances_) {
      for (const auto& [node, experts] : instance.used()) all[node].insert(experts.begin(), experts.end());
    }
    size_t least = SIZE_MAX;
    for (const auto& [node, experts] : all) least = std::min(least, experts.size());
    return least;
  }

 private:
  std::deque<Instance> instances_;
  size_t next_ = 0;
};

struct Series {
  std::vector<double> router, net, growth;  // a round's medians, and net against that of the fewest experts
};

std::vector<Series> measure(std::deque<Runner>& runners, const Options& o) {
  std::vector<Series> series(runners.size());
  std::mt19937 random(7);
  std::uniform_int_distribution<int32_t> any(0, runners.front().model().config().vocab - 1);
  for (int round = -1; round < o.rounds; ++round) {  // the first warms up
    std::vector<int32_t> ids;
    for (int i = 0; i < o.tokens; ++i) ids.push_back(any(random));
    std::vector<double> nets(runners.size()), routers(runners.size());
    for (size_t i = 0; i < runners.size(); ++i) {
      const size_t turn = round % 2 == 0 ? i : runners.size() - 1 - i;
      std::vector<double> net, router;
      for (const int32_t id : ids) {
        const Instance::Seconds seconds = runners[turn].decode(id);
        net.push_back(seconds.net), router.push_back(seconds.router);
      }
      nets[turn] = quantile(net, 0.5), routers[turn] = quantile(router, 0.5);
    }
    for (size_t i = 0; round >= 0 && i < runners.size(); ++i) {
      series[i].router.push_back(routers[i]), series[i].net.push_back(nets[i]);
      series[i].growth.push_back(100 * (nets[i] / nets[0] - 1));
    }
    if (isatty(2)) fmt::print(stderr, "\rround {} of {}", round + 1, o.rounds);
  }
  if (isatty(2)) fmt::print(stderr, "\n");
  return series;
}

int run(const Options& o) {
  Shape shape = shape_of("olmoe-1b-7b");
  shape.layers = o.layers, shape.active = o.active, shape.experts = std::ranges::max(o.experts);
  const Pool pool(shape, o.type);
  std::deque<Runner> runners;
  for (const int64_t experts : o.experts) {
    shape.experts = experts;
    runners.emplace_back(pool, shape, o);
  }
  const std::vector<Series> series = measure(runners, o);
  fmt::print("{} layers of OLMoE-1B-7B's width, top-{}, {}, {} threads, {} rounds of {} tokens\n\n", o.layers, o.active,
             o.type, runners.front().model().threads().size(), o.rounds, o.tokens);
  fmt::print(
      "| experts | of the pool used | read a token, MB | of that the router | router, us | token without it, us | more "
      "than {} experts (quartiles) |\n"
      "| ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n",
      o.experts.front());
  bool good = true;
  for (size_t i = 0; i < runners.size(); ++i) {
    const Series& s = series[i];
    const ModelCost cost = model_cost(runners[i].model().graph(), 1);
    const double growth = quantile(s.growth, 0.5);
    good = good && (o.most == 0 || growth <= o.most);
    fmt::print("| {} | {} | {:.1f} | {:.2f} | {:.1f} | {:.0f} | {} |\n", o.experts[i], runners[i].used(),
               cost.total.bytes / 1e6, cost[CostClass::kRouter].bytes / 1e6, 1e6 * quantile(s.router, 0.5),
               1e6 * quantile(s.net, 0.5),
               i == 0 ? ""
                      : fmt::format("{:+.1f} % ({:+.1f}..{:+.1f})", growth, quantile(s.growth, 0.25),
                                    quantile(s.growth, 0.75)));
  }
  if (!good) fmt::print(stderr, "error: a token grew by more than {} %\n", o.most);
  return good ? 0 : 1;
}

}  // namespace
}  // namespace moiety::bench

int main(int argc, char** argv) {
  moiety::bench::Options o;
  CLI::App app("What more experts cost a decoded token that uses as many of them as before");
  app.add_option("--experts", o.experts, "Experts a layer, a list; compared with the first")
      ->delimiter(',')
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  app.add_option("--active", o.active, "Of them at work on a token")->check(CLI::Range(1, 64))->capture_default_str();
  app.add_option("--layers", o.layers, "Layers")->check(CLI::Range(1, 64))->capture_default_str();
  app.add_option("--type", o.type, "Of the weights")
      ->check(CLI::IsMember({"q4_0", "q8_0", "q4_k_m", "mxfp4", "f16"}))
      ->capture_default_str();
  app.add_option("-t,--threads", o.threads, "Threads; 0: all");
  app.add_option("-n,--tokens", o.tokens, "Tokens that a model decodes in its turn")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  app.add_option("-r,--rounds", o.rounds, "Turns of each model")->check(CLI::Range(1, 10000))->capture_default_str();
  app.add_option("--most", o.most, "Exit with 1 where a token grew by more percent, in the median of the rounds");
  CLI11_PARSE(app, argc, argv);
  try {
    for (const int64_t experts : o.experts) {
      if (experts < o.active)
        moiety::fail(moiety::Status::kInvalidArgument, "{} of {} experts can't be active", o.active, experts);
    }
    return moiety::bench::run(o);
  } catch (const std::exception& error) {
    fmt::print(stderr, "error: {}\n", error.what());
    return 1;
  }
}
