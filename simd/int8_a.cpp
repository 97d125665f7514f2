// Types with blocks of 32, and the preparation of activations.
#include "simd/int8_gemm-inl.h"
#include "simd/level.h"

namespace moiety::simd::MOIETY_LEVEL {
namespace {

void quantise(const float* x, int64_t k, int8_t* codes, float* scales, int32_t* sums) noexcept {
  constexpr size_t kStep = hn::MaxLanes(df);
  const hn::Rebind<int8_t, DI> d_small;
  const int64_t blocks = k / 32, padded = int8_padded(k) / 32;
  for (int64_t b = 0; b < blocks; ++b, x += 32) {
    VF most = hn::Zero(df), bad = hn::Zero(df);
    for (size_t i = 0; i < 32; i += kStep) {
      const VF v = hn::LoadU(df, x + i);
      most = hn::Max(most, hn::Abs(v));
      bad = hn::MulAdd(v, hn::Zero(df), bad);  // NaN if v is not finite
    }
    const float amax = hn::GetLane(hn::MaxOfLanes(df, most));
    const bool tiny = amax < 1e-30f;  // 127 / amax would overflow
    const float inverse = tiny ? 0.0f : 127.0f / amax;
    scales[b] = (tiny ? 0.0f : amax / 127.0f) + hn::GetLane(hn::SumOfLanes(df, bad));
    VI half_sum[2] = {hn::Zero(di), hn::Zero(di)};
    for (size_t i = 0; i < 32; i += kStep) {
      const VI q = hn::NearestInt(hn::Mul(hn::LoadU(df, x + i), hn::Set(df, inverse)));
      half_sum[i / 16] = hn::Add(half_sum[i / 16], q);
      hn::StoreU(hn::DemoteTo(d_small, q), d_small, codes + int8_place(b, static_cast<int>(i / 16)) + i % 16);
    }
    sums[b] = hn::GetLane(hn::SumOfLanes(di, half_sum[0]));
    sums[padded + b] = hn::GetLane(hn::SumOfLanes(di, half_sum[1]));
  }
  for (int64_t b = blocks; b < padded; ++b) {
    scales[b] = 0;
    for (int half = 0; half < 2; ++half) {
      __builtin_memset(codes + int8_place(b, half), 0, 16);
      sums[half * padded + b] = 0;
    }
  }
}

// Absent tokens are zero.
void pack_int8(const Int8Row* rows, int64_t tokens, int64_t k, const Int8Tile& tile) noexcept {
  const int64_t blocks = k / 32, padded = int8_padded(k) / 32;
  lane_order<8>(blocks, [&](int64_t b, int64_t at) {
    int32_t* codes = tile.codes + at * 8 * tile.width;
    for (int64_t t = 0; t < tile.width; ++t) {
      for (int half = 0; half < 2; ++half) {
        int32_t* to = codes + t * 8 + half * 4;
        if (t < tokens) __builtin_memcpy(to, rows[t].codes + int8_place(b, half), 16);
        else __builtin_memset(to, 0, 16);
      }
    }
    for (int64_t t = 0; t < tile.width; ++t) {
      const bool used = t < tokens;
      const float scale = used ? rows[t].scales[b] : 0;
      const int32_t first = used ? rows[t].sums[b] : 0, last = used ? rows[t].sums[padded + b] : 0;
      const int64_t to = at * tile.width + t;
      tile.scales[to] = scale;
      tile.block_sums[to] = scale * static_cast<float>(first + last);
      tile.sums[0][to] = -kSumsTimes * (first + last);
      tile.sums[1][to] = -kSumsTimes * first;
      tile.sums[2][to] = -kSumsTimes * last;
      tile.sums[3][to] = (first & 0xffff) | last << 16;
    }
  });
}

}  // namespace

void fill_int8_a(Kernels& table) noexcept {
  table.quantise = quantise;
  table.pack_int8 = pack_int8;
  const auto set = [&](DType type, Int8Kernels kernels) { table.int8[static_cast<int>(type)] = kernels; };
  set(DType::kQ8_0, int8_kernels<TypeQ8_0>());
  set(DType::kQ4_0, int8_kernels<TypeQ4_0>());
  set(DType::kQ4_1, int8_kernels<TypeQ4_1>());
  set(DType::kQ5_0, int8_kernels<TypeQ5_0>());
  set(DType::kQ5_1, int8_kernels<TypeQ5_1>());
}

}  // namespace moiety::simd::MOIETY_LEVEL
