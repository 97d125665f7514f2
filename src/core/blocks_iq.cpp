// IQ4_NL, IQ4_XS, MXFP4: four-bit codes into a table of unevenly spaced values.
#include "core/blocks_codec.h"

namespace moiety::codec {
namespace {

// 32 values from 16 bytes in halves.
void decode_table(const uint8_t* q, const int8_t* table, float scale, float* dst) {
  for (int i = 0; i < 16; ++i) {
    dst[i] = scale * static_cast<float>(table[q[i] & 15]);
    dst[i + 16] = scale * static_cast<float>(table[q[i] >> 4]);
  }
}

}  // namespace

void decode_block(const BlockIQ4_NL& block, float* dst) { decode_table(block.q, kIQ4Values, load_f16(block.d), dst); }

void decode_block(const BlockIQ4_XS& block, float* dst) {
  const float d = load_f16(block.d);
  for (int g = 0; g < 8; ++g) {
    decode_table(block.q + 16 * g, kIQ4Values, d * static_cast<float>(iq4_xs_scale(block, g)), dst + 32 * g);
  }
}

void decode_block(const BlockMXFP4& block, float* dst) { decode_table(block.q, kMXFP4Values, e8m0_half(block.e), dst); }

}  // namespace moiety::codec
