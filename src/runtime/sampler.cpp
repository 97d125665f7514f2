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

constexpr size_t kBlock = 256;

// In lanes of their own, as they are in vectors.
float largest(std::span<const float> values) {
  constexpr size_t kLanes = 16;
  float best[kLanes];
  std::fill_n(best, kLanes, -INFINITY);
  size_t i = 0;
  for (; i + kLanes <= values.size(); i += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane)
      best[lane] = values[i + lane] > best[lane] ? values[i + lane] : best[lane];
  }
  for (; i < values.size(); ++i) best[0] = std::max(best[0], values[i]);
  return *std::max_element(best, best + kLanes);
}

void check_logits(std::span<const float> logits, uint64_t position) {
  int bad = 0, any = 0;
  for (const float logit : logits) {
    bad |= !(logit < INFINITY);
    any |= logit > -INFINITY;
  }
  for (size_t i = 0; bad && i < logits.size(); ++i) {
    if (!(logits[i] < INFINITY))
      fail(Status::kNumeric, "the logit of token {} after position {} is {}", i, position, logits[i]);
  }
  if (!any) fail(Status::kNumeric, "no logit after position {} is finite", position);
}

// The `count` best, in no order. Blocks that have nothing better than the worst so far are passed over.
template <class Candidates>
void take_best(std::span<const float> logits, size_t count, Candidates& out) {
  size_t i = 0;
  for (; i < count; ++i) out.push_back({logits[i], static_cast<int32_t>(i)});
  std::make_heap(out.begin(), out.end(), kBetter);  // the worst in front
  while (i < logits.size()) {
    const size_t end = std::min(logits.size(), i + kBlock);
    if (!(largest(logits.subspan(i, end - i)) > out.front().logit)) i = end;
    for (; i < end; ++i) {
      if (!(logits[i] > out.front().logit)) continue;  // of equals the lower id is the better
      std::pop_heap(out.begin(), out.end(), kBetter);
      out.back() = {logits[i], static_cast<int32_t>(i)};
      std::push_heap(out.begin(), out.end(), kBetter);
    }
  }
}

// Those that are not below `least`, in the order of their ids.
template <class Candidates>
void take_from(std::span<const float> logits, float least, Candidates& out) {
  for (size_t i = 0; i < logits.size(); ++i) {
    if (logits[i] >= least) out.push_back({logits[i], static_cast<int32_t>(i)});
  }
}

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

// The candidates are in the order of their ids.
void Sampler::penalise(std::span<const int32_t> history) {
  const std::unordered_set<int32_t> seen(history.begin(), history.end());
  for (const int32_t id : seen) {
    const auto at = std::ranges::lower_bound(candidates_, id, {}, &Candidate::id);
    if (at == candidates_.end() || at->id != id) continue;
    at->logit = at->logit > 0 ? at->logit / options_.repeat_penalty : at->logit * options_.repeat_penalty;
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
  check_logits(logits, position);
  const bool penalty = options_.repeat_penalty != 1 && options_.repeat_last_n != 0,
             greedily = options_.temperature == 0 || options_.top_k == 1;
  if (!penalty)
    history = {};
  else if (options_.repeat_last_n > 0)
    history = history.last(std::min(history.size(), static_cast<size_t>(options_.repeat_last_n)));
  const size_t wanted = greedily ? 1 : options_.top_k > 0 ? static_cast<size_t>(options_.top_k) : logits.size();
  const size_t enough = wanted + history.size();  // those that a penalty moves down leave the best that are wanted
  candidates_.clear();
  if (enough < logits.size() && options_.repeat_penalty >= 1) {
    take_best(logits, enough, candidates_);
    if (penalty) std::ranges::sort(candidates_, {}, &Candidate::id);
  } else {
    // What min-p drops in the end need not be sorted, unless something counts it before.
    const bool early = options_.min_p > 0 && options_.top_p >= 1 && wanted >= logits.size() && !penalty;
    take_from(logits, early ? largest(logits) + std::log(options_.min_p) : -INFINITY, candidates_);
  }
  if (penalty) penalise(history);
  if (greedily) return greedy();
  if (wanted < logits.size()) {
    std::partial_sort(candidates_.begin(), candidates_.begin() + static_cast<std::ptrdiff_t>(wanted), candidates_.end(),
                      kBetter);
    candidates_.resize(wanted);
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
