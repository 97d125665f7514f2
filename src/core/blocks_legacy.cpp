// Q8_0, Q4_0, Q4_1, Q5_0, Q5_1: 32 values a block, one fp16 scale, some with an fp16 minimum.
#include <cmath>

#include "core/blocks_codec.h"

namespace moiety::codec {
namespace {

// Nibble of value i where byte i holds values i and i + 16.
int nibble(const uint8_t* q, int i) { return i < 16 ? q[i] & 15 : q[i - 16] >> 4; }

int five_bits(const uint8_t* q, uint32_t high, int i) {
  return nibble(q, i) | static_cast<int>(((high >> i) & 1u) << 4);
}

// 1 / d, or 0 where d is too small to have a finite reciprocal (its fp16 is 0 then, so codes do not matter).
float reciprocal(float d) {
  const float inverse = d != 0.0f ? 1.0f / d : 0.0f;
  return std::isfinite(inverse) ? inverse : 0.0f;
}

}  // namespace

void decode_block(const BlockQ8_0& block, float* dst) {
  const float d = load_f16(block.d);
  for (int i = 0; i < 32; ++i) dst[i] = d * static_cast<float>(block.q[i]);
}

void decode_block(const BlockQ4_0& block, float* dst) {
  const float d = load_f16(block.d);
  for (int i = 0; i < 32; ++i) dst[i] = d * static_cast<float>(nibble(block.q, i) - 8);
}

void decode_block(const BlockQ4_1& block, float* dst) {
  const float d = load_f16(block.d);
  const float m = load_f16(block.m);
  for (int i = 0; i < 32; ++i) dst[i] = d * static_cast<float>(nibble(block.q, i)) + m;
}

void decode_block(const BlockQ5_0& block, float* dst) {
  const float d = load_f16(block.d);
  const uint32_t high = load_u32(block.high);
  for (int i = 0; i < 32; ++i) dst[i] = d * static_cast<float>(five_bits(block.q, high, i) - 16);
}

void decode_block(const BlockQ5_1& block, float* dst) {
  const float d = load_f16(block.d);
  const float m = load_f16(block.m);
  const uint32_t high = load_u32(block.high);
  for (int i = 0; i < 32; ++i) dst[i] = d * static_cast<float>(five_bits(block.q, high, i)) + m;
}

void encode_block(const float* src, BlockQ8_0& block) {
  float largest = 0.0f;
  for (int i = 0; i < 32; ++i) largest = std::fmax(largest, std::fabs(src[i]));
  const float d = largest / 127.0f;
  const float inverse = reciprocal(d);
  store_scale(block.d, d);
  // Halves go away from zero here, as in llama.cpp; |src * inverse| can't round past 127.
  for (int i = 0; i < 32; ++i) block.q[i] = static_cast<int8_t>(std::round(src[i] * inverse));
}

void encode_block(const float* src, BlockQ4_0& block) {
  const float extreme = extreme_of<32>(src);  // becomes code 0
  const float d = extreme / -8.0f;
  const float inverse = reciprocal(d);
  store_scale(block.d, d);
  auto code = [inverse](float value) {
    const int q = static_cast<int>(value * inverse + 8.5f);
    return q < 15 ? q : 15;
  };
  for (int i = 0; i < 16; ++i) block.q[i] = static_cast<uint8_t>(code(src[i]) | (code(src[i + 16]) << 4));
}

}  // namespace moiety::codec
