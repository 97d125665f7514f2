#include "eval/expert_cache.h"

#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

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

struct Rank {
  uint64_t first = 0, second = 0;
  uint32_t object = 0;
  auto operator<=>(const Rank&) const = default;
};

// What is resident, the next to leave first: a heap of four children a node that knows where each object stands.
class Residents {
 public:
  explicit Residents(size_t objects) : place_(objects, kAbsent) {}

  bool contains(uint32_t object) const { return place_[object] != kAbsent; }
  // Takes the object in, or changes its rank.
  void put(const Rank& rank) {
    size_t at = place_[rank.object];
    if (at == kAbsent) at = heap_.size(), heap_.emplace_back();
    if (at > 0 && rank < heap_[(at - 1) / 4])
      rise(at, rank);
    else
      sink(at, rank);
  }
  uint32_t take_first() {
    const uint32_t object = heap_.front().object;
    place_[object] = kAbsent;
    const Rank last = heap_.back();
    heap_.pop_back();
    if (!heap_.empty()) sink(0, last);
    return object;
  }

 private:
  static constexpr size_t kAbsent = std::numeric_limits<size_t>::max();
  void set(size_t at, const Rank& rank) { heap_[at] = rank, place_[rank.object] = at; }
  void rise(size_t at, const Rank& rank) {
    for (; at > 0 && rank < heap_[(at - 1) / 4]; at = (at - 1) / 4) set(at, heap_[(at - 1) / 4]);
    set(at, rank);
  }
  void sink(size_t at, const Rank& rank) {
    for (size_t child; (child = 4 * at + 1) < heap_.size(); at = child) {
      const size_t end = std::min(child + 4, heap_.size());
      for (size_t c = child + 1; c < end; ++c) {
        if (heap_[c] < heap_[child]) child = c;
      }
      if (rank < heap_[child]) break;
      set(at, heap_[child]);
    }
    set(at, rank);
  }

  std::vector<Rank> heap_;
  std::vector<size_t> place_;  // of an object in the heap
};

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
  Residents residents(accesses.bytes.size());
  std::vector<uint64_t> uses(accesses.bytes.size());
  const std::vector<uint64_t> next = policy == CachePolicy::kBelady ? next_uses(accesses) : std::vector<uint64_t>{};
  uint64_t used = 0, hits = 0;
  for (size_t i = 0; i < accesses.object.size(); ++i) {
    const uint32_t object = accesses.object[i];
    const uint64_t bytes = accesses.bytes[object];
    if (residents.contains(object)) {
      ++hits;
    } else if (bytes > capacity) {
      continue;
    } else {
      while (bytes > capacity - used) used -= accesses.bytes[residents.take_first()];
      used += bytes;
    }
    ++uses[object];
    residents.put(policy == CachePolicy::kLru   ? Rank{i, 0, object}
                  : policy == CachePolicy::kLfu ? Rank{uses[object], i, object}
                                                : Rank{std::numeric_limits<uint64_t>::max() - next[i], 0, object});
  }
  return hits;
}

}  // namespace moiety::eval
