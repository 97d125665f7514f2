#include <omp.h>

#include <algorithm>

#include "core/threads_impl.h"

namespace moiety {
namespace {

class OpenMpThreads final : public Threads {
 public:
  explicit OpenMpThreads(int size) : Threads(size) {}
  const char* name() const override { return "openmp"; }

  void run(int64_t count, int64_t grain, TaskRef task) override {
    grain = std::max<int64_t>(grain, 1);
    if (size() == 1 || count <= grain) {
      for (int64_t i = 0; i < count; ++i) task(i, 0);
      return;
    }
    RunOrder order;
#pragma omp parallel num_threads(size())
    {
      order.begin_tasks();
#pragma omp for schedule(dynamic, grain)
      for (int64_t i = 0; i < count; ++i) task(i, omp_get_thread_num());
      order.end_tasks();
    }
  }
};

}  // namespace

std::unique_ptr<Threads> make_openmp_threads(int size) { return std::make_unique<OpenMpThreads>(size); }

}  // namespace moiety
