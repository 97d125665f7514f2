// Threads: the pool that runs a step's tasks. One owner, passed explicitly; never nested.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace moiety {

// A non-owning reference to a callable void(int64_t task, int worker).
class TaskRef {
 public:
  template <class F>
  TaskRef(const F& function)  // NOLINT: implicit, it is a parameter type
      : object_(&function),
        call_([](const void* object, int64_t task, int worker) { (*static_cast<const F*>(object))(task, worker); }) {}
  void operator()(int64_t task, int worker) const { call_(object_, task, worker); }

 private:
  const void* object_;
  void (*call_)(const void*, int64_t, int);
};

// Ranges that it took from others, the time that took, and the time between its tasks (and between runs, within a step).
struct WorkerCounts {
  uint64_t steals = 0;
  double steal_seconds = 0, idle_seconds = 0;
};

class Threads {
 public:
  virtual ~Threads() = default;
  virtual const char* name() const = 0;  // "tbb", "team", "openmp", "serial"
  int size() const { return size_; }

  // Memory nodes that the workers are on (numa.h). With more than one, a worker should meet the same weights in each step.
  virtual int nodes() const { return 1; }

  // Runs tasks 0..count-1, each exactly once, on up to size() workers; returns when all are done. `worker` is in
  // [0, size()) and no two tasks run at the same time with the same worker. Idle workers steal; `grain` tasks travel
  // together. Tasks must not throw and must not call run(). One caller at a time.
  virtual void run(int64_t count, int64_t grain, TaskRef task) = 0;
  void run(int64_t count, TaskRef task) { run(count, 1, task); }

  // Runs both, one task at a time. Tasks of `second` may begin while some of `first` still run, never before all of those
  // have begun or are about to: they wait themselves for what they need of them (spin.h).
  virtual void run_both(int64_t first_count, TaskRef first, int64_t second_count, TaskRef second) {
    run(first_count, 1, first);
    run(second_count, 1, second);
  }

  // Around runs that follow each other closely, those of a step: the workers may wait for them spinning.
  virtual void enter() {}
  virtual void leave() {}

  // Of each worker since the start, where the pool counts: "team" does.
  virtual std::vector<WorkerCounts> counts() const { return {}; }

 protected:
  explicit Threads(int size) : size_(size) {}

 private:
  int size_;
};

// kind: "tbb", "team", "openmp" or "serial"; size 0 means default_threads().
std::unique_ptr<Threads> make_threads(std::string_view kind, int size);

// min(affinity mask, cgroup CPU quota rounded up, physical cores).
int default_threads();

}  // namespace moiety
