// Whole models against transformers in float64 (tests/golden): see tools/make_golden.py and numerics in DEVELOPERS.md.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "core/cpu_info.h"
#include "runtime/load.h"
#include "runtime/scheduler.h"
#include "simd/levels.h"
#include "tests/models/golden.h"
#include "tests/support/compare.h"

using namespace moiety;
using namespace moiety::test;

namespace {

std::unique_ptr<Model> load(const GoldenCase& c, ActivationPrecision activations,
                            std::vector<std::string> backends = {}, const std::string& simd = {}) {
  ModelOptions options;
  options.threads = 2;
  options.context = c.context;
  options.activations = activations;
  options.simd = simd;
  options.backends = std::move(backends);
  return load_model(c.model, options);
}

// Logits of all prompts, one after the other, [P * T, V]; `chunk` tokens a submission; all prompts in the same steps if
// `together`, else each alone.
std::vector<float> run(const Model& model, const GoldenCase& c, size_t chunk, bool together) {
  const size_t count = c.prompts.size(), length = c.prompts.front().size();
  const size_t vocab = static_cast<size_t>(model.config().vocab);
  std::vector<float> logits = poisoned(count * length * vocab);
  Scheduler scheduler(model);
  std::vector<std::unique_ptr<Session>> sessions;
  for (size_t p = 0; p < count; ++p) sessions.push_back(std::make_unique<Session>(model));
  const auto submit = [&](size_t p, size_t at) {
    const auto part = std::span<const int32_t>(c.prompts[p]).subspan(at, std::min(chunk, length - at));
    scheduler.submit(*sessions[p], part, Want::kAll, [&, p](int position, std::span<const float> row) {
      REQUIRE(row.size() == vocab);
      std::copy(row.begin(), row.end(),
                logits.begin() + static_cast<int64_t>((p * length + static_cast<size_t>(position)) * vocab));
    });
  };
  if (together) {
    for (size_t at = 0; at < length; at += chunk) {
      for (size_t p = 0; p < count; ++p) submit(p, at);
      scheduler.run();
    }
  } else {
    for (size_t p = 0; p < count; ++p) {
      for (size_t at = 0; at < length; at += chunk) {
        submit(p, at);
        scheduler.run();
      }
    }
  }
  return logits;
}

std::vector<float> oracle(const GoldenCase& c, const Model& model) {
  return read_npy(c.logits, c.prompts.size() * c.prompts.front().size() * static_cast<size_t>(model.config().vocab));
}

double largest(const std::vector<float>& values) {
  double top = 0;
  for (float value : values) top = std::fmax(top, std::fabs(value));
  return top;
}

std::vector<int32_t> greedy_tokens(const Model& model, const GoldenCase& c) {
  Scheduler scheduler(model);
  Session session(model);
  scheduler.submit(session, c.prompts.front());
  std::vector<int32_t> tokens;
  while (tokens.size() < c.greedy.size()) {
    scheduler.run();
    const auto logits = session.logits();
    tokens.push_back(static_cast<int32_t>(std::ranges::max_element(logits) - logits.begin()));
    scheduler.submit(session, std::span(&tokens.back(), 1));
  }
  return tokens;
}

void check_exact(const GoldenCase& c, const Model& model) {
  const std::vector<float> exact = oracle(c, model);
  const std::vector<float> logits = run(model, c, 512, false);
  CHECK(compare(logits, exact, Gate{.absolute = c.tolerance * largest(exact)}) == "");
  CHECK(greedy_tokens(model, c) == c.greedy);
}

// A quantised file with int8 activations: no further from exact than llama.cpp is on the same file.
void check_kl(const GoldenCase& c, const Model& model) {
  if (!c.quantised()) return;
  const double kl = mean_kl(oracle(c, model), run(model, c, 512, false), static_cast<size_t>(model.config().vocab));
  CHECK(kl <= 1.25 * c.llama_kl);
}

void check_same_bits(const GoldenCase& c, const Model& model) {
  const std::vector<float> prefill = run(model, c, 512, false);
  CHECK(same_bits(run(model, c, 1, false), prefill) == "");  // decode
  CHECK(same_bits(run(model, c, 7, true), prefill) == "");   // chunks, all prompts in one batch
}

}  // namespace

TEST_CASE("golden models: the committed cases are there") {
  const std::vector<GoldenCase> cases = golden_cases();
  CHECK(cases.size() >= 40);
  for (const GoldenCase& c : cases) {
    CAPTURE(c.name);
    CHECK(std::filesystem::exists(c.model));
    CHECK(!c.prompts.empty());
    if (c.quantised()) CHECK(c.prompts.size() * c.prompts.front().size() >= 256);
  }
}

TEST_CASE("golden models: exact activations on the default backends") {
  for (const GoldenCase& c : golden_cases()) {
    CAPTURE(c.name);
    const auto model = load(c, ActivationPrecision::kF32);
    check_exact(c, *model);
    check_same_bits(c, *model);
  }
}

TEST_CASE("golden models: exact activations on the reference") {
  for (const GoldenCase& c : golden_cases()) {
    CAPTURE(c.name);
    check_exact(c, *load(c, ActivationPrecision::kF32, {"reference"}));
  }
}

TEST_CASE("golden models: fast activations are as close as llama.cpp's") {
  for (const GoldenCase& c : golden_cases()) {
    CAPTURE(c.name);
    const auto model = load(c, ActivationPrecision::kAuto);
    check_same_bits(c, *model);
    check_kl(c, *model);
  }
}

// Each level has its own order of additions and its own kernels.
TEST_CASE("golden models: every SIMD level of this CPU") {
  for (const simd::Level* level : simd::available_levels(cpu_info().features)) {
    CAPTURE(std::string(level->name));
    for (const GoldenCase& c : golden_cases()) {
      CAPTURE(c.name);
      check_exact(c, *load(c, ActivationPrecision::kF32, {}, level->name));
      const auto fast = load(c, ActivationPrecision::kAuto, {}, level->name);
      CHECK(same_bits(run(*fast, c, 7, true), run(*fast, c, 512, false)) == "");
      check_kl(c, *fast);
    }
  }
}

TEST_CASE("golden models: every node runs on a fast kernel") {
  for (const GoldenCase& c : golden_cases()) {
    CAPTURE(c.name);
    for (const auto activations : {ActivationPrecision::kAuto, ActivationPrecision::kF32}) {
      const auto model = load(c, activations);
      for (const ExplainRow& row : model->explain(8, 64)) {
        CAPTURE(row.node);
        CAPTURE(row.refusals);
        CHECK(row.backend != "reference");
      }
    }
  }
}

TEST_CASE("mean_kl: by hand, and NaN never passes") {
  const float half = std::log(0.5f), quarter = std::log(0.25f), rest = std::log(0.75f);
  CHECK(mean_kl({half, half, 3, 3}, {half, half, 1, 1}, 2) == doctest::Approx(0));
  CHECK(mean_kl({half, half}, {quarter, rest}, 2) ==
        doctest::Approx(0.5 * std::log(0.5 / 0.25) + 0.5 * std::log(0.5 / 0.75)));
  CHECK_FALSE(mean_kl({half, half}, {std::nanf(""), rest}, 2) <= 1e9);
}
