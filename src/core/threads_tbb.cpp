#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/info.h>
#include <oneapi/tbb/parallel_for.h>
#include <oneapi/tbb/task_arena.h>

#include <algorithm>
#include <optional>

#include "core/threads_impl.h"

namespace moiety {
namespace {

class TbbThreads final : public Threads {
 public:
  explicit TbbThreads(int size) : Threads(size), arena_(size, 1) {
    // oneTBB starts no more threads than the machine has unless it is told to.
    if (size > tbb::info::default_concurrency()) {
      limit_.emplace(tbb::global_control::max_allowed_parallelism, static_cast<size_t>(size));
    }
  }
  const char* name() const override { return "tbb"; }

  void run(int64_t count, int64_t grain, TaskRef task) override {
    grain = std::max<int64_t>(grain, 1);
    if (size() == 1 || count <= grain) {
      for (int64_t i = 0; i < count; ++i) task(i, 0);
      return;
    }
    const int64_t chunks = (count - 1) / grain + 1;
    RunOrder order;
    arena_.execute([&] {
      tbb::parallel_for(
          tbb::blocked_range<int64_t>(0, chunks, 1),
          [&](const tbb::blocked_range<int64_t>& range) {
            const int worker = tbb::this_task_arena::current_thread_index();
            const int64_t end = std::min(count, range.end() * grain);
            order.begin_tasks();
            for (int64_t i = range.begin() * grain; i < end; ++i) task(i, worker);
            order.end_tasks();
          },
          tbb::simple_partitioner{});
    });
  }

 private:
  std::optional<tbb::global_control> limit_;
  tbb::task_arena arena_;
};

}  // namespace

std::unique_ptr<Threads> make_tbb_threads(int size) { return std::make_unique<TbbThreads>(size); }

}  // namespace moiety
