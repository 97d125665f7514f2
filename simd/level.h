// What each kernel file of a level adds to its table.
#pragma once

#include "simd/kernels.h"

namespace moiety::simd::MOIETY_LEVEL {

void fill_int8_a(Kernels& table) noexcept;
void fill_int8_b(Kernels& table) noexcept;
void fill_panels(Kernels& table) noexcept;
void fill_float_panels(Kernels& table) noexcept;  // after fill_float
void fill_float(Kernels& table) noexcept;
void fill_rows(Kernels& table) noexcept;

}  // namespace moiety::simd::MOIETY_LEVEL
