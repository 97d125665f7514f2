#include <doctest/doctest.h>

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "core/cpu_info.h"
#include "core/error.h"
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

TEST_CASE("unknown kinds and impossible sizes are errors") {
  CHECK_THROWS_WITH_AS(make_threads("fibres", 1), "threads: expected tbb, openmp or serial, got 'fibres'", Error);
  CHECK_THROWS_AS(make_threads("tbb", -1), Error);
  CHECK_THROWS_AS(make_threads("tbb", 100000), Error);
  CHECK(make_threads("tbb", 0)->size() == default_threads());
  CHECK(default_threads() >= 1);
  CHECK(default_threads() <= static_cast<int>(allowed_cpus().size()));
}
