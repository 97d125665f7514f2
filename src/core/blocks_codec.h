// The functions behind decode() and encode(), one pair a type; private to src/core/blocks*.cpp.
#pragma once

#include "core/blocks.h"
#include "core/error.h"

namespace moiety::codec {

// One block each; T is the block's struct.
void decode_block(const BlockQ8_0& block, float* dst);
void decode_block(const BlockQ4_0& block, float* dst);
void decode_block(const BlockQ4_1& block, float* dst);
void decode_block(const BlockQ5_0& block, float* dst);
void decode_block(const BlockQ5_1& block, float* dst);
void decode_block(const BlockQ2_K& block, float* dst);
void decode_block(const BlockQ3_K& block, float* dst);
void decode_block(const BlockQ4_K& block, float* dst);
void decode_block(const BlockQ5_K& block, float* dst);
void decode_block(const BlockQ6_K& block, float* dst);
void decode_block(const BlockIQ4_NL& block, float* dst);
void decode_block(const BlockIQ4_XS& block, float* dst);
void decode_block(const BlockMXFP4& block, float* dst);

// src is finite.
void encode_block(const float* src, BlockQ8_0& block);
void encode_block(const float* src, BlockQ4_0& block);
void encode_block(const float* src, BlockQ4_K& block);
void encode_block(const float* src, BlockQ6_K& block);

// Stores a scale as fp16; throws kNumeric where that is infinite.
inline void store_scale(uint8_t at[2], float scale) {
  const uint16_t half = f32_to_f16(scale);
  if ((half & 0x7c00) == 0x7c00) {
    fail(Status::kNumeric, "encode: expected values whose block scale fits fp16, got a scale of {}", scale);
  }
  store_u16(at, half);
}

// The value of largest magnitude, the first of equals. The magnitude has a variable of its own: clang 19 at -O3 gives
// wrong results for `if (fabs(x[i]) > fabs(extreme)) extreme = x[i]` over 16 values (seen; -O2 and g++ 12 are right).
template <int kCount>
inline float extreme_of(const float* x) {
  float extreme = 0.0f, magnitude = 0.0f;
  for (int i = 0; i < kCount; ++i) {
    const float here = __builtin_fabsf(x[i]);
    if (here > magnitude) {
      magnitude = here;
      extreme = x[i];
    }
  }
  return extreme;
}

// Rounds to the nearest integer (ties to even) inside [low, high]; NaN gives low.
inline int round_into(float value, int low, int high) {
  if (!(value > static_cast<float>(low))) return low;
  if (value >= static_cast<float>(high)) return high;
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: the sum has no fraction bits left
  return static_cast<int>((value + kRound) - kRound);
}

}  // namespace moiety::codec
