// Rows of any quantised type: random codes under sane scales.
#pragma once

#include <cstdint>
#include <random>
#include <vector>

#include "core/blocks.h"

namespace moiety {

// Where the fp16 (or e8m0) scales of a block lie, so that random bytes get sane ones.
inline std::vector<size_t> scale_offsets(DType type) {
  switch (type) {
    case DType::kQ4_1:
    case DType::kQ5_1:
    case DType::kQ4_K:
    case DType::kQ5_K:
      return {0, 2};
    case DType::kQ2_K:
      return {80, 82};
    case DType::kQ3_K:
      return {108};
    case DType::kQ6_K:
      return {208};
    default:
      return {0};
  }
}

inline std::vector<uint8_t> random_rows(DType type, int64_t rows, int64_t k, std::mt19937& rng) {
  std::vector<uint8_t> bytes(static_cast<size_t>(rows) * dtype_bytes(type, k) + 1);  // + 1: used at an odd address
  for (auto& byte : bytes) byte = static_cast<uint8_t>(rng());
  const DTypeInfo& info = dtype_info(type);
  std::uniform_real_distribution<float> scale(0.001f, 0.02f);
  for (size_t at = 1; at + info.bytes <= bytes.size(); at += info.bytes) {
    if (type == DType::kMXFP4) {
      bytes[at] = static_cast<uint8_t>(120 + rng() % 4);
      continue;
    }
    for (size_t offset : scale_offsets(type))
      store_u16(&bytes[at + offset], f32_to_f16(rng() % 2 ? scale(rng) : -scale(rng)));
  }
  return bytes;
}

}  // namespace moiety
