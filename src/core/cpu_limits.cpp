#include <sched.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <fstream>
#include <optional>
#include <set>
#include <sstream>
#include <utility>

#include "core/cpu_info.h"

namespace moiety {
namespace {

namespace fs = std::filesystem;

std::optional<std::string> first_line(const fs::path& path) {
  std::ifstream file(path);
  std::string line;
  if (!file || !std::getline(file, line)) return std::nullopt;
  return line;
}

std::optional<int64_t> integer(std::string_view text) {
  int64_t value;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (code != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// Quota over period, rounded up; nothing if there is no limit (-1, "max") or it makes no sense.
std::optional<int> cpus_of(std::optional<int64_t> quota, std::optional<int64_t> period) {
  if (!quota || !period || *quota <= 0 || *period <= 0) return std::nullopt;
  return static_cast<int>(std::min<int64_t>((*quota - 1) / *period + 1, 1 << 20));
}

std::optional<int> quota_v2(const fs::path& folder) {
  const auto line = first_line(folder / "cpu.max");
  if (!line) return std::nullopt;
  const size_t space = line->find(' ');
  if (space == std::string::npos) return std::nullopt;
  return cpus_of(integer(std::string_view(*line).substr(0, space)), integer(std::string_view(*line).substr(space + 1)));
}

std::optional<int> quota_v1(const fs::path& folder) {
  const auto quota = first_line(folder / "cpu.cfs_quota_us"), period = first_line(folder / "cpu.cfs_period_us");
  if (!quota || !period) return std::nullopt;
  return cpus_of(integer(*quota), integer(*period));
}

// The smallest limit of a group and its parents up to the mount. In a container the group's path may be that of the
// host and absent here: then the mount itself is the group.
template <class Read>
void lower_to_quota(int& limit, const fs::path& mount, const std::string& group, Read read) {
  std::vector<fs::path> folders{mount};
  std::istringstream parts(group);
  for (std::string part; std::getline(parts, part, '/');) {
    if (part == "..") {
      folders.resize(1);
      break;
    }
    if (!part.empty()) folders.push_back(folders.back() / part);
  }
  for (const fs::path& folder : folders) {
    if (const auto cpus = read(folder)) limit = std::min(limit, *cpus);
  }
}

int cgroup_quota(const fs::path& root, int limit) {
  const fs::path mount = root / "sys/fs/cgroup";
  std::ifstream file(root / "proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {  // "4:cpu,cpuacct:/group", version 2 "0::/group"
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1), group = line.substr(second + 1);
    if (controllers.empty()) {
      lower_to_quota(limit, mount, group, quota_v2);
      continue;
    }
    std::istringstream names(controllers);
    for (std::string name; std::getline(names, name, ',');) {
      if (name != "cpu") continue;
      lower_to_quota(limit, mount / "cpu", group, quota_v1);
      if (controllers != "cpu") lower_to_quota(limit, mount / controllers, group, quota_v1);
    }
  }
  return limit;
}

int physical_cores(const fs::path& root, const std::vector<int>& cpus) {
  std::set<std::pair<std::string, std::string>> cores;
  for (int cpu : cpus) {
    const fs::path topology = root / "sys/devices/system/cpu" / ("cpu" + std::to_string(cpu)) / "topology";
    const auto package = first_line(topology / "physical_package_id"), core = first_line(topology / "core_id");
    // A kernel that does not tell: each CPU counts as a core.
    if (package && core)
      cores.insert({*package, *core});
    else
      cores.insert({"cpu", std::to_string(cpu)});
  }
  return static_cast<int>(std::max<size_t>(cores.size(), 1));
}

}  // namespace

int CpuLimits::threads() const { return std::max(1, std::min({affinity, quota, cores})); }

std::vector<int> allowed_cpus() {
  // The kernel refuses a mask that is too short for the machine: try longer ones.
  for (int count = 1024; count <= (1 << 18); count *= 2) {
    cpu_set_t* set = CPU_ALLOC(count);
    if (!set) break;
    const size_t bytes = CPU_ALLOC_SIZE(count);
    std::vector<int> cpus;
    const bool known = sched_getaffinity(0, bytes, set) == 0;
    for (int i = 0; known && i < count; ++i) {
      if (CPU_ISSET_S(i, bytes, set)) cpus.push_back(i);
    }
    CPU_FREE(set);
    if (known && !cpus.empty()) return cpus;
  }
  return {0};
}

CpuLimits cpu_limits(const fs::path& root, const std::vector<int>& cpus) {
  CpuLimits limits;
  limits.affinity = std::max(1, static_cast<int>(cpus.size()));
  limits.quota = cgroup_quota(root, limits.affinity);
  limits.cores = physical_cores(root, cpus);
  return limits;
}

CpuLimits cpu_limits() { return cpu_limits("/", allowed_cpus()); }

}  // namespace moiety
