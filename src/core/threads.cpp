#include "core/threads.h"

#include "core/cpu_info.h"
#include "core/error.h"
#include "core/threads_impl.h"

namespace moiety {

std::unique_ptr<Threads> make_threads(std::string_view kind, int size) {
  constexpr int kMaxThreads = 1024;
  if (size < 0 || size > kMaxThreads) {
    fail(Status::kInvalidArgument, "threads: expected 0 (automatic) to {}, got {}", kMaxThreads, size);
  }
  if (size == 0) size = default_threads();
  if (kind == "tbb") return make_tbb_threads(size);
  if (kind == "team") return make_team_threads(seat_workers(read_topology("/", allowed_cpus()), size));
  if (kind == "serial") return make_serial_threads();
  if (kind == "openmp") {
#ifdef MOIETY_OPENMP
    return make_openmp_threads(size);
#else
    fail(Status::kUnsupported, "threads: this build has no OpenMP (the compiler had none); use tbb, team or serial");
#endif
  }
  fail(Status::kInvalidArgument, "threads: expected tbb, team, openmp or serial, got '{}'", printable(kind));
}

int default_threads() { return cpu_limits().threads(); }

}  // namespace moiety
