// Every SIMD level that this CPU runs, as a backend.
#pragma once

#include <memory>
#include <vector>

#include "core/cpu_info.h"
#include "simd/backend.h"
#include "simd/levels.h"

namespace moiety::test {

inline std::vector<std::unique_ptr<SimdBackend>> simd_backends() {
  std::vector<std::unique_ptr<SimdBackend>> backends;
  for (const simd::Level* level : simd::available_levels(cpu_info().features))
    backends.push_back(std::make_unique<SimdBackend>(level->name));
  return backends;
}

}  // namespace moiety::test
