// Element types of tensors. A quantised type stores `block` values in `bytes` bytes (layouts: blocks.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace moiety {

enum class DType : uint8_t {
  kF32, kF16, kBF16, kI32,
  kQ8_0, kQ4_0, kQ4_1, kQ5_0, kQ5_1,
  kQ2_K, kQ3_K, kQ4_K, kQ5_K, kQ6_K,
  kIQ4_NL, kIQ4_XS, kMXFP4,
};
inline constexpr int kDTypeCount = 17;

struct DTypeInfo {
  const char* name;  // as llama.cpp spells it in lower case: "q4_0", "bf16"
  uint32_t block;    // values in a block, 1 for plain types
  uint32_t bytes;    // bytes of a block
};

const DTypeInfo& dtype_info(DType type);
std::optional<DType> dtype_from_name(std::string_view name);  // case-insensitive

inline bool is_quantised(DType type) { return dtype_info(type).block > 1; }

// Bytes of `count` values; count must be a multiple of the block.
inline size_t dtype_bytes(DType type, int64_t count) {
  const DTypeInfo& info = dtype_info(type);
  return static_cast<size_t>(count) / info.block * info.bytes;
}

}  // namespace moiety
