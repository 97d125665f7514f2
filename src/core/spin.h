// Waiting for another thread for some microseconds.
#pragma once

#include <thread>

namespace moiety {

inline void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Longer than a step's ops on one thread take: after a pause of 50 us nobody sleeps, after 500 us all do (bench_pools).
inline constexpr int kPauses = 20'000;

template <class Done>
void spin_until(const Done& done) {
  for (int spins = 0; !done(); ++spins) spins < kPauses ? relax() : std::this_thread::yield();
}

}  // namespace moiety
