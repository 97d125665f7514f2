// The quantised types that have panels.
#include "simd/level.h"
#include "simd/panels-inl.h"

namespace moiety::simd::MOIETY_LEVEL {

void fill_panels(Kernels& table) noexcept {
  const auto set = [&]<class P>(P) {
    table.panels[static_cast<int>(P::kType)] = {panel_gemv<P>, panel_unpack<P>, nullptr, panel_gemm<P>};
  };
  set(PanelsQ8_0());
  set(PanelsQ4_0());
  set(PanelsMXFP4());
  set(PanelsQ4_K());
  set(PanelsQ5_K());
  set(PanelsQ6_K());
}

}  // namespace moiety::simd::MOIETY_LEVEL
