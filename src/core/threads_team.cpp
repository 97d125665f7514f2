// The team: threads of oneTBB that stay together for a whole step. A run costs them some cache lines instead of waking
// and joining, which a step of decoding pays 150 times. Each worker has a range of tasks of its own, takes from its front,
// and steals the back half of another's when it is empty; between runs workers spin for a while, then sleep. A run has
// up to two stages: who finds nothing left of the first goes on to the second, with no barrier between.
#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/info.h>
#include <oneapi/tbb/task_arena.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "core/spin.h"
#include "core/threads_impl.h"

namespace moiety {
namespace {

// Tasks [begin, end) of one worker, in one word.
struct Range {
  uint32_t begin = 0, end = 0;
  static Range of(uint64_t word) { return {static_cast<uint32_t>(word >> 32), static_cast<uint32_t>(word)}; }
  uint64_t word() const { return uint64_t{begin} << 32 | end; }
  bool empty() const { return begin >= end; }
};

using Clock = std::chrono::steady_clock;

constexpr int kStages = 2;

// Tasks of a stage; `grain` of them, a chunk, travel together.
struct Stage {
  const TaskRef* task = nullptr;
  int64_t count = 0, grain = 1;
  int64_t chunks() const { return (count + grain - 1) / grain; }
};

struct alignas(128) Worker {  // a line of its own, and the one that is fetched with it
  std::atomic<uint64_t> ranges[kStages]{};
  std::atomic<int64_t> done{0};     // chunks of this job
  std::atomic<bool> member{false};  // its task waits for a thread, or runs
  uint64_t steals = 0;
  Clock::duration stealing{}, idle{};
};

// What the members share; it lives as long as the last of their tasks.
class Team {
 public:
  explicit Team(std::vector<Seat> seats)
      : size_(static_cast<int>(seats.size())), seats_(std::move(seats)), workers_(std::make_unique<Worker[]>(seats_.size())) {}

  const std::vector<Seat>& seats() const { return seats_; }

  bool together() const { return together_.load(std::memory_order_relaxed); }

  // Brings the members together: each is a task of the arena. One that gets no thread is not waited for.
  static void enter(const std::shared_ptr<Team>& team, tbb::task_arena& arena) {
    team->together_.store(true);
    for (int w = 1; w < team->size_; ++w) {
      if (!team->worker(w).member.exchange(true)) arena.enqueue([team, w] { team->stay(w); });
    }
  }

  void leave() {
    together_.store(false);
    epoch_.fetch_add(2);  // wakes who sleeps; no job
    epoch_.notify_all();
    while (present_.load() > 0) relax();
  }

  // Until each member's task has run: one that got no thread in time still holds the team.
  void wait_for_members() const {
    for (int w = 1; w < size_; ++w) {
      while (worker(w).member.load()) std::this_thread::yield();
    }
  }

  // Epochs are odd while a job runs. Who works on one is inside; none is made before all are out again.
  void share(const Stage& first, const Stage& second) {
    RunOrder order;
    job_ = {{first, second}, &order};
    for (int w = 0; w < size_; ++w) {
      worker(w).done.store(0, std::memory_order_relaxed);
      for (int stage = 0; stage < kStages; ++stage) {
        const int64_t chunks = job_.stages[stage].chunks();
        const auto at = [&](int i) { return static_cast<uint32_t>(first_task(chunks, i, size_)); };
        worker(w).ranges[stage].store(Range{at(w), at(w + 1)}.word(), std::memory_order_relaxed);
      }
    }
    epoch_.fetch_add(1);
    if (asleep_.load() > 0) epoch_.notify_all();
    take_part(0);
    const auto start = Clock::now();
    const int64_t chunks = first.chunks() + second.chunks();
    spin_until([&] { return done() == chunks; });
    worker(0).idle += Clock::now() - start;
    epoch_.fetch_add(1);
    while (inside_.load() > 0) relax();
  }

  std::vector<WorkerCounts> counts() const {
    std::vector<WorkerCounts> counts;
    const auto seconds = [](Clock::duration time) { return std::chrono::duration<double>(time).count(); };
    for (int w = 0; w < size_; ++w)
      counts.push_back({worker(w).steals, seconds(worker(w).stealing), seconds(worker(w).idle)});
    return counts;
  }

 private:
  struct Job {
    Stage stages[kStages];
    RunOrder* order = nullptr;
  };
  Worker& worker(int w) const { return workers_[static_cast<size_t>(w)]; }

  int64_t done() const {
    int64_t sum = 0;
    for (int w = 0; w < size_; ++w) sum += worker(w).done.load(std::memory_order_acquire);
    return sum;
  }

  // A member's life: a step's jobs, until the team parts.
  void stay(int self) {
    const Pinned pinned(seats_[static_cast<size_t>(self)]);
    present_.fetch_add(1);
    uint64_t seen = 0;
    auto idle = Clock::now();
    for (int spins = 0; together_.load();) {
      const uint64_t epoch = epoch_.load();
      if (epoch % 2 == 0 || epoch == seen) {
        if (++spins < kPauses) relax();
        else sleep(epoch);
        continue;
      }
      inside_.fetch_add(1);
      if (epoch_.load() == epoch) {
        worker(self).idle += Clock::now() - idle;
        take_part(self);
        idle = Clock::now();
      }
      inside_.fetch_sub(1);
      seen = epoch, spins = 0;
    }
    worker(self).member.store(false);
    present_.fetch_sub(1);
  }

  void sleep(uint64_t epoch) {
    asleep_.fetch_add(1);
    if (together_.load()) epoch_.wait(epoch);
    asleep_.fetch_sub(1);
  }

  void take_part(int self) {
    job_.order->begin_tasks();
    Worker& own = worker(self);
    int64_t done = 0;
    for (int index = 0; index < kStages; ++index) {
      const Stage& stage = job_.stages[index];
      if (stage.count == 0) continue;
      do {
        for (uint32_t chunk; pop(own.ranges[index], chunk); ++done) {
          const int64_t begin = chunk * stage.grain, end = std::min(stage.count, begin + stage.grain);
          for (int64_t i = begin; i < end; ++i) (*stage.task)(i, self);
        }
      } while (steal(self, index));
    }
    job_.order->end_tasks();
    own.done.fetch_add(done, std::memory_order_release);
  }

  static bool pop(std::atomic<uint64_t>& range_word, uint32_t& chunk) {
    uint64_t word = range_word.load(std::memory_order_relaxed);
    for (;;) {
      Range range = Range::of(word);
      if (range.empty()) return false;
      chunk = range.begin++;
      if (range_word.compare_exchange_weak(word, range.word(), std::memory_order_relaxed)) return true;
    }
  }

  // Moves the back half of another's range, the fullest of its node if there is any, into the worker's own, which is
  // empty; false when nobody has any left: all chunks of the stage have begun, or are about to.
  bool steal(int self, int stage) {
    for (const auto start = Clock::now();;) {
      const auto range_of = [&](int w) { return Range::of(worker(w).ranges[stage].load(std::memory_order_relaxed)); };
      const int victim = pick_victim(seats_, self, [&](int w) {
        const Range range = range_of(w);
        return range.empty() ? int64_t{0} : int64_t{range.end} - range.begin;
      });
      if (victim < 0) return false;
      const Range range = range_of(victim);
      if (range.empty()) continue;
      uint64_t word = range.word();
      const uint32_t middle = range.begin + (range.end - range.begin) / 2;
      const uint64_t left = Range{range.begin, middle}.word();
      if (!worker(victim).ranges[stage].compare_exchange_strong(word, left, std::memory_order_relaxed)) continue;
      worker(self).ranges[stage].store(Range{middle, range.end}.word(), std::memory_order_relaxed);
      ++worker(self).steals;
      worker(self).stealing += Clock::now() - start;
      return true;
    }
  }

  const int size_;
  const std::vector<Seat> seats_;
  std::unique_ptr<Worker[]> workers_;
  alignas(128) std::atomic<uint64_t> epoch_{0};
  alignas(128) std::atomic<int> inside_{0}, asleep_{0}, present_{0};
  std::atomic<bool> together_{false};
  Job job_;
};

class TeamThreads final : public Threads {
 public:
  explicit TeamThreads(std::vector<Seat> seats)
      : Threads(static_cast<int>(seats.size())), team_(std::make_shared<Team>(std::move(seats))), arena_(size(), 1) {
    // oneTBB starts no more threads than the machine has unless it is told to.
    if (size() > tbb::info::default_concurrency())
      limit_.emplace(tbb::global_control::max_allowed_parallelism, static_cast<size_t>(size()));
  }
  ~TeamThreads() override {
    leave();
    team_->wait_for_members();
  }
  const char* name() const override { return "team"; }
  int nodes() const override { return nodes_of(team_->seats()); }

  void enter() override {
    if (size() == 1 || team_->together()) return;
    caller_.emplace(team_->seats().front());
    Team::enter(team_, arena_);
  }
  void leave() override {
    if (!team_->together()) return;
    team_->leave();
    caller_.reset();
  }

  void run(int64_t count, int64_t grain, TaskRef task) override {
    run_stages({&task, count, std::max<int64_t>(grain, 1)}, {});
  }
  void run_both(int64_t first_count, TaskRef first, int64_t second_count, TaskRef second) override {
    run_stages({&first, first_count, 1}, {&second, second_count, 1});
  }

  std::vector<WorkerCounts> counts() const override { return team_->counts(); }

 private:
  void run_stages(const Stage& first, const Stage& second) {
    const int64_t most = std::max(first.chunks(), second.chunks());
    if (size() == 1 || most <= 1 || most > INT32_MAX) {
      for (const Stage* stage : {&first, &second}) {
        for (int64_t i = 0; i < stage->count; ++i) (*stage->task)(i, 0);
      }
      return;
    }
    const bool alone = !team_->together();
    if (alone) enter();
    team_->share(first, second);
    if (alone) leave();
  }

  std::shared_ptr<Team> team_;
  std::optional<tbb::global_control> limit_;
  tbb::task_arena arena_;
  std::optional<Pinned> caller_;  // worker 0, in a step
};

}  // namespace

std::unique_ptr<Threads> make_team_threads(std::vector<Seat> seats) {
  return std::make_unique<TeamThreads>(std::move(seats));
}

}  // namespace moiety
