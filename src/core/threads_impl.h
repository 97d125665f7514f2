// The pools behind Threads, one file each; only threads.cpp includes this.
#pragma once

#include <memory>
#include <vector>

#include "core/numa.h"
#include "core/threads.h"

#ifdef MOIETY_TSAN
extern "C" void __tsan_acquire(void* address);
extern "C" void __tsan_release(void* address);
#endif

namespace moiety {

// One run of a pool, as ThreadSanitizer should see it: it does not see into the pools' libraries, so under it their
// files are compiled without it and say here what comes before what. Nothing at all in other builds.
struct RunOrder {
#ifdef MOIETY_TSAN
  RunOrder() { __tsan_release(&begin); }
  ~RunOrder() { __tsan_acquire(&end); }  // the run is over
  void begin_tasks() { __tsan_acquire(&begin); }
  void end_tasks() { __tsan_release(&end); }
  char begin = 0, end = 0;
#else
  void begin_tasks() {}
  void end_tasks() {}
#endif
};

std::unique_ptr<Threads> make_tbb_threads(int size);
std::unique_ptr<Threads> make_team_threads(std::vector<Seat> seats);  // one for each worker
std::unique_ptr<Threads> make_serial_threads();
std::unique_ptr<Threads> make_openmp_threads(int size);  // defined only where MOIETY_OPENMP is

}  // namespace moiety
