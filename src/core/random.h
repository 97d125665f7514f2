// Counter-based random numbers: each depends on its coordinates alone, so no order of evaluation changes it.
#pragma once

#include <cstdint>

namespace moiety {

// SplitMix64's finaliser (Steele, Lea, Flood 2014).
constexpr uint64_t mix_bits(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

// A uniform number in [0, 1) that depends on the seed and all counters.
template <class... Counters>
constexpr double counter_uniform(uint64_t seed, Counters... counters) {
  constexpr uint64_t kStep = 0x9e3779b97f4a7c15ull;
  uint64_t bits = seed;
  ((bits = mix_bits(bits + kStep) + (static_cast<uint64_t>(counters) + 1) * kStep), ...);
  return static_cast<double>(mix_bits(bits) >> 11) * 0x1p-53;
}

}  // namespace moiety
