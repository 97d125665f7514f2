#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <vector>

#include "core/error.h"
#include "core/random.h"
#include "runtime/sampler.h"

using namespace moiety;

namespace {

SamplerOptions open_options() {  // nothing filtered
  return {.temperature = 1, .top_k = 0, .top_p = 1, .min_p = 0, .repeat_penalty = 1, .repeat_last_n = 64, .seed = 1};
}

std::map<int32_t, int> histogram(const SamplerOptions& options, const std::vector<float>& logits, int draws) {
  Sampler sampler(options);
  std::map<int32_t, int> counts;
  for (int i = 0; i < draws; ++i) ++counts[sampler.sample(logits, {}, static_cast<uint64_t>(i))];
  return counts;
}

}  // namespace

TEST_CASE("greedy takes the largest, ties go to the lower id") {
  SamplerOptions options = open_options();
  options.temperature = 0;
  Sampler sampler(options);
  CHECK(sampler.sample(std::vector<float>{1, 3, 2, 3}, {}, 0) == 1);
}

TEST_CASE("the uniform numbers depend on seed and position, and fill [0, 1)") {
  CHECK(counter_uniform(1, 2) == counter_uniform(1, 2));
  CHECK(counter_uniform(1, 2) != counter_uniform(2, 1));
  double sum = 0;
  std::vector<int> bins(16);
  for (uint64_t i = 0; i < 16000; ++i) {
    const double u = counter_uniform(42, i);
    REQUIRE(u >= 0);
    REQUIRE(u < 1);
    sum += u;
    ++bins[static_cast<size_t>(u * 16)];
  }
  CHECK(std::abs(sum / 16000 - 0.5) < 0.01);
  for (int count : bins) CHECK(std::abs(count - 1000) < 150);
}

TEST_CASE("draws follow the softmax") {
  const std::vector<float> logits{0, std::log(2.0f), std::log(5.0f)};
  auto counts = histogram(open_options(), logits, 16000);
  CHECK(std::abs(counts[0] - 2000) < 200);
  CHECK(std::abs(counts[1] - 4000) < 250);
  CHECK(std::abs(counts[2] - 10000) < 300);
}

TEST_CASE("top-k, top-p and min-p keep exactly the right set") {
  const std::vector<float> logits{std::log(0.1f), std::log(0.4f), std::log(0.2f), std::log(0.3f)};
  SamplerOptions options = open_options();
  options.top_k = 2;
  auto counts = histogram(options, logits, 2000);
  CHECK(counts.size() == 2);
  CHECK(counts.contains(1));
  CHECK(counts.contains(3));
  options = open_options();
  options.top_p = 0.75f;  // 0.4 + 0.3 < 0.75, so 0.2 stays too
  counts = histogram(options, logits, 4000);
  CHECK(counts.size() == 3);
  CHECK(!counts.contains(0));
  options = open_options();
  options.min_p = 0.6f;  // 0.6 * 0.4 = 0.24
  counts = histogram(options, logits, 2000);
  CHECK(counts.size() == 2);
  options.min_p = 1;
  CHECK(histogram(options, logits, 100).size() == 1);
}

TEST_CASE("top-p over a large vocabulary equals a full sort") {
  std::vector<float> logits(5000);
  for (size_t i = 0; i < logits.size(); ++i) logits[i] = static_cast<float>(counter_uniform(3, i) * 3);
  SamplerOptions options = open_options();
  options.top_p = 0.5f;
  Sampler sampler(options);
  std::vector<float> sorted = logits;
  std::sort(sorted.rbegin(), sorted.rend());
  double total = 0, sum = 0;
  for (float l : sorted) total += std::exp(static_cast<double>(l));
  size_t kept = 0;
  while (sum < 0.5 * total) sum += std::exp(static_cast<double>(sorted[kept++]));
  for (uint64_t i = 0; i < 3000; ++i) {
    CHECK(logits[static_cast<size_t>(sampler.sample(logits, {}, i))] >= sorted[kept - 1]);
  }
}

// What sample() means, with everything sorted.
int32_t drawn(const SamplerOptions& o, std::vector<float> logits, const std::vector<int32_t>& history,
              uint64_t position) {
  std::vector<bool> seen(logits.size());
  const size_t back = std::min(history.size(), static_cast<size_t>(o.repeat_last_n));
  for (size_t i = history.size() - back; i < history.size(); ++i) {
    const auto id = static_cast<size_t>(history[i]);
    if (!seen[id]) logits[id] = logits[id] > 0 ? logits[id] / o.repeat_penalty : logits[id] * o.repeat_penalty;
    seen[id] = true;
  }
  std::vector<int32_t> ids(logits.size());
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int32_t>(i);
  const auto logit = [&](int32_t id) { return logits[static_cast<size_t>(id)]; };
  std::stable_sort(ids.begin(), ids.end(), [&](int32_t a, int32_t b) { return logit(a) > logit(b); });
  if (o.temperature == 0) return ids.front();
  if (o.top_k > 0 && static_cast<size_t>(o.top_k) < ids.size()) ids.resize(static_cast<size_t>(o.top_k));
  if (o.top_p < 1) {
    double total = 0, sum = 0;
    for (int32_t id : ids) total += std::exp(static_cast<double>(logit(id) - logit(ids.front())));
    size_t kept = 0;
    while (kept < ids.size() && sum < static_cast<double>(o.top_p) * total)
      sum += std::exp(static_cast<double>(logit(ids[kept++]) - logit(ids.front())));
    ids.resize(kept);
  }
  while (o.min_p > 0 && ids.size() > 1 && logit(ids.back()) < logit(ids.front()) + std::log(o.min_p)) ids.pop_back();
  double total = 0;
  const auto weight = [&](int32_t id) {
    return std::exp(static_cast<double>(logit(id) - logit(ids.front())) / static_cast<double>(o.temperature));
  };
  for (int32_t id : ids) total += weight(id);
  double at = counter_uniform(o.seed, position) * total;
  for (int32_t id : ids) {
    if ((at -= weight(id)) < 0) return id;
  }
  return ids.front();
}

TEST_CASE("what is passed over changes no draw") {
  std::vector<SamplerOptions> kinds(8);
  kinds[1].temperature = 0;
  kinds[2].repeat_penalty = 1.3f;
  kinds[3].top_k = 0, kinds[3].top_p = 1, kinds[3].min_p = 0.02f;
  kinds[4].top_k = 700, kinds[4].min_p = 0;
  kinds[5].top_k = 5000, kinds[5].temperature = 3;
  kinds[6].top_k = 2, kinds[6].top_p = 1;
  kinds[7].temperature = 0, kinds[7].repeat_penalty = 2;
  for (const size_t size : {2u, 17u, 300u, 2500u}) {
    for (uint64_t round = 0; round < 40; ++round) {
      std::vector<float> logits(size);
      std::vector<int32_t> history(100);
      // Steps of a quarter: many are equal. Some are impossible.
      for (size_t i = 0; i < size; ++i)
        logits[i] = std::floor(static_cast<float>(counter_uniform(size, round, i)) * 40) / 4 - 5;
      for (size_t i = 2; i < size; i += 7) logits[i] = -INFINITY;
      for (size_t i = 0; i < history.size(); ++i)
        history[i] = static_cast<int32_t>(counter_uniform(9, round, i) * static_cast<double>(size));
      for (SamplerOptions& options : kinds) {
        options.seed = round;
        CHECK(Sampler(options).sample(logits, history, round) == drawn(options, logits, history, round));
      }
    }
  }
}

TEST_CASE("the repetition penalty looks back as far as it is told") {
  SamplerOptions options = open_options();
  options.temperature = 0;
  options.repeat_penalty = 2;
  options.repeat_last_n = 1;
  const std::vector<float> logits{1.0f, 1.9f, -1};
  CHECK(Sampler(options).sample(logits, std::vector<int32_t>{1}, 0) == 0);
  CHECK(Sampler(options).sample(logits, std::vector<int32_t>{1, 2}, 0) == 1);
  options.repeat_last_n = -1;
  CHECK(Sampler(options).sample(logits, std::vector<int32_t>{1, 2}, 0) == 0);
}

TEST_CASE("bad options and bad logits are errors") {
  SamplerOptions options = open_options();
  options.temperature = NAN;
  CHECK_THROWS_AS(Sampler{options}, Error);
  options.temperature = -1;
  CHECK_THROWS_AS(Sampler{options}, Error);
  options = open_options();
  options.min_p = 1.5f;
  CHECK_THROWS_AS(Sampler{options}, Error);
  Sampler sampler(open_options());
  CHECK_THROWS_AS(sampler.sample(std::vector<float>{1, NAN}, {}, 0), Error);
  CHECK_THROWS_AS(sampler.sample(std::vector<float>{1, INFINITY}, {}, 0), Error);
  CHECK_THROWS_AS(sampler.sample(std::vector<float>{-INFINITY, -INFINITY}, {}, 0), Error);
  CHECK(sampler.sample(std::vector<float>{-INFINITY, 0}, {}, 0) == 1);
}
