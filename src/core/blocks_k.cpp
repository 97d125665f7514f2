// Decoding of the K types: 256 values a block, an fp16 scale of the block and small integer scales of its groups.
#include "core/blocks_codec.h"

namespace moiety::codec {
namespace {

// The two bits of value i in Q2_K and Q3_K.
int two_bits(const uint8_t* q, int i) {
  const int half = i / 128, group = (i / 32) % 4, lane = i % 32;
  return (q[32 * half + lane] >> (2 * group)) & 3;
}

// The nibble of value i in Q4_K and Q5_K.
int k_nibble(const uint8_t* q, int i) {
  const int byte = 32 * (i / 64) + i % 32;
  return (i / 32) % 2 ? q[byte] >> 4 : q[byte] & 15;
}

int q6_code(const BlockQ6_K& block, int i) {
  const int half = i / 128, group = (i / 32) % 4, lane = i % 32;
  const uint8_t low = block.low[64 * half + 32 * (group % 2) + lane];
  const int high = (block.high[32 * half + lane] >> (2 * group)) & 3;
  return (group < 2 ? low & 15 : low >> 4) | (high << 4);
}

}  // namespace

void decode_block(const BlockQ2_K& block, float* dst) {
  const float d = load_f16(block.d);
  const float dmin = load_f16(block.dmin);
  for (int g = 0; g < 16; ++g) {
    const float scale = d * static_cast<float>(block.scales[g] & 15);
    const float min = dmin * static_cast<float>(block.scales[g] >> 4);
    for (int i = 16 * g; i < 16 * g + 16; ++i) dst[i] = scale * static_cast<float>(two_bits(block.q, i)) - min;
  }
}

void decode_block(const BlockQ3_K& block, float* dst) {
  const float d = load_f16(block.d);
  int8_t scales[16];
  unpack_q3_scales(block.scales, scales);
  for (int g = 0; g < 16; ++g) {
    const float scale = d * static_cast<float>(scales[g]);
    for (int i = 16 * g; i < 16 * g + 16; ++i) {
      const int high = (block.high[i % 32] >> (i / 32)) & 1;
      dst[i] = scale * static_cast<float>((two_bits(block.q, i) | (high << 2)) - 4);
    }
  }
}

void decode_block(const BlockQ4_K& block, float* dst) {
  const float d = load_f16(block.d);
  const float dmin = load_f16(block.dmin);
  uint8_t scales[8], mins[8];
  unpack_k_scales(block.scales, scales, mins);
  for (int g = 0; g < 8; ++g) {
    const float scale = d * static_cast<float>(scales[g]);
    const float min = dmin * static_cast<float>(mins[g]);
    for (int i = 32 * g; i < 32 * g + 32; ++i) dst[i] = scale * static_cast<float>(k_nibble(block.q, i)) - min;
  }
}

void decode_block(const BlockQ5_K& block, float* dst) {
  const float d = load_f16(block.d);
  const float dmin = load_f16(block.dmin);
  uint8_t scales[8], mins[8];
  unpack_k_scales(block.scales, scales, mins);
  for (int g = 0; g < 8; ++g) {
    const float scale = d * static_cast<float>(scales[g]);
    const float min = dmin * static_cast<float>(mins[g]);
    for (int i = 32 * g; i < 32 * g + 32; ++i) {
      const int high = (block.high[i % 32] >> g) & 1;
      dst[i] = scale * static_cast<float>(k_nibble(block.q, i) | (high << 4)) - min;
    }
  }
}

void decode_block(const BlockQ6_K& block, float* dst) {
  const float d = load_f16(block.d);
  for (int g = 0; g < 16; ++g) {
    const float scale = d * static_cast<float>(block.scales[g]);
    for (int i = 16 * g; i < 16 * g + 16; ++i) dst[i] = scale * static_cast<float>(q6_code(block, i) - 32);
  }
}

}  // namespace moiety::codec
