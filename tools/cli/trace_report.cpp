#include "trace_report.h"

#include <algorithm>
#include <numeric>

#include <fmt/format.h>

#include "core/error.h"
#include "eval/expert_cache.h"
#include "eval/svg.h"
#include "output.h"

namespace cli {
namespace {

namespace ev = moiety::eval;

constexpr ev::CachePolicy kPolicies[] = {ev::CachePolicy::kLru, ev::CachePolicy::kLfu, ev::CachePolicy::kBelady};
constexpr double kGiB = 1073741824.0;

double share_of(uint64_t count, uint64_t total) { return total > 0 ? static_cast<double>(count) / static_cast<double>(total) : 0; }

// The pair of experts that was chosen together most often.
struct Pair { size_t a = 0, b = 0; uint64_t tokens = 0; };
Pair best_pair(const ev::LayerUsage& usage) {
  Pair best;
  const size_t experts = usage.count.size();
  for (size_t a = 0; a < experts; ++a) {
    for (size_t b = a + 1; b < experts; ++b) {
      if (usage.together[a * experts + b] > best.tokens) best = {a, b, usage.together[a * experts + b]};
    }
  }
  return best;
}

}  // namespace

TraceReport::TraceReport(const ev::Trace& trace, const std::vector<double>& resident) : trace_(trace), usage_(ev::expert_usage(trace)) {
  const ev::ExpertAccesses accesses = ev::expert_accesses(trace);
  const uint64_t all = std::accumulate(accesses.bytes.begin(), accesses.bytes.end(), uint64_t{0});
  std::vector<uint64_t> capacities;
  for (double gib : resident) capacities.push_back(static_cast<uint64_t>(std::min(gib * kGiB, 1e18)));
  if (resident.empty()) {
    for (double share : {0.1, 0.25, 0.5, 0.75}) capacities.push_back(static_cast<uint64_t>(share * static_cast<double>(all)));
  }
  for (uint64_t capacity : capacities) {
    CacheRow& row = caches_.emplace_back();
    row.bytes = capacity, row.share = share_of(capacity, all);
    for (size_t p = 0; p < 3; ++p) row.hits[p] = share_of(ev::cache_hits(accesses, capacity, kPolicies[p]), accesses.object.size());
  }
}

// A character an expert, or several experts where they are many: from blank (none) to full (twice the mean and more).
void TraceReport::heat_map(std::string& out) const {
  constexpr size_t kColumns = 64;
  constexpr const char* kShades[] = {" ", "░", "▒", "▓", "█"};
  out += "loads, blank: none, ▒: the mean, █: twice the mean or more\n";
  for (size_t l = 0; l < usage_.size(); ++l) {
    const std::vector<uint64_t>& count = usage_[l].count;
    const size_t columns = std::min(kColumns, count.size());
    out += fmt::format("{:<18} |", trace_.layers[l].name);
    for (size_t c = 0; c < columns; ++c) {
      const size_t begin = c * count.size() / columns, end = (c + 1) * count.size() / columns;
      const uint64_t sum = std::accumulate(count.begin() + static_cast<std::ptrdiff_t>(begin), count.begin() + static_cast<std::ptrdiff_t>(end), uint64_t{0});
      const double relative = share_of(sum, usage_[l].choices) * static_cast<double>(count.size()) / static_cast<double>(end - begin);
      out += kShades[sum == 0 ? 0 : std::clamp(static_cast<int>(relative * 2 + 0.5), 1, 4)];
    }
    out += "|\n";
  }
}

void TraceReport::pairs(std::string& out) const {
  out += "\n| layer | experts | load entropy | busiest | share | unused | reuse distance | best pair | of tokens |\n"
         "| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- | ---: |\n";
  for (size_t l = 0; l < usage_.size(); ++l) {
    const ev::LayerUsage& u = usage_[l];
    const auto busiest = static_cast<size_t>(std::ranges::max_element(u.count) - u.count.begin());
    const Pair pair = best_pair(u);
    out += fmt::format("| {} | {} | {:.3f} | {} | {:.1f} % | {} | {:.1f} | {} | {:.1f} % |\n", trace_.layers[l].name, u.count.size(), u.entropy,
                       busiest, 100 * share_of(u.count[busiest], u.choices), u.unused, u.mean_reuse(),
                       pair.tokens > 0 ? fmt::format("{}, {}", pair.a, pair.b) : "none", 100 * share_of(pair.tokens, trace_.tokens()));
  }
}

std::string TraceReport::text() const {
  std::string out = fmt::format("{} tokens of {} texts\n", trace_.tokens(), trace_.domains.size());
  heat_map(out);
  pairs(out);
  if (trace_.domains.size() > 1) {
    out += "\nhow a text's loads differ from the others' (Jensen-Shannon, bits: 0 alike, 1 no expert shared)\n\n| text |";
    for (const ev::TracedLayer& layer : trace_.layers) out += fmt::format(" {} |", layer.name);
    out += "\n| --- |";
    for (size_t l = 0; l < usage_.size(); ++l) out += " ---: |";
    out += "\n";
    for (size_t d = 0; d < trace_.domains.size(); ++d) {
      out += fmt::format("| {} |", moiety::printable(trace_.domains[d]));
      for (const ev::LayerUsage& u : usage_) out += fmt::format(" {:.3f} |", u.domain_divergence[d]);
      out += "\n";
    }
  }
  out += "\nexperts resident, and accesses that find theirs\n\n| GiB | of all | LRU | LFU | Belady |\n| ---: | ---: | ---: | ---: | ---: |\n";
  for (const CacheRow& row : caches_) {
    out += fmt::format("| {:.4g} | {:.0f} % | {:.1f} % | {:.1f} % | {:.1f} % |\n", static_cast<double>(row.bytes) / kGiB, 100 * row.share,
                       100 * row.hits[0], 100 * row.hits[1], 100 * row.hits[2]);
  }
  return out;
}

std::string TraceReport::csv() const {
  std::string out = "layer,expert,text,choices,share\n";
  for (size_t l = 0; l < usage_.size(); ++l) {
    for (size_t d = 0; d < trace_.domains.size(); ++d) {
      const std::vector<uint64_t>& count = usage_[l].by_domain[d];
      const uint64_t total = std::accumulate(count.begin(), count.end(), uint64_t{0});
      for (size_t e = 0; e < count.size(); ++e) {
        out += fmt::format("{},{},{},{},{:.6f}\n", trace_.layers[l].name, e, csv_field(trace_.domains[d]), count[e], share_of(count[e], total));
      }
    }
  }
  return out;
}

std::string TraceReport::svg(const std::string& title) const {
  size_t most = 1;
  for (const ev::LayerUsage& u : usage_) most = std::max(most, u.count.size());
  constexpr double kLeft = 150, kTop = 40, kHeight = 22, kWidth = 900;
  ev::Svg picture(kLeft + kWidth + 20, kTop + kHeight * static_cast<double>(usage_.size()) + 50);
  picture.text(10, 22, fmt::format("{}: share of the choices by layer and expert, {} tokens", title, trace_.tokens()), "start", 14);
  for (size_t l = 0; l < usage_.size(); ++l) {
    const ev::LayerUsage& u = usage_[l];
    const double y = kTop + kHeight * static_cast<double>(l), cell = kWidth / static_cast<double>(u.count.size());
    picture.text(kLeft - 8, y + 15, trace_.layers[l].name, "end");
    for (size_t e = 0; e < u.count.size(); ++e) {
      const double share = share_of(u.count[e], u.choices), relative = share * static_cast<double>(u.count.size());
      picture.rectangle(kLeft + cell * static_cast<double>(e), y, cell * 0.96, kHeight - 2, ev::shade(relative / 3),
                        fmt::format("{}, expert {}: {:.2f} %", trace_.layers[l].name, e, 100 * share));
    }
  }
  const double y = kTop + kHeight * static_cast<double>(usage_.size()) + 12;
  for (int i = 0; i <= 6; ++i) picture.rectangle(kLeft + 40.0 * i, y, 40, 12, ev::shade(i / 6.0));
  picture.text(kLeft - 8, y + 11, "none", "end");
  picture.text(kLeft + 290, y + 11, fmt::format("three times the mean or more; experts 0 to {} from left to right", most - 1));
  return picture.finish();
}

Json TraceReport::json(const std::string& model) const {
  Json layers = Json::array(), caches = Json::array();
  for (size_t l = 0; l < usage_.size(); ++l) {
    const ev::LayerUsage& u = usage_[l];
    const size_t experts = u.count.size();
    Json domains = Json::object(), together = Json::array();
    for (size_t d = 0; d < trace_.domains.size(); ++d) {
      domains[trace_.domains[d]] = {{"count", u.by_domain[d]}, {"divergence", u.domain_divergence.empty() ? 0.0 : u.domain_divergence[d]}};
    }
    for (size_t a = 0; a < experts; ++a) {
      for (size_t b = a + 1; b < experts; ++b) {
        if (u.together[a * experts + b] > 0) together.push_back({a, b, u.together[a * experts + b]});
      }
    }
    layers.push_back({{"name", trace_.layers[l].name}, {"experts", experts}, {"top_k", trace_.layers[l].top_k},
                      {"expert_bytes", trace_.layers[l].expert_bytes}, {"count", u.count}, {"choices", u.choices}, {"dropped", u.dropped},
                      {"load_entropy", u.entropy}, {"unused", u.unused}, {"mean_reuse_distance", u.mean_reuse()}, {"reuse_distance", u.reuse},
                      {"first_uses", u.first_uses}, {"together", together}, {"texts", domains}});
  }
  for (const CacheRow& row : caches_) {
    caches.push_back({{"resident_bytes", row.bytes}, {"share", row.share}, {"lru", row.hits[0]}, {"lfu", row.hits[1]}, {"belady", row.hits[2]}});
  }
  return {{"model", model}, {"tokens", trace_.tokens()}, {"layers", layers}, {"cache", caches}};
}

}  // namespace cli
