#include "runtime/sampler.h"

#include <algorithm>
#include <cmath>
#include <unordered_set>

#include "core/error.h"
#include "core/random.h"

namespace moiety {
namespace {

constexpr auto kBetter = [](const auto& a, const auto& b) {
  return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
};

}  // namespace

void check_sampler_options(const SamplerOptions& o) {
  const auto check = [](const char* name, float value, float low, float high) {
    if (!(value >= low && value <= high))
      fail(Status::kInvalidArgument, "{} is {}, expected {} to {}", name, value, low, high);
  };
  check("temperature", o.temperature, 0, 1e6f);
  check("top-p", o.top_p, 0, 1e6f);
  check("min-p", o.min_p, 0, 1);
  check("repeat penalty", o.repeat_penalty, 1e-6f, 1e6f);
  if (o.repeat_last_n < -1) fail(Status::kInvalidArgument, "repeat last n is {}, expected -1 or more", o.repeat_last_n);
}

Sampler::Sampler(const SamplerOptions& options) : options_(options) { check_sampler_options(options); }

void Sampler::penalise(std::span<const int32_t> history) {
  if (options_.repeat_penalty == 1 || options_.repeat_last_n == 0) return;
  if (options_.repeat_last_n > 0) {
    history = history.last(std::min(history.size(), static_cast<size_t>(options_.repeat_last_n)));
  }
  const std::unordered_set<int32_t> seen(history.begin(), history.end());
  for (const int32_t id : seen) {
    if (id < 0 || static_cast<size_t>(id) >= candidates_.size()) continue;
    float& logit = candidates_[static_cast<size_t>(id)].logit;
    logit = logit > 0 ? logit / options_.repeat_penalty : logit * options_.repeat_penalty;
  }
}

int32_t Sampler::greedy() const { return std::min_element(candidates_.begin(), candidates_.end(), kBetter)->id; }

// Keeps the best candidates whose probabilities first add up to top_p. Only as many as needed are sorted.
void Sampler::keep_top_p() {
  if (options_.top_p >= 1) return;
  const float best = std::min_element(candidates_.begin(), candidates_.end(), kBetter)->logit;
  double total = 0;
  for (const Candidate& c : candidates_) total += std::exp(static_cast<double>(c.logit - best));
  const double goal = static_cast<double>(options_.top_p) * total;
  double sum = 0;
  size_t sorted = 0, kept = 0;
  while (kept < candidates_.size()) {
    if (kept == sorted) {
      sorted = std::min(candidates_.size(), std::max<size_t>(64, sorted * 4));
      const auto begin = candidates_.begin() + static_cast<std::ptrdiff_t>(kept);
      std::partial_sort(begin, candidates_.begin() + static_cast<std::ptrdiff_t>(sorted), candidates_.end(), kBetter);
    }
    sum += std::exp(static_cast<double>(candidates_[kept++].logit - best));
    if (sum >= goal) break;
  }
  candidates_.resize(kept);
}

int32_t Sampler::sample(std::span<const float> logits, std::span<const int32_t> history, uint64_t position) {
  candidates_.clear();
  bool any = false;
  for (size_t i = 0; i < logits.size(); ++i) {
    if (std::isnan(logits[i]) || logits[i] == INFINITY) {
      fail(Status::kNumeric, "the logit of token {} after position {} is {}", i, position, logits[i]);
    }
    any |= logits[i] != -INFINITY;
    candidates_.push_back({logits[i], static_cast<int32_t>(i)});
  }
  if (!any) fail(Status::kNumeric, "no logit after position {} is finite", position);
  penalise(history);
  if (options_.temperature == 0 || options_.top_k == 1) return greedy();
  if (options_.top_k > 0 && static_cast<size_t>(options_.top_k) < candidates_.size()) {
    std::partial_sort(candidates_.begin(), candidates_.begin() + options_.top_k, candidates_.end(), kBetter);
    candidates_.resize(static_cast<size_t>(options_.top_k));
  }
  keep_top_p();
  std::sort(candidates_.begin(), candidates_.end(), kBetter);  // one order, so that the draw depends on the set alone
  const float best = candidates_.front().logit;
  if (options_.min_p > 0) {
    const float least = best + std::log(options_.min_p);
    while (candidates_.size() > 1 && candidates_.back().logit < least) candidates_.pop_back();
  }
  weights_.clear();
  double total = 0;
  for (const Candidate& c : candidates_) {
    weights_.push_back(std::exp(static_cast<double>(c.logit - best) / static_cast<double>(options_.temperature)));
    total += weights_.back();
  }
  double at = counter_uniform(options_.seed, position) * total;
  for (size_t i = 0; i < candidates_.size(); ++i) {
    at -= weights_[i];
    if (at < 0) return candidates_[i].id;
  }
  return candidates_.front().id;  // rounding left nothing: the likeliest
}

}  // namespace moiety
