#include "simd/levels.h"

#include "core/error.h"

namespace moiety::simd {

// The build names its levels, best first: X(avx2) X(scalar).
#define X(level)              \
  namespace level {           \
  Kernels kernels() noexcept; \
  }
MOIETY_SIMD_LEVELS
#undef X

namespace {
using RunsOn = bool (*)(const CpuFeatures&);

consteval RunsOn runs_on(std::string_view level) {
  if (level == "avx512_amx") return [](const CpuFeatures& c) { return c.avx512 && c.avx512_vnni && c.amx; };
  if (level == "avx512_bf16") return [](const CpuFeatures& c) { return c.avx512 && c.avx512_vnni && c.avx512_bf16; };
  if (level == "avx512_vnni") return [](const CpuFeatures& c) { return c.avx512 && c.avx512_vnni; };
  if (level == "avx512") return [](const CpuFeatures& c) { return c.avx512; };
  if (level == "avx2_vnni") return [](const CpuFeatures& c) { return c.avx2 && c.avx_vnni; };
  if (level == "avx2") return [](const CpuFeatures& c) { return c.avx2; };
  if (level == "sse4") return [](const CpuFeatures& c) { return c.sse42; };
  if (level == "neon") return [](const CpuFeatures& c) { return c.neon; };
  if (level == "scalar") return [](const CpuFeatures&) { return true; };
  throw "a level that has no condition: does not compile";
}

#define X(level) {#level, level::kernels, runs_on(#level)},
const std::vector<Level> kLevels = {MOIETY_SIMD_LEVELS};
#undef X
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
