// The K-quants, the code-book types and MXFP4.
#include "simd/int8_gemm-inl.h"
#include "simd/level.h"

namespace moiety::simd::MOIETY_LEVEL {

void fill_int8_b(Kernels& table) noexcept {
  const auto set = [&](DType type, Int8Kernels kernels) { table.int8[static_cast<int>(type)] = kernels; };
  set(DType::kQ2_K, int8_kernels<TypeQ2_K>());
  set(DType::kQ3_K, int8_kernels<TypeQ3_K>());
  set(DType::kQ4_K, int8_kernels<TypeQ4_K>());
  set(DType::kQ5_K, int8_kernels<TypeQ5_K>());
  set(DType::kQ6_K, int8_kernels<TypeQ6_K>());
  set(DType::kIQ4_NL, int8_kernels<TypeIQ4_NL>());
  set(DType::kIQ4_XS, int8_kernels<TypeIQ4_XS>());
  set(DType::kMXFP4, int8_kernels<TypeMXFP4>());
}

}  // namespace moiety::simd::MOIETY_LEVEL
