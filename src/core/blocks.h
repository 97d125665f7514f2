// Quantised block layouts, fp16/bf16 conversions, and the scalar codec of every type: what the SIMD kernels are
// checked against. Layouts are the bytes of GGUF files. Every field is a byte array, so a block may start at any
// address; functions here have internal linkage, so a file compiled for a newer CPU can't leak them to others.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/dtype.h"

namespace moiety {

// ---- 16-bit floats -------------------------------------------------------------------------------------------

// Exact. A signalling NaN becomes quiet, as the CPU's own conversion does.
static constexpr float f16_to_f32(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000u) << 16;
  const uint32_t exponent = (half >> 10) & 31u;
  const uint32_t mantissa = half & 0x3ffu;
  if (exponent == 31) {
    return __builtin_bit_cast(float, sign | 0x7f800000u | (mantissa << 13) | (mantissa ? 0x400000u : 0u));
  }
  if (exponent == 0) {  // zero or denormal: mantissa * 2^-24
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
    return __builtin_bit_cast(float, sign | __builtin_bit_cast(uint32_t, magnitude));
  }
  return __builtin_bit_cast(float, sign | ((exponent + 112) << 23) | (mantissa << 13));
}

// Round to nearest even; overflow becomes infinity, NaN a quiet NaN with the upper bits of its payload.
static constexpr uint16_t f32_to_f16(float value) {
  const uint32_t bits = __builtin_bit_cast(uint32_t, value);
  const uint32_t sign = (bits >> 16) & 0x8000u;
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return static_cast<uint16_t>(sign | 0x7e00u | ((magnitude >> 13) & 0x3ffu));
  if (magnitude >= 0x477ff000u) return static_cast<uint16_t>(sign | 0x7c00u);  // 65520 and above
  uint32_t half, rest, tie;
  if (magnitude >= 0x38800000u) {  // normal: drop 13 bits
    half = (magnitude - 0x38000000u) >> 13;
    rest = magnitude & 0x1fffu;
    tie = 0x1000u;
  } else {  // denormal: a multiple of 2^-24
    const uint32_t shift = 126 - (magnitude >> 23);
    if (shift > 24) return static_cast<uint16_t>(sign);
    const uint32_t mantissa = (magnitude & 0x7fffffu) | 0x800000u;
    half = mantissa >> shift;
    rest = mantissa & ((1u << shift) - 1);
    tie = 1u << (shift - 1);
  }
  if (rest > tie || (rest == tie && (half & 1))) ++half;
  return static_cast<uint16_t>(sign | half);
}

static constexpr float bf16_to_f32(uint16_t value) {
  return __builtin_bit_cast(float, static_cast<uint32_t>(value) << 16);
}

// Round to nearest even; NaN stays NaN (quiet).
static constexpr uint16_t f32_to_bf16(float value) {
  const uint32_t bits = __builtin_bit_cast(uint32_t, value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>((bits >> 16) | 0x40u);
  return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

// Little-endian loads and stores at any address.
static inline uint16_t load_u16(const void* at) {
  uint16_t value;
  __builtin_memcpy(&value, at, sizeof value);
  return value;
}
static inline uint32_t load_u32(const void* at) {
  uint32_t value;
  __builtin_memcpy(&value, at, sizeof value);
  return value;
}
static inline void store_u16(void* at, uint16_t value) { __builtin_memcpy(at, &value, sizeof value); }
static inline float load_f16(const void* at) { return f16_to_f32(load_u16(at)); }
static inline float load_bf16(const void* at) { return bf16_to_f32(load_u16(at)); }
static inline float load_f32(const void* at) {
  float value;
  __builtin_memcpy(&value, at, sizeof value);
  return value;
}

// ---- 32 values a block ---------------------------------------------------------------------------------------
// "Halves": byte i holds value i in its low nibble and value i + 16 in its high nibble. d, m are fp16.

struct BlockQ8_0 {  // d * q
  uint8_t d[2];
  int8_t q[32];
};
struct BlockQ4_0 {  // d * (q - 8), halves
  uint8_t d[2];
  uint8_t q[16];
};
struct BlockQ4_1 {  // d * q + m, halves
  uint8_t d[2];
  uint8_t m[2];
  uint8_t q[16];
};
struct BlockQ5_0 {  // d * (q - 16), low bits in halves, bit i of the little-endian word `high` is bit 4 of value i
  uint8_t d[2];
  uint8_t high[4];
  uint8_t q[16];
};
struct BlockQ5_1 {  // d * q + m, as Q5_0
  uint8_t d[2];
  uint8_t m[2];
  uint8_t high[4];
  uint8_t q[16];
};
struct BlockIQ4_NL {  // d * kIQ4Values[q], halves
  uint8_t d[2];
  uint8_t q[16];
};
struct BlockMXFP4 {  // e8m0_half(e) * kMXFP4Values[q], halves
  uint8_t e;
  uint8_t q[16];
};

// ---- 256 values a block --------------------------------------------------------------------------------------

// 16 groups of 16: d * (scales & 15) * q - dmin * (scales >> 4). Values 128n + 32s + l (s < 4, l < 32) lie in byte
// 32n + l, bits 2s and 2s + 1.
struct BlockQ2_K {
  uint8_t scales[16];
  uint8_t q[64];
  uint8_t d[2];
  uint8_t dmin[2];
};
// 16 groups of 16: d * (scale - 32) * (q - 4), scales of 6 bits (unpack_q3_scales); low two bits as Q2_K; bit 2 of
// value 32i + l is bit i of high[l].
struct BlockQ3_K {
  uint8_t high[32];
  uint8_t q[64];
  uint8_t scales[12];
  uint8_t d[2];
};
// 8 groups of 32: d * scale * q - dmin * min, scales and minima of 6 bits (unpack_k_scales). Values 64n + l and
// 64n + 32 + l (l < 32) are the low and high nibble of byte 32n + l.
struct BlockQ4_K {
  uint8_t d[2];
  uint8_t dmin[2];
  uint8_t scales[12];
  uint8_t q[128];
};
// As Q4_K; bit 4 of value 32i + l is bit i of high[l].
struct BlockQ5_K {
  uint8_t d[2];
  uint8_t dmin[2];
  uint8_t scales[12];
  uint8_t high[32];
  uint8_t q[128];
};
// 16 groups of 16: d * scale * (q - 32). In each half (128 values) of `low` (64 bytes) and `high` (32 bytes): values
// 32s + l have their low nibble in byte 32(s % 2) + l (high nibble of the byte for s >= 2), bits 4 and 5 in
// bits 2s and 2s + 1 of byte l.
struct BlockQ6_K {
  uint8_t low[128];
  uint8_t high[64];
  int8_t scales[16];
  uint8_t d[2];
};
// 8 groups of 32: d * (scale - 32) * kIQ4Values[q]; scale: 4 bits in nibble i of scales_low, 2 in bits 2i of
// scales_high. Each group is 16 bytes in halves.
struct BlockIQ4_XS {
  uint8_t d[2];
  uint8_t scales_high[2];
  uint8_t scales_low[4];
  uint8_t q[128];
};

static_assert(sizeof(BlockQ8_0) == 34 && sizeof(BlockQ4_0) == 18 && sizeof(BlockQ4_1) == 20);
static_assert(sizeof(BlockQ5_0) == 22 && sizeof(BlockQ5_1) == 24 && sizeof(BlockIQ4_NL) == 18);
static_assert(sizeof(BlockMXFP4) == 17 && sizeof(BlockQ2_K) == 84 && sizeof(BlockQ3_K) == 110);
static_assert(sizeof(BlockQ4_K) == 144 && sizeof(BlockQ5_K) == 176 && sizeof(BlockQ6_K) == 210);
static_assert(sizeof(BlockIQ4_XS) == 136 && alignof(BlockQ6_K) == 1);

// Tables of the codes that are not linear. MXFP4's are doubled (its scale is halved), so they are integers.
inline constexpr int8_t kIQ4Values[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
inline constexpr int8_t kMXFP4Values[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

// Half of the power of two that an E8M0 exponent means: 2^(e - 128), a denormal for e < 2.
static constexpr float e8m0_half(uint8_t e) {
  return __builtin_bit_cast(float, e < 2 ? 0x00200000u << e : static_cast<uint32_t>(e - 1) << 23);
}

// The 8 scales and 8 minima (0..63) of Q4_K and Q5_K.
static inline void unpack_k_scales(const uint8_t packed[12], uint8_t scale[8], uint8_t min[8]) {
  for (int i = 0; i < 4; ++i) {
    scale[i] = packed[i] & 63;
    min[i] = packed[i + 4] & 63;
    scale[i + 4] = static_cast<uint8_t>((packed[i + 8] & 15) | ((packed[i] >> 6) << 4));
    min[i + 4] = static_cast<uint8_t>((packed[i + 8] >> 4) | ((packed[i + 4] >> 6) << 4));
  }
}

// The 16 scales of Q3_K, offset removed (-32..31).
static inline void unpack_q3_scales(const uint8_t packed[12], int8_t scale[16]) {
  for (int i = 0; i < 16; ++i) {
    const int low = i < 8 ? packed[i] & 15 : packed[i - 8] >> 4;
    const int high = (packed[8 + i % 4] >> (2 * (i / 4))) & 3;
    scale[i] = static_cast<int8_t>((low | (high << 4)) - 32);
  }
}

// The scale of group i (0..7) of IQ4_XS, offset removed (-32..31).
static inline int iq4_xs_scale(const BlockIQ4_XS& block, int i) {
  const int low = (block.scales_low[i / 2] >> (4 * (i % 2))) & 15;
  const int high = (load_u16(block.scales_high) >> (2 * i)) & 3;
  return (low | (high << 4)) - 32;
}

// ---- the scalar codec ----------------------------------------------------------------------------------------

// Decodes `count` values (a multiple of the type's block) to f32, exactly as the `gguf` Python package does, bit for
// bit. src may start at any byte. Types: all but I32 (Error kUnsupported).
void decode(DType type, const void* src, float* dst, int64_t count);

// Types that encode() writes: F32, F16, BF16, Q8_0, Q4_0, Q4_K, Q6_K.
bool can_encode(DType type);

// Encodes `count` values (a multiple of the block); the quantised types give the bytes that llama.cpp's quantiser
// gives without an importance matrix. A value that is not finite, or too large for the type's fp16 scale, is
// Error kNumeric for a quantised type; a type that can't be encoded is kUnsupported.
void encode(DType type, const float* src, void* dst, int64_t count);

}  // namespace moiety
