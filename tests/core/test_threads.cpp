#include <doctest/doctest.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "core/cpu_info.h"
#include "core/error.h"
#include "core/spin.h"
#include "core/threads.h"

using namespace moiety;

namespace {

std::vector<std::string> kinds() {
  std::vector<std::string> out{"tbb", "team", "serial"};
  try {
    make_threads("openmp", 1);
    out.push_back("openmp");
  } catch (const Error& error) {
    CHECK(error.status() == Status::kUnsupported);
    MESSAGE("SKIP openmp: ", std::string(error.what()));
  }
  return out;
}

void check_run(Threads& threads, int64_t count, int64_t grain) {
  CAPTURE(threads.name());
  CAPTURE(threads.size());
  CAPTURE(count);
  CAPTURE(grain);
  std::vector<std::atomic<int>> runs(static_cast<size_t>(count));
  std::vector<std::atomic<int>> busy(static_cast<size_t>(threads.size()));
  std::atomic<int> wrong_worker{0}, shared_worker{0};
  threads.run(count, grain, [&](int64_t task, int worker) {
    if (worker < 0 || worker >= threads.size()) {
      ++wrong_worker;
      return;
    }
    if (busy[static_cast<size_t>(worker)].fetch_add(1) != 0) ++shared_worker;
    runs[static_cast<size_t>(task)]++;
    std::atomic<int> spin{0};
    while (spin < 200) {
      ++spin;
    }
    busy[static_cast<size_t>(worker)]--;
  });
  CHECK(wrong_worker == 0);
  CHECK(shared_worker == 0);
  int64_t once = 0;
  for (const auto& n : runs) once += n == 1;
  CHECK(once == count);
}

}  // namespace

TEST_CASE("each task runs exactly once, and a worker never runs two at a time") {
  for (const std::string& kind : kinds()) {
    for (int size : {1, 2, 3, 8}) {
      const std::unique_ptr<Threads> threads = make_threads(kind, size);
      CHECK(threads->name() == kind);
      CHECK(threads->size() == (kind == "serial" ? 1 : size));
      for (int64_t count : {0, 1, 7, 1000}) {
        for (int64_t grain : {1, 3, 64}) check_run(*threads, count, grain);
      }
    }
  }
}

TEST_CASE("two kinds of tasks in one run: those that wait for the others get what they wait for") {
  for (const std::string& kind : kinds()) {
    for (int size : {1, 2, 3, 8}) {
      CAPTURE(kind); CAPTURE(size);
      const std::unique_ptr<Threads> threads = make_threads(kind, size);
      for (const auto& [before, behind] : {std::pair<int64_t, int64_t>{0, 5}, {5, 0}, {1, 1}, {1, 40}, {40, 1}, {70, 33}}) {
        threads->enter();
        for (int round = 0; round < 20; ++round) {
          std::vector<std::atomic<int>> first(static_cast<size_t>(before)), second(static_cast<size_t>(behind));
          std::atomic<int64_t> ended{0}, wrong{0};
          const auto write = [&](int64_t task, int) {
            ++first[static_cast<size_t>(task)];
            ended.fetch_add(1, std::memory_order_release);
          };
          const auto read = [&](int64_t task, int worker) {
            spin_until([&] { return ended.load(std::memory_order_acquire) == before; });
            for (const auto& n : first) wrong += n != 1;
            wrong += worker < 0 || worker >= threads->size();
            ++second[static_cast<size_t>(task)];
          };
          threads->run_both(before, write, behind, read);
          for (const auto& n : second) wrong += n != 1;
          CHECK(wrong == 0);
          CHECK(ended == before);
        }
        threads->leave();
      }
    }
  }
}

TEST_CASE("pools use more than one thread, also beyond the machine's own number") {
  for (const std::string& kind : kinds()) {
    if (kind == "serial") continue;
    const std::unique_ptr<Threads> threads = make_threads(kind, 4);
    // Four tasks that wait for each other end only if four threads run them.
    std::atomic<int> arrived{0};
    threads->run(4, [&](int64_t, int) {
      ++arrived;
      while (arrived < 4) {
      }
    });
    CHECK(arrived == 4);
  }
}

TEST_CASE("a team that meets and parts often, two of them side by side: no task is lost or run twice") {
  const auto work = [](int size, int64_t& wrong) {
    const auto threads = make_threads("team", size);
    std::vector<std::atomic<int>> runs(61);
    for (int step = 0; step < 300; ++step) {
      if (step % 3) threads->enter();
      for (int run = 0; run < 5; ++run) {
        for (auto& n : runs) n = 0;
        const int64_t count = 1 + (step * 5 + run) % 61;
        threads->run(count, 1 + run % 2, [&](int64_t task, int) { ++runs[static_cast<size_t>(task)]; });
        for (int64_t i = 0; i < 61; ++i) wrong += runs[static_cast<size_t>(i)] != (i < count ? 1 : 0);
      }
      threads->leave();
    }
  };
  int64_t wrong_here = 0, wrong_there = 0;
  std::thread other([&] { work(3, wrong_there); });
  work(2, wrong_here);
  other.join();
  CHECK(wrong_here == 0);
  CHECK(wrong_there == 0);
}

TEST_CASE("who has nothing left to do steals") {
  const auto threads = make_threads("team", 2);
  threads->enter();
  std::atomic<int> by_other{0};
  for (int round = 0; round < 50 && by_other == 0; ++round) {
    // The first worker's own half is tasks that end when the other worker has taken one of them, or after a while.
    threads->run(8, [&](int64_t task, int worker) {
      if (task >= 4) return;
      if (worker == 1) ++by_other;
      for (int spins = 0; by_other == 0 && spins < 20'000'000; ++spins) {
      }
    });
  }
  threads->leave();
  CHECK(by_other > 0);
  const std::vector<WorkerCounts> counts = threads->counts();
  REQUIRE(counts.size() == 2);
  CHECK(counts[1].steals > 0);
  CHECK(counts[1].steal_seconds > 0);
  CHECK(counts[1].steal_seconds < 1);
  CHECK(make_threads("tbb", 2)->counts().empty());
}

TEST_CASE("unknown kinds and impossible sizes are errors") {
  CHECK_THROWS_WITH_AS(make_threads("fibres", 1), "threads: expected tbb, team, openmp or serial, got 'fibres'", Error);
  CHECK_THROWS_AS(make_threads("tbb", -1), Error);
  CHECK_THROWS_AS(make_threads("tbb", 100000), Error);
  CHECK(make_threads("tbb", 0)->size() == default_threads());
  CHECK(default_threads() >= 1);
  CHECK(default_threads() <= static_cast<int>(allowed_cpus().size()));
}
