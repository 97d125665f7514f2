#include "eval/usage.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace moiety::eval {
namespace {

double total_of(const std::vector<uint64_t>& counts) {
  return static_cast<double>(std::accumulate(counts.begin(), counts.end(), uint64_t{0}));
}

double relative_entropy(const std::vector<uint64_t>& counts) {
  const double total = total_of(counts);
  if (total == 0 || counts.size() < 2) return 0;
  double entropy = 0;
  for (uint64_t c : counts) {
    const double p = static_cast<double>(c) / total;
    if (c > 0) entropy -= p * std::log(p);
  }
  return entropy / std::log(static_cast<double>(counts.size()));
}

// Experts of a layer, the last used first: the place of one is how many others were used since.
class RecentFirst {
 public:
  void use(int32_t expert, LayerUsage& usage) {
    const auto it = std::ranges::find(order_, expert);
    if (it == order_.end()) {
      ++usage.first_uses;
      order_.insert(order_.begin(), expert);
      return;
    }
    ++usage.reuse[static_cast<size_t>(it - order_.begin())];
    std::rotate(order_.begin(), it, it + 1);
  }

 private:
  std::vector<int32_t> order_;
};

void add_token(const std::span<const int32_t> choices, size_t domain, RecentFirst& recent, LayerUsage& usage) {
  const size_t experts = usage.count.size();
  for (size_t i = 0; i < choices.size(); ++i) {
    if (choices[i] < 0) {
      ++usage.dropped;
      continue;
    }
    const auto e = static_cast<size_t>(choices[i]);
    ++usage.count[e], ++usage.by_domain[domain][e], ++usage.choices;
    recent.use(choices[i], usage);
    for (size_t j = 0; j < i; ++j) {
      if (choices[j] < 0) continue;
      const auto f = static_cast<size_t>(choices[j]);
      ++usage.together[e * experts + f], ++usage.together[f * experts + e];
    }
  }
}

}  // namespace

double LayerUsage::mean_reuse() const {
  double sum = 0;
  for (size_t d = 0; d < reuse.size(); ++d) sum += static_cast<double>(d) * static_cast<double>(reuse[d]);
  const double total = total_of(reuse);
  return total > 0 ? sum / total : 0;
}

double jensen_shannon(const std::vector<uint64_t>& a, const std::vector<uint64_t>& b) {
  const double sum_a = total_of(a), sum_b = total_of(b);
  if (sum_a == 0 || sum_b == 0) return 0;
  double divergence = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double p = static_cast<double>(a[i]) / sum_a, q = static_cast<double>(b[i]) / sum_b, m = (p + q) / 2;
    if (p > 0) divergence += p / 2 * std::log2(p / m);
    if (q > 0) divergence += q / 2 * std::log2(q / m);
  }
  return std::max(divergence, 0.0);
}

std::vector<LayerUsage> expert_usage(const Trace& trace) {
  std::vector<LayerUsage> out;
  size_t slot = 0;
  for (const TracedLayer& layer : trace.layers) {
    const auto experts = static_cast<size_t>(layer.experts), k = static_cast<size_t>(layer.top_k);
    LayerUsage& usage = out.emplace_back();
    usage.count.resize(experts), usage.reuse.resize(experts), usage.together.resize(experts * experts);
    usage.by_domain.assign(trace.domains.size(), std::vector<uint64_t>(experts));
    RecentFirst recent;
    for (size_t token = 0; token < trace.tokens(); ++token) {
      add_token(trace.choices(token).subspan(slot, k), static_cast<size_t>(trace.domain[token]), recent, usage);
    }
    slot += k;
    usage.entropy = relative_entropy(usage.count);
    usage.unused = static_cast<int>(std::ranges::count(usage.count, uint64_t{0}));
    if (trace.domains.size() < 2) continue;
    for (const auto& own : usage.by_domain) {
      std::vector<uint64_t> others = usage.count;
      for (size_t e = 0; e < experts; ++e) others[e] -= own[e];
      usage.domain_divergence.push_back(jensen_shannon(own, others));
    }
  }
  return out;
}

}  // namespace moiety::eval
