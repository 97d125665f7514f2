#include "simd/level.h"

namespace moiety::simd::MOIETY_LEVEL {

#define MOIETY_TEXT_(x) #x
#define MOIETY_TEXT(x) MOIETY_TEXT_(x)

Kernels kernels() noexcept;
Kernels kernels() noexcept {
  Kernels table{};
  table.level = MOIETY_TEXT(MOIETY_LEVEL);
  fill_int8_a(table);
  fill_int8_b(table);
  fill_panels(table);
  fill_float(table);
  fill_float_panels(table);
  fill_rows(table);
  return table;
}

}  // namespace moiety::simd::MOIETY_LEVEL
