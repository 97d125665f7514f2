#include "runtime/memory_budget.h"

#include <unistd.h>

#include <fstream>

#include "core/error.h"

namespace moiety {
namespace {

// For what is not counted: kernels' own tables, thread stacks, the heap's waste, code that runs for the first time, a
// session's logits and tokens. Generous; tests/runtime/test_memory.cpp and bench_ram hold the sum to the budget.
constexpr size_t kReserve = size_t{24} << 20;

size_t resident_bytes() {
  std::ifstream file("/proc/self/statm");
  size_t size = 0, resident = 0;
  file >> size >> resident;
  return resident * static_cast<size_t>(::sysconf(_SC_PAGESIZE));
}

}  // namespace

MemoryBudget::MemoryBudget(uint64_t bytes, const WeightStore& store) : bytes_(bytes), store_(store) {
  for (const auto& file : store.files()) file->release_pages();
  held_ = resident_bytes();
}

void MemoryBudget::hold_dense_weights(Graph& graph, bool plan_only) {
  std::unordered_map<const std::byte*, size_t> sizes;  // a tied head is the embedding
  for (Node& node : graph.nodes()) {
    each_weight(node.op, [&](Tensor& t) {
      if (store_.is_mapped(t.data)) sizes[t.data] = std::max(sizes[t.data], t.bytes());
    });
  }
  for (const auto& [at, size] : sizes) dense_bytes_ += size;
  if (dense_bytes_ > bytes_) too_small(0, 0, 0);
  if (plan_only) return;
  std::unordered_map<const std::byte*, std::byte*> places;
  for (const auto& [at, size] : sizes) {
    const Buffer& copy = copies_.emplace_back(size);
    store_.read(at, {copy.data(), size});
    places[at] = copy.data();
  }
  for (Node& node : graph.nodes()) {
    each_weight(node.op, [&](Tensor& t) {
      if (const auto place = places.find(t.data); place != places.end()) t.data = place->second;
    });
  }
}

std::unique_ptr<ExpertCache> MemoryBudget::expert_cache(Banks& banks, size_t session_bytes, size_t arena_bytes) const {
  std::vector<ExpertBank*> list;
  for (ExpertBank& bank : banks) list.push_back(&bank);
  const size_t expert = ExpertCache::slot_bytes(list), taken = held_ + kReserve + dense_bytes_ + session_bytes + arena_bytes;
  if (taken > bytes_ || bytes_ - taken < expert) too_small(session_bytes, arena_bytes, expert);
  return list.empty() ? nullptr : std::make_unique<ExpertCache>(std::move(list), store_, bytes_ - taken);
}

void MemoryBudget::too_small(size_t session_bytes, size_t arena_bytes, size_t expert_bytes) const {
  const auto mib = [](size_t bytes) { return (bytes + (1 << 20) - 1) >> 20; };
  const size_t program = held_ + kReserve;
  fail(Status::kOutOfMemory,
       "a memory budget of {} MiB is too small, {} MiB is the least: {} the program, {} weights that every token uses, {} "
       "the cache of a session (a shorter context takes less), {} working memory (smaller steps take less), {} an expert",
       bytes_ >> 20, mib(program + dense_bytes_ + session_bytes + arena_bytes + expert_bytes), mib(program), mib(dense_bytes_),
       mib(session_bytes), mib(arena_bytes), mib(expert_bytes));
}

}  // namespace moiety
