// The SIMD levels that this build has, best first, and the choice among them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/cpu_info.h"
#include "simd/kernels.h"

namespace moiety::simd {

struct Level {
  const char* name;  // what MOIETY_SIMD names: "avx512_vnni"
  Kernels (*kernels)() noexcept;
  bool (*runs_on)(const CpuFeatures&);
};

const std::vector<Level>& levels();
std::vector<const Level*> available_levels(const CpuFeatures& cpu);  // that this CPU runs, best first

// The best level for the CPU, or the one named. Throws Error kInvalidArgument for an unknown name, kUnsupported for one
// that the CPU does not have.
const Level& choose_level(const CpuFeatures& cpu, std::string_view name);

}  // namespace moiety::simd
