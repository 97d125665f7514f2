#include "eval/expert_cache.h"

#include <limits>
#include <set>
#include <utility>

namespace moiety::eval {
namespace {

// When each access's object is next used.
std::vector<uint64_t> next_uses(const ExpertAccesses& accesses) {
  std::vector<uint64_t> next(accesses.object.size());
  std::vector<uint64_t> last(accesses.bytes.size(), std::numeric_limits<uint64_t>::max());
  for (size_t i = accesses.object.size(); i-- > 0;) {
    next[i] = std::exchange(last[accesses.object[i]], i);
  }
  return next;
}

}  // namespace

const char* cache_policy_name(CachePolicy policy) {
  constexpr const char* kNames[] = {"LRU", "LFU", "Belady"};
  return kNames[static_cast<size_t>(policy)];
}

ExpertAccesses expert_accesses(const Trace& trace) {
  ExpertAccesses out;
  std::vector<uint32_t> first;  // object of expert 0, by slot
  for (const TracedLayer& layer : trace.layers) {
    first.insert(first.end(), static_cast<size_t>(layer.top_k), static_cast<uint32_t>(out.bytes.size()));
    out.bytes.insert(out.bytes.end(), static_cast<size_t>(layer.experts), layer.expert_bytes);
  }
  for (size_t token = 0; token < trace.tokens(); ++token) {
    const auto choices = trace.choices(token);
    for (size_t slot = 0; slot < choices.size(); ++slot) {
      if (choices[slot] >= 0) out.object.push_back(first[slot] + static_cast<uint32_t>(choices[slot]));
    }
  }
  return out;
}

uint64_t cache_hits(const ExpertAccesses& accesses, uint64_t capacity, CachePolicy policy) {
  // Resident objects, the next to leave first.
  struct Rank {
    uint64_t first = 0, second = 0;
    uint32_t object = 0;
    auto operator<=>(const Rank&) const = default;
  };
  std::set<Rank> resident;
  std::vector<Rank> rank(accesses.bytes.size());
  std::vector<bool> is_resident(accesses.bytes.size());
  std::vector<uint64_t> uses(accesses.bytes.size());
  const std::vector<uint64_t> next = policy == CachePolicy::kBelady ? next_uses(accesses) : std::vector<uint64_t>{};
  uint64_t used = 0, hits = 0;
  for (size_t i = 0; i < accesses.object.size(); ++i) {
    const uint32_t object = accesses.object[i];
    const uint64_t bytes = accesses.bytes[object];
    if (is_resident[object]) {
      ++hits;
      resident.erase(rank[object]);
    } else if (bytes > capacity) {
      continue;
    } else {
      while (bytes > capacity - used) {
        const uint32_t leaves = resident.begin()->object;
        resident.erase(resident.begin());
        is_resident[leaves] = false;
        used -= accesses.bytes[leaves];
      }
      used += bytes;
      is_resident[object] = true;
    }
    ++uses[object];
    rank[object] = policy == CachePolicy::kLru   ? Rank{i, 0, object}
                   : policy == CachePolicy::kLfu ? Rank{uses[object], i, object}
                                                 : Rank{std::numeric_limits<uint64_t>::max() - next[i], 0, object};
    resident.insert(rank[object]);
  }
  return hits;
}

}  // namespace moiety::eval
