// What the CPU can do, and how much of it this process may use.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace moiety {

// An instruction set counts only if the operating system saves its registers too (XCR0).
struct CpuFeatures {
  bool sse42 = false;
  bool avx2 = false;      // with fma, f16c and bmi2
  bool avx_vnni = false;  // 256-bit VEX dot products
  bool avx512 = false;    // f, bw, cd, dq, vl
  bool avx512_vnni = false;
  bool avx512_bf16 = false;
  bool amx = false;  // tiles, int8 and bf16, and the process may use the tile registers: asking is what permits it
  bool neon = false;
};

struct CpuInfo {
  std::string model;  // "AMD EPYC 9654 96-Core Processor"; "unknown" if it does not say
  CpuFeatures features;
};

CpuInfo cpu_info();

// The three limits on useful threads; each at least 1.
struct CpuLimits {
  int affinity = 1;     // logical CPUs that the affinity mask allows
  int quota = 1;        // cgroup CPU quota rounded up; as large as `affinity` if there is none
  int cores = 1;        // physical cores among the allowed CPUs
  int threads() const;  // the smallest
};

std::vector<int> allowed_cpus();  // the affinity mask, ascending

// `root` stands for "/" (a fixture tree in tests): reads proc/self/cgroup, sys/fs/cgroup (v1 and v2, with the limits of
// every parent) and sys/devices/system/cpu.
CpuLimits cpu_limits(const std::filesystem::path& root, const std::vector<int>& cpus);
CpuLimits cpu_limits();

}  // namespace moiety
