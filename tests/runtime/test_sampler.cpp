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
