#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "eval/expert_cache.h"
#include "eval/trace.h"
#include "eval/usage.h"
#include "tests/models/golden.h"
#include "tests/models/random_model.h"
#include "tests/runtime/model_files.h"
#include "tests/support/status.h"

using namespace moiety;
using namespace moiety::eval;

namespace {

// The k best of a router's logits, as the observer sees them on the reference backend.
std::vector<int32_t> reference_choices(const Config& config, const std::vector<int32_t>& ids) {
  ModelOptions options = test::exact();
  options.backends = {"reference"};
  const auto model = test::random_model(config, options);
  Session session(*model);
  Scheduler scheduler(*model);
  std::vector<std::vector<float>> logits;
  scheduler.set_observer([&](const Graph& graph, int32_t, const Operand& output) {
    // A router's logits are the only rows with as many columns as there are experts.
    if (!output.tensor || output.tensor.cols() != config.experts) return;
    (void)graph;
    const float* v = output.tensor.as<float>();
    logits.emplace_back(v, v + output.tensor.elements());
  });
  scheduler.submit(session, ids, Want::kAll);
  scheduler.run();
  std::vector<int32_t> out;
  for (size_t token = 0; token < ids.size(); ++token) {
    for (const std::vector<float>& layer : logits) {
      const float* row = layer.data() + token * static_cast<size_t>(config.experts);
      std::vector<int32_t> order(static_cast<size_t>(config.experts));
      for (size_t e = 0; e < order.size(); ++e) order[e] = static_cast<int32_t>(e);
      std::ranges::sort(order, [&](int32_t a, int32_t b) { return row[a] != row[b] ? row[a] > row[b] : a < b; });
      out.insert(out.end(), order.begin(), order.begin() + config.active);
    }
  }
  return out;
}

// Tokens and their choices: (0 1 | 2), (1 0 | 2), (3 dropped | 0), and of the other text (0 1 | 2).
Trace hand_made() {
  Trace trace;
  trace.layers = {{"layers.0", 4, 2, 100}, {"layers.1", 3, 1, 50}};
  trace.domains = {"a", "b"};
  trace.domain = {0, 0, 0, 1};
  trace.experts = {0, 1, 2, 1, 0, 2, 3, -1, 0, 0, 1, 2};
  return trace;
}

}  // namespace

TEST_CASE("a trace holds what the routers chose, whatever the chunks of the text") {
  const Config config = find_architecture("olmoe")->tiny()[0];
  const auto ids = test::random_tokens(config.vocab, 40, 9);
  const auto expected = reference_choices(config, ids);
  for (int64_t rows : {512, 7, 1}) {
    const auto model = test::random_model(config, test::exact(rows));
    Tracer tracer(*model);
    size_t seen = 0;
    double weights = 0;
    tracer.run(ids, "text", 100, [&](const TokenRoutes& token) {
      CHECK(token.position == static_cast<int>(seen));
      CHECK(token.id == ids[seen++]);
      for (float w : token.weights) weights += static_cast<double>(w);
    });
    CHECK(seen == ids.size());
    CHECK(weights > 0);
    CHECK(tracer.trace().tokens() == ids.size());
    CHECK(tracer.trace().layers[0].name == "layers.0");
    CHECK(tracer.trace().layers[0].expert_bytes == 4u * 3 * 32 * 64);
    CHECK(tracer.trace().experts == expected);
  }
}

TEST_CASE("blocks begin anew, domains are kept apart, a cancelled trace keeps whole steps") {
  const Config config = find_architecture("olmoe")->tiny()[0];
  const auto model = test::random_model(config, test::exact(4));
  const auto ids = test::random_tokens(config.vocab, 10, 9);
  Tracer whole(*model), parts(*model);
  whole.run(ids, "x", 5);
  parts.run(std::span(ids).first(5), "x", 5);
  parts.run(std::span(ids).last(5), "y", 5);
  CHECK(whole.trace().experts == parts.trace().experts);
  CHECK(parts.trace().domains == std::vector<std::string>{"x", "y"});
  CHECK(parts.trace().domain[4] == 0);
  CHECK(parts.trace().domain[5] == 1);

  CancelToken cancel;
  Tracer stopped(*model);
  CHECK(test::status_of([&] {
          stopped.run(ids, "x", 10, {}, [&](size_t) { cancel.cancel(); }, &cancel);
        }) == Status::kCancelled);
  CHECK(stopped.trace().tokens() == 4);
  Tracer same(*model);
  same.run(ids, "x", 10);
  CHECK(std::ranges::equal(stopped.trace().experts, std::span(same.trace().experts).first(stopped.trace().experts.size())));

  const auto dense = test::random_model(find_architecture("llama")->tiny()[0], test::exact());
  CHECK(test::status_of([&] { Tracer tracer(*dense); }) == Status::kUnsupported);
}

TEST_CASE("a trace that is stopped goes on where it was, with the same bits") {
  struct Seen {
    std::vector<int32_t> ids, experts;
    std::vector<int> positions;
    std::vector<float> weights;
    bool operator==(const Seen&) const = default;
  };
  const Config config = find_architecture("olmoe")->tiny()[0];
  const auto model = test::random_model(config, test::exact(4));
  const auto ids = test::random_tokens(config.vocab, 37, 9);
  const test::TemporaryFolder folder;
  const auto path = folder.path() / "journal";
  // Two texts in blocks of 8 tokens, two steps each; `ran` counts what was really run. Stopped after `steps` steps.
  const auto trace = [&](Tracer& tracer, Seen& seen, int steps) {
    CancelToken cancel;
    const auto sink = [&](const TokenRoutes& t) {
      seen.ids.push_back(t.id), seen.positions.push_back(t.position);
      seen.experts.insert(seen.experts.end(), t.experts.begin(), t.experts.end());
      seen.weights.insert(seen.weights.end(), t.weights.begin(), t.weights.end());
    };
    const auto done = [&](size_t) {
      if (--steps == 0) cancel.cancel();
    };
    return test::status_of([&] {
      tracer.run(std::span(ids).first(21), "x", 8, sink, done, &cancel);
      tracer.run(std::span(ids).last(16), "y", 8, sink, done, &cancel);
    });
  };
  Tracer whole(*model);
  Seen all;
  CHECK(trace(whole, all, 1000) == Status::kOk);
  REQUIRE(all.ids.size() == ids.size());

  {
    Journal journal(path, 1);
    Tracer tracer(*model);
    tracer.set_journal(journal);
    Seen seen;
    CHECK(trace(tracer, seen, 7) == Status::kCancelled);  // 2 + 2 steps, 2 of 5 tokens, 1 of the next block
    CHECK(journal.size() == 3);
    CHECK(seen.ids.size() == 25);
  }
  for (bool again : {false, true}) {  // the second time nothing is left to run
    Journal journal(path, 1);
    Tracer tracer(*model);
    tracer.set_journal(journal);
    int steps = 0;
    tracer.set_observer([&](const Graph&, int32_t node, const Operand&) { steps += node == 0; });
    Seen seen;
    CHECK(trace(tracer, seen, 1000) == Status::kOk);
    CHECK(seen == all);
    CHECK(tracer.trace().experts == whole.trace().experts);
    CHECK(tracer.trace().domain == whole.trace().domain);
    CHECK(tracer.trace().domains == whole.trace().domains);
    CHECK(steps == (again ? 0 : 4));
    CHECK(journal.size() == 5);
  }

  // A journal that says what no trace can say: too few numbers, too many, experts that there are not, a weight of 33 bits.
  const std::string good = test::read_file(path), head = good.substr(0, good.find("\n0 ") + 1);
  const std::string piece = good.substr(head.size(), good.find('\n', head.size()) - head.size());
  const std::string after_first = piece.substr(piece.find(' ', 2)), before_last = piece.substr(0, piece.rfind(' '));
  for (const std::string& broken : {std::string("0 1"), piece + " 1", before_last, "0 -2" + after_first, "0 99" + after_first,
                                    "0 0.5" + after_first, "0 nan" + after_first, before_last + " 4294967296"}) {
    test::write_text(path, head + broken + "\n");
    Journal journal(path, 1);
    Tracer tracer(*model);
    tracer.set_journal(journal);
    Seen seen;
    CHECK(trace(tracer, seen, 1000) == Status::kFormat);
    CHECK(seen.ids.empty());
  }
}

TEST_CASE("loads, pairs, reuse and divergence of a trace made by hand") {
  const Trace trace = hand_made();
  const auto usage = expert_usage(trace);
  REQUIRE(usage.size() == 2);
  CHECK(usage[0].count == std::vector<uint64_t>{3, 3, 0, 1});
  CHECK(usage[0].by_domain[0] == std::vector<uint64_t>{2, 2, 0, 1});
  CHECK(usage[0].by_domain[1] == std::vector<uint64_t>{1, 1, 0, 0});
  CHECK(usage[0].choices == 7);
  CHECK(usage[0].dropped == 1);
  CHECK(usage[0].unused == 1);
  const double p = 3.0 / 7, q = 1.0 / 7;
  CHECK(usage[0].entropy == doctest::Approx(-(2 * p * std::log(p) + q * std::log(q)) / std::log(4.0)));
  CHECK(usage[0].together[0 * 4 + 1] == 3);
  CHECK(usage[0].together[1 * 4 + 0] == 3);
  CHECK(usage[0].together[0 * 4 + 3] == 0);
  // 0 1 1 0 3 0 1: new, new, 0 others since, 1, new, 1, 2.
  CHECK(usage[0].reuse == std::vector<uint64_t>{1, 2, 1, 0});
  CHECK(usage[0].first_uses == 3);
  CHECK(usage[0].mean_reuse() == doctest::Approx(1));
  CHECK(usage[0].domain_divergence[0] == doctest::Approx(usage[0].domain_divergence[1]));
  CHECK(usage[1].count == std::vector<uint64_t>{1, 0, 3});
  CHECK(usage[1].domain_divergence[1] == doctest::Approx(jensen_shannon({0, 0, 1}, {1, 0, 2})));

  const ExpertAccesses accesses = expert_accesses(trace);
  CHECK(accesses.object == std::vector<uint32_t>{0, 1, 6, 1, 0, 6, 3, 4, 0, 1, 6});
  CHECK(accesses.bytes == std::vector<uint64_t>{100, 100, 100, 100, 50, 50, 50});
}

TEST_CASE("Jensen-Shannon divergence") {
  CHECK(jensen_shannon({1, 0}, {0, 5}) == doctest::Approx(1));
  CHECK(jensen_shannon({2, 4}, {1, 2}) == doctest::Approx(0));
  CHECK(jensen_shannon({}, {}) == 0);
  CHECK(jensen_shannon({0, 0}, {1, 1}) == 0);
  // (1/2, 1/2) against (1, 0): 0.5 * log2(2/3) + ... = 0.311278
  CHECK(jensen_shannon({1, 1}, {1, 0}) == doctest::Approx(0.3112781245));
}

TEST_CASE("caches: a textbook's references, and LRU by its reuse distances") {
  // Silberschatz's string, three frames: 12 faults for LRU, 9 for the optimum.
  ExpertAccesses book{{7, 0, 1, 2, 0, 3, 0, 4, 2, 3, 0, 3, 2, 1, 2, 0, 1, 7, 0, 1}, std::vector<uint64_t>(8, 10)};
  CHECK(cache_hits(book, 30, CachePolicy::kLru) == 8);
  CHECK(cache_hits(book, 39, CachePolicy::kLru) == 8);
  CHECK(cache_hits(book, 30, CachePolicy::kBelady) == 11);
  CHECK(cache_hits(book, 80, CachePolicy::kLfu) == 14);  // all fit: six are new
  CHECK(cache_hits(book, 9, CachePolicy::kLru) == 0);
  // 1 1 2 3 1: two frames; 2 (used once) leaves for 3, 1 stays.
  CHECK(cache_hits({{1, 1, 2, 3, 1}, std::vector<uint64_t>(4, 1)}, 2, CachePolicy::kLfu) == 2);
  CHECK(cache_hits({{1, 2, 3, 1}, std::vector<uint64_t>(4, 1)}, 2, CachePolicy::kLfu) == 0);
  // An expert larger than the cache passes by, and does not empty it.
  CHECK(cache_hits({{0, 1, 0}, {5, 11}}, 10, CachePolicy::kLru) == 1);

  const auto ids = test::random_tokens(6, 500, 2);
  Trace trace;
  trace.layers = {{"layers.0", 6, 1, 8}};
  trace.domains = {"a"};
  trace.domain.assign(ids.size(), 0);
  trace.experts = ids;
  const auto usage = expert_usage(trace);
  const ExpertAccesses accesses = expert_accesses(trace);
  uint64_t hits = 0, belady = 0;
  for (size_t n = 1; n <= 6; ++n) {
    hits += usage[0].reuse[n - 1];
    CHECK(cache_hits(accesses, 8 * n, CachePolicy::kLru) == hits);
    belady = cache_hits(accesses, 8 * n, CachePolicy::kBelady);
    CHECK(belady >= hits);
  }
  CHECK(belady == ids.size() - 6);
}

TEST_CASE("caches of experts of several sizes are what their definition says") {
  const auto object = test::random_tokens(12, 600, 3);
  ExpertAccesses accesses;
  accesses.object.assign(object.begin(), object.end());
  for (uint64_t i = 0; i < 12; ++i) accesses.bytes.push_back(3 + 7 * i % 11);
  for (uint64_t capacity : {5, 20, 37, 60, 1000}) {
    for (CachePolicy policy : {CachePolicy::kLru, CachePolicy::kLfu, CachePolicy::kBelady}) {
      std::vector<size_t> last(12), uses(12);
      std::vector<bool> resident(12);
      uint64_t used = 0, hits = 0;
      const auto next_use = [&](size_t after, uint32_t x) {
        return static_cast<size_t>(std::find(accesses.object.begin() + static_cast<std::ptrdiff_t>(after), accesses.object.end(), x) - accesses.object.begin());
      };
      for (size_t i = 0; i < accesses.object.size(); ++i) {
        const uint32_t o = accesses.object[i];
        if (accesses.bytes[o] > capacity) continue;
        hits += resident[o];
        while (!resident[o] && used + accesses.bytes[o] > capacity) {
          uint32_t leaves = 12;
          const auto before = [&](uint32_t a, uint32_t b) {  // of equals that never come back the lowest leaves
            if (policy == CachePolicy::kLru) return last[a] < last[b];
            if (policy == CachePolicy::kLfu) return uses[a] != uses[b] ? uses[a] < uses[b] : last[a] < last[b];
            return next_use(i, a) > next_use(i, b);
          };
          for (uint32_t x = 0; x < 12; ++x) {
            if (resident[x] && (leaves == 12 || before(x, leaves))) leaves = x;
          }
          resident[leaves] = false, used -= accesses.bytes[leaves];
        }
        used += resident[o] ? 0 : accesses.bytes[o];
        resident[o] = true, last[o] = i, ++uses[o];
      }
      CHECK(cache_hits(accesses, capacity, policy) == hits);
    }
  }
}
