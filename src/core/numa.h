// Where a pool's workers run on a machine with several memory nodes, or with cores of several kinds.
//
// What is meant: a worker takes the same part of each product in every step (first_task below; its part of the rows, so
// of the weights' pages). A mapped page lies on the node of the thread that read it first, so that it stays with a
// worker of its node, as long as that stays on the node: hence the pinning. Who has nothing left takes from its own node
// first (pick_victim). What this does not do: pages that another program read before lie where it ran, huge pages and
// read-ahead blur the borders of parts, and the experts of a memory budget lie where the thread that reads them runs.
//
// Tested with trees of files that stand for sysfs. Never run on a machine with more than one node, nor on one with cores
// of two kinds: whether it gains there, and how much, nobody has measured. With one node and one kind of core nothing
// is pinned and nothing changes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

namespace moiety {

struct Topology {
  struct Cpu {
    int id = 0, node = 0;
    int thread = 0;    // how many allowed CPUs of the same core come before it
    int speed = 1024;  // of its kind of core, the fastest 1024
  };
  std::vector<Cpu> cpus;  // those that are allowed, ascending

  int nodes() const;    // that have such a CPU
  bool hybrid() const;  // cores of several kinds
};

// `root` stands for "/": reads sys/devices/system/node, system/cpu and cpu_atom. What is not told is one node of equal
// cores.
Topology read_topology(const std::filesystem::path& root, const std::vector<int>& allowed);

// A worker's place. cpus: those that it may run on, of its node; empty: wherever the system wants.
struct Seat {
  int node = 0;
  std::vector<int> cpus;
};

// Picks a CPU for each worker, a core's first thread before its second, fast cores before slow ones, nodes in turn; the
// workers of a node share those picked there, and have neighbouring numbers. No seat is bound where there is one node
// and one kind of core, or more workers than CPUs.
std::vector<Seat> seat_workers(const Topology& topology, int workers);

int nodes_of(const std::vector<Seat>& seats);

// Worker w has the tasks [first_task(w), first_task(w + 1)) of a run to begin with: each node, in proportion to its
// workers.
constexpr int64_t first_task(int64_t tasks, int worker, int workers) { return tasks * worker / workers; }

// From whom worker `self` takes tasks: who has the most of its own node, or of the others if nobody there has any; -1:
// nobody has. left(w): the tasks that worker w has left.
template <class Left>
int pick_victim(const std::vector<Seat>& seats, int self, const Left& left) {
  int victim[2] = {-1, -1};  // of the own node, of the others
  int64_t most[2] = {0, 0};
  for (int w = 0; w < static_cast<int>(seats.size()); ++w) {
    const int64_t has = w == self ? 0 : left(w);
    const int other = seats[static_cast<size_t>(w)].node != seats[static_cast<size_t>(self)].node;
    if (has > most[other]) victim[other] = w, most[other] = has;
  }
  return victim[victim[0] < 0];
}

// Keeps the thread that makes it on the CPUs of a seat, until it is destroyed on the same thread. What the system
// refuses is left as it is.
class Pinned {
 public:
  explicit Pinned(const Seat& seat);
  ~Pinned();
  Pinned(const Pinned&) = delete;
  Pinned& operator=(const Pinned&) = delete;

 private:
  int thread_ = 0;           // 0: nothing was changed
  std::vector<int> before_;  // where it was allowed to run
};

}  // namespace moiety
