// Topologies read from trees that stand for sysfs, and the places that workers get there.
#include "system_tree.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <fstream>
#include <numeric>
#include <string>
#include <thread>

#include "core/cpu_info.h"
#include "core/numa.h"
#include "core/threads_impl.h"

using namespace moiety;
namespace fs = std::filesystem;

namespace {

struct Root : test::SystemTree {
  void device(const std::string& name, const std::string& text) const { put("sys/devices/" + name, text); }
  void node(int id, const std::string& cpus) const { device("system/node/node" + std::to_string(id) + "/cpulist", cpus); }
};

// Two nodes of four cores each, one thread a core.
void two_nodes(const Root& root) {
  root.device("system/node/online", "0-1");
  root.node(0, "0-3"), root.node(1, "4-7");
  for (int i = 0; i < 8; ++i) root.cpu(i, i / 4, i % 4);
}

// Two fast cores of two threads (0-3), four slow ones (4-7), one node.
void hybrid_cores(const Root& root) {
  root.device("system/node/online", "0");
  root.node(0, "0-7");
  for (int i = 0; i < 4; ++i) root.cpu(i, 0, i / 2);
  for (int i = 4; i < 8; ++i) root.cpu(i, 0, 4 + i);
}

std::vector<int> first(int count) {
  std::vector<int> cpus(static_cast<size_t>(count));
  std::iota(cpus.begin(), cpus.end(), 0);
  return cpus;
}

std::vector<int> nodes(const std::vector<Seat>& seats) {
  std::vector<int> out;
  for (const Seat& seat : seats) out.push_back(seat.node);
  return out;
}

bool bound(const std::vector<Seat>& seats) {
  return std::ranges::any_of(seats, [](const Seat& seat) { return !seat.cpus.empty(); });
}

using Cpus = std::vector<int>;

}  // namespace

TEST_CASE("one node of equal cores: nobody is bound, whatever the number of workers") {
  const Root root;
  root.device("system/node/online", "0");
  root.node(0, "0-7");
  for (int i = 0; i < 8; ++i) root.cpu(i, 0, i / 2);
  const Topology topology = read_topology(root.path, first(8));
  CHECK(topology.nodes() == 1);
  CHECK_FALSE(topology.hybrid());
  CHECK(topology.cpus[0].thread == 0);
  CHECK(topology.cpus[1].thread == 1);
  for (const int workers : {1, 4, 8, 9}) {
    const auto seats = seat_workers(topology, workers);
    CHECK(seats.size() == static_cast<size_t>(workers));
    CHECK_FALSE(bound(seats));
    CHECK(nodes_of(seats) == 1);
  }
}

TEST_CASE("two nodes: workers are spread over both, neighbours on one, each on the CPUs of its node") {
  const Root root;
  two_nodes(root);
  const Topology topology = read_topology(root.path, first(8));
  CHECK(topology.nodes() == 2);
  const auto all = seat_workers(topology, 8);
  CHECK(nodes(all) == Cpus{0, 0, 0, 0, 1, 1, 1, 1});
  CHECK(all[0].cpus == Cpus{0, 1, 2, 3});
  CHECK(all[7].cpus == Cpus{4, 5, 6, 7});
  CHECK(nodes_of(all) == 2);
  const auto five = seat_workers(topology, 5);  // as a CPU quota of five leaves
  CHECK(nodes(five) == Cpus{0, 0, 0, 1, 1});
  CHECK(five[0].cpus == Cpus{0, 1, 2});
  CHECK(five[4].cpus == Cpus{4, 5});
  CHECK(nodes(seat_workers(topology, 1)) == Cpus{0});
  CHECK_FALSE(bound(seat_workers(topology, 9)));  // more than there are CPUs
}

TEST_CASE("an affinity mask: nodes without an allowed CPU do not count, others by what they have left") {
  const Root root;
  two_nodes(root);
  const Topology one = read_topology(root.path, {4, 5, 6});
  CHECK(one.nodes() == 1);
  CHECK_FALSE(bound(seat_workers(one, 3)));
  const Topology uneven = read_topology(root.path, {3, 4, 5, 6});
  CHECK(nodes(seat_workers(uneven, 4)) == Cpus{0, 1, 1, 1});
  root.device("system/node/online", "0-2");  // a node that has memory alone
  root.node(2, "");
  CHECK(read_topology(root.path, first(8)).nodes() == 2);
}

TEST_CASE("two nodes with hyperthreads: every core before any core's second thread") {
  const Root root;
  root.device("system/node/online", "0-1");
  root.node(0, "0-1,4-5"), root.node(1, "2-3,6-7");
  for (int i = 0; i < 8; ++i) root.cpu(i, i % 4 / 2, i % 4);
  const Topology topology = read_topology(root.path, first(8));
  const auto cores = seat_workers(topology, 4);
  CHECK(nodes(cores) == Cpus{0, 0, 1, 1});
  CHECK(cores[0].cpus == Cpus{0, 1});
  CHECK(cores[3].cpus == Cpus{2, 3});
  CHECK(seat_workers(topology, 6)[0].cpus == Cpus{0, 1, 4});
}

TEST_CASE("cores of two kinds: fast cores, then slow ones, then the second threads") {
  const Root root;
  hybrid_cores(root);
  CHECK_FALSE(read_topology(root.path, first(8)).hybrid());  // the kernel has not told
  SUBCASE("Intel's list") { root.device("cpu_atom/cpus", "4-7"); }
  SUBCASE("ARM's capacities") {
    for (int i = 0; i < 8; ++i) root.device("system/cpu/cpu" + std::to_string(i) + "/cpu_capacity", i < 4 ? "1024" : "430");
  }
  const Topology topology = read_topology(root.path, first(8));
  CHECK(topology.hybrid());
  CHECK(topology.nodes() == 1);
  CHECK(seat_workers(topology, 2)[0].cpus == Cpus{0, 2});
  CHECK(seat_workers(topology, 4)[0].cpus == Cpus{0, 2, 4, 5});
  CHECK(seat_workers(topology, 6)[0].cpus == Cpus{0, 2, 4, 5, 6, 7});
  CHECK(seat_workers(topology, 7)[0].cpus == Cpus{0, 2, 4, 5, 6, 7, 1});
  CHECK_FALSE(bound(seat_workers(read_topology(root.path, {4, 5, 6, 7}), 2)));  // slow ones alone are of one kind
}

TEST_CASE("a quota below the CPUs: as many workers as it allows, on the best of them") {
  const Root root;
  hybrid_cores(root);
  root.device("cpu_atom/cpus", "4-7");
  root.put("proc/self/cgroup", "0::/");
  root.put("sys/fs/cgroup/cpu.max", "250000 100000");
  const int workers = cpu_limits(root.path, first(8)).threads();
  CHECK(workers == 3);
  CHECK(seat_workers(read_topology(root.path, first(8)), workers)[2].cpus == Cpus{0, 2, 4});
}

TEST_CASE("capacities that differ by little are of one kind of core") {
  const Root root;
  for (int i = 0; i < 4; ++i) root.device("system/cpu/cpu" + std::to_string(i) + "/cpu_capacity", i < 2 ? "1024" : "990");
  CHECK_FALSE(read_topology(root.path, first(4)).hybrid());
}

TEST_CASE("missing files and nonsense: one node of equal cores") {
  const Root root;
  const auto plain = [&] {
    const Topology topology = read_topology(root.path, first(8));
    return topology.cpus.size() == 8 && topology.nodes() == 1 && !topology.hybrid() && !bound(seat_workers(topology, 8));
  };
  CHECK(plain());
  two_nodes(root);
  CHECK_FALSE(plain());
  for (const char* text : {"", "x", "0-", "-1", "1-0", "0,,1", "0 1", "0-99999999999", "99999999", "0-1x"}) {
    CAPTURE(text);
    root.device("system/node/online", text);
    CHECK(plain());
  }
  root.device("system/node/online", "0-1");
  CHECK_FALSE(plain());
  fs::remove(root.path / "sys/devices/system/node/node0/cpulist");  // its CPUs count as node 0's all the same
  CHECK(nodes(seat_workers(read_topology(root.path, first(8)), 8)) == Cpus{0, 0, 0, 0, 1, 1, 1, 1});
  root.device("system/node/node1/cpulist", "4-7,");
  CHECK(read_topology(root.path, {}).nodes() == 1);
}

TEST_CASE("tasks are split in proportion to the workers of each node, the same ones in each run") {
  const std::vector<Seat> seats{{0, {}}, {0, {}}, {0, {}}, {1, {}}, {1, {}}};
  for (const int64_t tasks : {0, 1, 4, 5, 64, 1001}) {
    int64_t of_node[2] = {0, 0};
    for (int w = 0; w < 5; ++w) of_node[seats[static_cast<size_t>(w)].node] += first_task(tasks, w + 1, 5) - first_task(tasks, w, 5);
    CHECK(of_node[0] + of_node[1] == tasks);
    CHECK(std::abs(of_node[0] * 5 - tasks * 3) < 5);
  }
}

TEST_CASE("stealing: from the fullest of the own node, from another only when that has nothing") {
  const std::vector<Seat> seats{{0, {}}, {0, {}}, {1, {}}, {1, {}}, {1, {}}};
  std::vector<int64_t> left{9, 1, 0, 2, 3};
  const auto from = [&](int self) { return pick_victim(seats, self, [&](int w) { return left[static_cast<size_t>(w)]; }); };
  CHECK(from(1) == 0);
  CHECK(from(0) == 1);
  CHECK(from(2) == 4);
  left = {9, 1, 0, 0, 0};
  CHECK(from(2) == 0);
  CHECK(from(0) == 1);
  left = {9, 0, 0, 0, 0};
  CHECK(from(0) == -1);  // its own tasks are no prey
}

TEST_CASE("a team on two nodes runs each task once, on workers where their seats are, and leaves the caller as it was") {
  const std::vector<int> before = allowed_cpus();
  // Both "nodes" are CPUs of this machine.
  const Seat one{0, {before.front()}}, two{1, {before.back()}};
  const auto threads = make_team_threads({one, one, two, two});
  CHECK(threads->nodes() == 2);
  threads->enter();
  for (int run = 0; run < 20; ++run) {
    std::vector<std::atomic<int>> runs(257);
    std::atomic<int> astray{0};
    threads->run(257, [&](int64_t task, int worker) {
      ++runs[static_cast<size_t>(task)];
      if (allowed_cpus() != (worker < 2 ? one : two).cpus) ++astray;
      std::this_thread::yield();
    });
    CHECK(std::ranges::all_of(runs, [](const auto& n) { return n == 1; }));
    CHECK(astray == 0);
  }
  threads->leave();
  CHECK(allowed_cpus() == before);
  std::atomic<int> sum{0};
  threads->run(100, [&](int64_t, int) { ++sum; });
  CHECK(sum == 100);
  CHECK(allowed_cpus() == before);
}

TEST_CASE("a seat that the system refuses changes nothing") {
  const std::vector<int> before = allowed_cpus();
  const Pinned pinned({0, {before.back() + 5000}});
  CHECK(allowed_cpus() == before);
}
