#include "core/numa.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <map>
#include <set>
#include <string>
#include <utility>

#include "core/cpu_info.h"

namespace moiety {
namespace {

namespace fs = std::filesystem;

constexpr int kMostCpus = 1 << 18;

std::string first_line(const fs::path& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// A number from 0 to kMostCpus - 1 at the beginning of `text`, which it is cut from; -1: there is none.
int take_number(std::string_view& text) {
  int value = -1;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (code != std::errc{} || value < 0 || value >= kMostCpus) return -1;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return value;
}

// "0-3,8,10-11", as the kernel writes it; what does not read so is empty.
std::set<int> list_of(const fs::path& path) {
  const std::string line = first_line(path);
  std::set<int> numbers;
  for (std::string_view rest = line; !rest.empty();) {
    const int first = take_number(rest);
    int last = first;
    if (rest.starts_with('-')) rest.remove_prefix(1), last = take_number(rest);
    if (first < 0 || last < first || (!rest.empty() && rest.front() != ',')) return {};
    for (int n = first; n <= last; ++n) numbers.insert(n);
    if (!rest.empty()) rest.remove_prefix(1);
  }
  return numbers;
}

// Of the slow cores of Intel's hybrids; ARM's kernels tell a capacity.
int speed_of(const fs::path& cpu_folder, bool slow) {
  const std::string line = first_line(cpu_folder / "cpu_capacity");
  std::string_view text = line;
  const int capacity = take_number(text);
  if (capacity > 0) return std::min(capacity, 1024);
  return slow ? 512 : 1024;
}

bool set_affinity(const std::vector<int>& cpus) {
  const int count = *std::ranges::max_element(cpus) + 1;
  cpu_set_t* set = CPU_ALLOC(count);
  if (!set) return false;
  CPU_ZERO_S(CPU_ALLOC_SIZE(count), set);
  for (const int cpu : cpus) CPU_SET_S(cpu, CPU_ALLOC_SIZE(count), set);
  const bool done = sched_setaffinity(0, CPU_ALLOC_SIZE(count), set) == 0;
  CPU_FREE(set);
  return done;
}

}  // namespace

int Topology::nodes() const {
  std::set<int> nodes;
  for (const Cpu& cpu : cpus) nodes.insert(cpu.node);
  return std::max(1, static_cast<int>(nodes.size()));
}

// Cores of one kind may be told apart by some percent, by the clock that each reaches.
bool Topology::hybrid() const {
  const auto [slow, fast] = std::ranges::minmax_element(cpus, {}, &Cpu::speed);
  return !cpus.empty() && slow->speed * 5 < fast->speed * 4;
}

Topology read_topology(const fs::path& root, const std::vector<int>& allowed) {
  const fs::path devices = root / "sys/devices";
  std::map<int, int> node_of;
  for (const int node : list_of(devices / "system/node/online")) {
    for (const int cpu : list_of(devices / "system/node" / ("node" + std::to_string(node)) / "cpulist")) node_of[cpu] = node;
  }
  const std::set<int> slow = list_of(devices / "cpu_atom/cpus");
  std::map<std::pair<std::string, std::string>, int> threads;  // package and core -> allowed CPUs so far
  Topology topology;
  for (const int id : allowed) {
    const fs::path folder = devices / "system/cpu" / ("cpu" + std::to_string(id));
    std::pair core{first_line(folder / "topology/physical_package_id"), first_line(folder / "topology/core_id")};
    if (core.first.empty() || core.second.empty()) core = {"cpu", std::to_string(id)};
    const auto node = node_of.find(id);
    topology.cpus.push_back({id, node == node_of.end() ? 0 : node->second, threads[core]++, speed_of(folder, slow.contains(id))});
  }
  return topology;
}

std::vector<Seat> seat_workers(const Topology& topology, int workers) {
  std::vector<Seat> seats(static_cast<size_t>(workers));
  if ((topology.nodes() == 1 && !topology.hybrid()) || seats.size() > topology.cpus.size()) return seats;
  struct Candidate {
    int thread, slowness, turn, node, id;  // the order in which they are picked
    auto operator<=>(const Candidate&) const = default;
  };
  std::vector<Candidate> candidates;
  std::map<std::pair<int, std::pair<int, int>>, int> turns;
  for (const Topology::Cpu& cpu : topology.cpus) {
    const int slowness = topology.hybrid() ? -cpu.speed : 0;
    candidates.push_back({cpu.thread, slowness, turns[{cpu.node, {cpu.thread, slowness}}]++, cpu.node, cpu.id});
  }
  std::ranges::sort(candidates);
  std::map<int, std::vector<int>> picked;  // node -> CPUs
  for (size_t w = 0; w < seats.size(); ++w) picked[candidates[w].node].push_back(candidates[w].id);
  size_t at = 0;
  for (const auto& [node, cpus] : picked) {
    for (size_t i = 0; i < cpus.size(); ++i) seats[at++] = {node, cpus};
  }
  return seats;
}

int nodes_of(const std::vector<Seat>& seats) {
  std::set<int> nodes;
  for (const Seat& seat : seats) nodes.insert(seat.node);
  return std::max(1, static_cast<int>(nodes.size()));
}

Pinned::Pinned(const Seat& seat) {
  if (seat.cpus.empty()) return;
  before_ = allowed_cpus();
  if (set_affinity(seat.cpus)) thread_ = gettid();
}

Pinned::~Pinned() {
  if (thread_ != 0 && thread_ == gettid()) set_affinity(before_);
}

}  // namespace moiety
