#include "simd/levels.h"

#include "core/error.h"

namespace moiety::simd {

#define MOIETY_DECLARE(level) \
  namespace level {           \
  Kernels kernels() noexcept; \
  }
#if defined(__x86_64__)
MOIETY_DECLARE(avx512_bf16)
MOIETY_DECLARE(avx512_vnni)
MOIETY_DECLARE(avx512)
MOIETY_DECLARE(avx2_vnni)
MOIETY_DECLARE(avx2)
MOIETY_DECLARE(sse4)
#elif defined(__aarch64__)
MOIETY_DECLARE(neon)
#endif
MOIETY_DECLARE(scalar)

namespace {
const std::vector<Level> kLevels = {
#if defined(__x86_64__)
    {"avx512_bf16", avx512_bf16::kernels,
     [](const CpuFeatures& c) { return c.avx512 && c.avx512_vnni && c.avx512_bf16; }},
    {"avx512_vnni", avx512_vnni::kernels, [](const CpuFeatures& c) { return c.avx512 && c.avx512_vnni; }},
    {"avx512", avx512::kernels, [](const CpuFeatures& c) { return c.avx512; }},
    {"avx2_vnni", avx2_vnni::kernels, [](const CpuFeatures& c) { return c.avx2 && c.avx_vnni; }},
    {"avx2", avx2::kernels, [](const CpuFeatures& c) { return c.avx2; }},
    {"sse4", sse4::kernels, [](const CpuFeatures& c) { return c.sse42; }},
#elif defined(__aarch64__)
    {"neon", neon::kernels, [](const CpuFeatures& c) { return c.neon; }},
#endif
    {"scalar", scalar::kernels, [](const CpuFeatures&) { return true; }},
};
}  // namespace

const std::vector<Level>& levels() { return kLevels; }

std::vector<const Level*> available_levels(const CpuFeatures& cpu) {
  std::vector<const Level*> available;
  for (const Level& level : kLevels) {
    if (level.runs_on(cpu)) available.push_back(&level);
  }
  return available;
}

const Level& choose_level(const CpuFeatures& cpu, std::string_view name) {
  if (name.empty()) return *available_levels(cpu).front();
  std::string known;
  for (const Level& level : kLevels) {
    if (level.name == name) {
      if (level.runs_on(cpu)) return level;
      fail(Status::kUnsupported, "SIMD level '{}': this CPU does not have it", name);
    }
    known += (known.empty() ? "" : ", ") + std::string(level.name);
  }
  fail(Status::kInvalidArgument, "SIMD level '{}' is unknown, expected one of: {}", printable(name), known);
}

}  // namespace moiety::simd
