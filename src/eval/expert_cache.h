// A cache of experts, simulated: what share of the accesses of a trace finds its expert resident.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "eval/trace.h"

namespace moiety::eval {

enum class CachePolicy : uint8_t {
  kLru,    // the expert that was not used for longest leaves
  kLfu,    // the one used least often so far, of equals the one not used for longest
  kBelady  // the one that will not be used for longest: no policy that fetches on demand does better (equal sizes)
};
const char* cache_policy_name(CachePolicy policy);

// Accesses in the order a decoder makes them: token by token, layer by layer, the best choice first. `object` numbers
// the experts of all layers, `bytes` are theirs.
struct ExpertAccesses {
  std::vector<uint32_t> object;
  std::vector<uint64_t> bytes;
};
ExpertAccesses expert_accesses(const Trace& trace);

// How many accesses are hits where `capacity` bytes of experts are resident, starting with none. An expert that is
// larger than that is never kept.
uint64_t cache_hits(const ExpertAccesses& accesses, uint64_t capacity, CachePolicy policy);

}  // namespace moiety::eval
