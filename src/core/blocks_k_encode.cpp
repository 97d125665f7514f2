// Encoding of Q4_K and Q6_K: a search for the group scales of least weighted squared error, then for the block's.
// The order of every float operation is part of the contract: files come out byte for byte as llama.cpp's quantiser
// writes them (ggml's make_qkx2_quants and make_qx_quants were read to learn that order).
#include <cmath>
#include <cstring>

#include "core/blocks_codec.h"

namespace moiety::codec {
namespace {

constexpr float kTiny = 1e-15f;  // a group whose largest magnitude is below is all zero

// x is about scale * code - min with 0 <= code <= 15, for a group of 32.
struct Affine {
  float scale;
  float min;
};

// Codes of a group for an inverse step, and the weighted sums that the least-squares fit needs.
struct AffineSums {
  float l = 0, l2 = 0, xl = 0;
};

AffineSums affine_codes(const float* x, const float* weight, float inverse, float low, uint8_t* codes) {
  AffineSums sums;
  for (int i = 0; i < 32; ++i) {
    const int code = round_into(inverse * (x[i] - low), 0, 15);
    codes[i] = static_cast<uint8_t>(code);
    const float l = static_cast<float>(code);
    sums.l += weight[i] * l;
    sums.l2 += weight[i] * l * l;
    sums.xl += weight[i] * l * x[i];
  }
  return sums;
}

float affine_error(const float* x, const float* weight, const uint8_t* codes, float scale, float low) {
  float error = 0;
  for (int i = 0; i < 32; ++i) {
    const float diff = scale * static_cast<float>(codes[i]) + low - x[i];
    error += weight[i] * (diff * diff);
  }
  return error;
}

// Tries 21 step sizes around (max - min) / 15, refits scale and minimum to each one's codes, keeps the best.
Affine fit_affine(const float* x, const float* weight, uint8_t* codes) {
  float low = x[0], high = x[0];
  float sum_w = weight[0], sum_x = weight[0] * x[0];
  for (int i = 1; i < 32; ++i) {
    if (x[i] < low) low = x[i];
    if (x[i] > high) high = x[i];
    sum_w += weight[i];
    sum_x += weight[i] * x[i];
  }
  if (low > 0) low = 0;
  if (high == low) {
    std::memset(codes, 0, 32);
    return {0.0f, -low};
  }
  const float range = high - low;
  const float first = 15.0f / range;
  affine_codes(x, weight, first, low, codes);
  float scale = 1.0f / first;
  float best = affine_error(x, weight, codes, scale, low);
  for (int step = 0; step <= 20; ++step) {
    uint8_t trial[32];
    const float inverse = (-1.0f + 0.1f * static_cast<float>(step) + 15.0f) / (high - low);
    const AffineSums sums = affine_codes(x, weight, inverse, low, trial);
    const float determinant = sum_w * sums.l2 - sums.l * sums.l;
    if (!(determinant > 0)) continue;
    float trial_scale = (sum_w * sums.xl - sum_x * sums.l) / determinant;
    float trial_low = (sums.l2 * sum_x - sums.l * sums.xl) / determinant;
    if (trial_low > 0) {
      trial_low = 0;
      trial_scale = sums.xl / sums.l2;
    }
    const float error = affine_error(x, weight, trial, trial_scale, trial_low);
    if (error < best) {
      std::memcpy(codes, trial, 32);
      best = error;
      scale = trial_scale;
      low = trial_low;
    }
  }
  return {scale, -low};
}

// A 6-bit group scale. A negative one (a fit can give it) counts as the largest, as a byte that wrapped would.
int six_bits(float value) {
  const int rounded = round_into(value, -255, 64);
  return rounded < 0 || rounded > 63 ? 63 : rounded;
}

void pack_k_scales(const int scale[8], const int min[8], uint8_t packed[12]) {
  for (int i = 0; i < 4; ++i) {
    packed[i] = static_cast<uint8_t>(scale[i] | ((scale[i + 4] >> 4) << 6));
    packed[i + 4] = static_cast<uint8_t>(min[i] | ((min[i + 4] >> 4) << 6));
    packed[i + 8] = static_cast<uint8_t>((scale[i + 4] & 15) | ((min[i + 4] & 15) << 4));
  }
}

// Codes of 16 values with |code| <= 32 and the sums of the fit scale = sum(w x l) / sum(w l l), w = x^2.
struct SymmetricSums {
  float xl = 0, l2 = 0;
};

SymmetricSums symmetric_codes(const float* x, float inverse, uint8_t* codes) {
  SymmetricSums sums;
  for (int i = 0; i < 16; ++i) {
    const int code = round_into(inverse * x[i], -32, 31);
    codes[i] = static_cast<uint8_t>(code + 32);
    const float l = static_cast<float>(code);
    const float w = x[i] * x[i];
    sums.xl += w * x[i] * l;
    sums.l2 += w * l * l;
  }
  return sums;
}

// The scale of 16 values, after trying 19 step sizes around the one that maps the largest magnitude to -32.
float fit_symmetric(const float* x, uint8_t* codes) {
  const float extreme = extreme_of<16>(x);
  if (std::fabs(extreme) < kTiny) {
    std::memset(codes, 0, 16);
    return 0;
  }
  SymmetricSums sums = symmetric_codes(x, -32.0f / extreme, codes);
  float scale = sums.l2 != 0 ? sums.xl / sums.l2 : 0.0f;
  float best = scale * sums.xl;
  for (int step = -9; step <= 9; ++step) {
    if (step == 0) continue;
    uint8_t trial[16];
    sums = symmetric_codes(x, -(32.0f + 0.1f * static_cast<float>(step)) / extreme, trial);
    if (sums.l2 > 0 && sums.xl * sums.xl > best * sums.l2) {
      std::memcpy(codes, trial, 16);
      scale = sums.xl / sums.l2;
      best = scale * sums.xl;
    }
  }
  return scale;
}

void pack_q6(const uint8_t codes[256], BlockQ6_K& block) {
  for (int half = 0; half < 2; ++half) {
    const uint8_t* c = codes + 128 * half;
    for (int l = 0; l < 32; ++l) {
      block.low[64 * half + l] = static_cast<uint8_t>((c[l] & 15) | ((c[l + 64] & 15) << 4));
      block.low[64 * half + 32 + l] = static_cast<uint8_t>((c[l + 32] & 15) | ((c[l + 96] & 15) << 4));
      block.high[32 * half + l] = static_cast<uint8_t>((c[l] >> 4) | ((c[l + 32] >> 4) << 2) | ((c[l + 64] >> 4) << 4) |
                                                       ((c[l + 96] >> 4) << 6));
    }
  }
}

// Scale and minimum of each group of 32, weighted by mean magnitude + |x|; first codes.
void fit_groups(const float* src, Affine groups[8], uint8_t codes[256]) {
  for (int g = 0; g < 8; ++g) {
    const float* x = src + 32 * g;
    float sum_x2 = 0;
    for (int i = 0; i < 32; ++i) sum_x2 += x[i] * x[i];
    const float mean = std::sqrt(sum_x2 / 32.0f);
    float weight[32];
    for (int i = 0; i < 32; ++i) weight[i] = mean + std::fabs(x[i]);
    groups[g] = fit_affine(x, weight, codes + 32 * g);
  }
}

}  // namespace

void encode_block(const float* src, BlockQ4_K& block) {
  uint8_t codes[256];
  Affine groups[8];
  fit_groups(src, groups, codes);
  float max_scale = 0, max_min = 0;
  for (const Affine& group : groups) {
    if (group.scale > max_scale) max_scale = group.scale;
    if (group.min > max_min) max_min = group.min;
  }
  const float inverse_scale = max_scale > 0 ? 63.0f / max_scale : 0.0f;
  const float inverse_min = max_min > 0 ? 63.0f / max_min : 0.0f;
  int scales[8], mins[8];
  for (int g = 0; g < 8; ++g) {
    scales[g] = six_bits(inverse_scale * groups[g].scale);
    mins[g] = six_bits(inverse_min * groups[g].min);
  }
  pack_k_scales(scales, mins, block.scales);
  store_scale(block.d, max_scale / 63.0f);
  store_scale(block.dmin, max_min / 63.0f);

  for (int g = 0; g < 8; ++g) {  // final codes, for the scales as stored; a zero scale keeps the codes of the fit
    const float d = load_f16(block.d) * static_cast<float>(scales[g]);
    if (d == 0) continue;
    const float min = load_f16(block.dmin) * static_cast<float>(mins[g]);
    for (int i = 32 * g; i < 32 * g + 32; ++i) codes[i] = static_cast<uint8_t>(round_into((src[i] + min) / d, 0, 15));
  }
  for (int i = 0; i < 128; ++i) {
    const int first = 64 * (i / 32) + i % 32;
    block.q[i] = static_cast<uint8_t>(codes[first] | (codes[first + 32] << 4));
  }
}

void encode_block(const float* src, BlockQ6_K& block) {
  uint8_t codes[256];
  float scales[16];
  for (int g = 0; g < 16; ++g) scales[g] = fit_symmetric(src + 16 * g, codes + 16 * g);
  const float extreme = extreme_of<16>(scales);
  if (std::fabs(extreme) < kTiny) {
    std::memset(&block, 0, sizeof block);
    return;
  }
  const float inverse = -128.0f / extreme;
  store_scale(block.d, 1.0f / inverse);
  for (int g = 0; g < 16; ++g) {
    block.scales[g] = static_cast<int8_t>(round_into(inverse * scales[g], -128, 127));
    const float d = load_f16(block.d) * static_cast<float>(block.scales[g]);
    if (d == 0) continue;
    for (int i = 16 * g; i < 16 * g + 16; ++i) codes[i] = static_cast<uint8_t>(round_into(src[i] / d, -32, 31) + 32);
  }
  pack_q6(codes, block);
}

}  // namespace moiety::codec
