#include "core/cpu_info.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include <cstdint>
#include <cstring>
#include <fstream>

namespace moiety {

#if defined(__x86_64__)
namespace {

struct Registers {
  uint32_t a = 0, b = 0, c = 0, d = 0;
};

Registers cpuid(uint32_t leaf, uint32_t subleaf = 0) {
  Registers r;
  if (!__get_cpuid_count(leaf, subleaf, &r.a, &r.b, &r.c, &r.d)) return {};
  return r;
}

bool bit(uint32_t value, int index) { return (value >> index) & 1u; }

// Which register states the operating system saves. Needs OSXSAVE.
uint32_t xcr0() {
  uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return low;
}

// The tile registers are 8 KiB a thread, which Linux saves only for processes that have asked for them.
bool permit_tiles() {
  constexpr long kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, the state's number
  return ::syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

CpuFeatures x86_features() {
  CpuFeatures f;
  const Registers one = cpuid(1), seven = cpuid(7), seven_one = seven.a >= 1 ? cpuid(7, 1) : Registers{};
  f.sse42 = bit(one.c, 20);
  const uint32_t saved = bit(one.c, 27) ? xcr0() : 0;
  const bool ymm = (saved & 0x6) == 0x6, zmm = (saved & 0xE6) == 0xE6;
  f.avx2 = ymm && bit(one.c, 28) && bit(one.c, 12) && bit(one.c, 29) && bit(seven.b, 5) && bit(seven.b, 8);
  f.avx_vnni = f.avx2 && bit(seven_one.a, 4);
  f.avx512 =
      f.avx2 && zmm && bit(seven.b, 16) && bit(seven.b, 17) && bit(seven.b, 28) && bit(seven.b, 30) && bit(seven.b, 31);
  f.avx512_vnni = f.avx512 && bit(seven.c, 11);
  f.avx512_bf16 = f.avx512 && bit(seven_one.a, 5);
  f.amx = bit(seven.d, 22) && bit(seven.d, 24) && bit(seven.d, 25) && (saved & 0x60000) == 0x60000 && permit_tiles();
  return f;
}

std::string x86_model() {
  if (cpuid(0x80000000u).a < 0x80000004u) return "";
  char name[49] = {};
  for (uint32_t i = 0; i < 3; ++i) {
    const Registers r = cpuid(0x80000002u + i);
    std::memcpy(name + 16 * i, &r, 16);
  }
  return name;
}

}  // namespace
#endif

CpuInfo cpu_info() {
  CpuInfo info;
#if defined(__x86_64__)
  info.features = x86_features();
  info.model = x86_model();
#else
#if defined(__aarch64__)
  info.features.neon = true;
#endif
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("model name") && line.find(':') != std::string::npos) {
      info.model = line.substr(line.find(':') + 1);
      break;
    }
  }
#endif
  const size_t first = info.model.find_first_not_of(' '), last = info.model.find_last_not_of(' ');
  info.model = first == std::string::npos ? "unknown" : info.model.substr(first, last - first + 1);
  return info;
}

}  // namespace moiety
