// Types with blocks of 32, and the preparation of activations.
#include "simd/int8_gemm-inl.h"
#include "simd/level.h"

namespace moiety::simd::MOIETY_LEVEL {
namespace {

// The bits of the greatest magnitude of 32 values, one of every lane's. As integers: NaN is above infinity.
HWY_INLINE VQ greatest_bits(const float* x) {
  VQ most = hn::Zero(di16);
  for (size_t i = 0; i < 32; i += hn::MaxLanes(d16))
    most = hn::Max(most, hn::And(hn::BitCast(di16, hn::LoadU(d16, x + i)), hn::Set(di16, 0x7fffffff)));
  return most;
}

// The greatest lanes of 4 vectors.
template <class D>
HWY_INLINE hn::Vec<hn::FixedTag<int32_t, 4>> greatest_of_each([[maybe_unused]] D d, hn::Vec<D> all) {
  if constexpr (hn::MaxLanes(D()) == 4) {
    return all;
  } else {
    const hn::Half<D> half;
    return greatest_of_each(half, hn::Max(hn::LowerHalf(half, all), hn::UpperHalf(half, all)));
  }
}
HWY_INLINE hn::Vec<hn::FixedTag<int32_t, 4>> greatest_of_each(const VQ (&x)[4]) {
  const hn::Repartition<int64_t, DI16> dl;
  const auto pair = [&](VQ a, VQ b) HWY_ATTR {
    return hn::BitCast(dl, hn::Max(hn::InterleaveLower(di16, a, b), hn::InterleaveUpper(di16, a, b)));
  };
  const auto low = pair(x[0], x[1]), high = pair(x[2], x[3]);
  return greatest_of_each(di16, hn::Max(hn::BitCast(di16, hn::InterleaveLower(dl, low, high)),
                                        hn::BitCast(di16, hn::InterleaveUpper(dl, low, high))));
}

// Sums of 16 codes each, of a group's halves of blocks.
HWY_INLINE void sum_codes(const int8_t* codes, int32_t* sums) {
  constexpr size_t kBytes = hn::MaxLanes(db);
  HWY_ALIGN uint64_t eights[16];
  for (size_t i = 0; i < 128; i += kBytes) {
    const VB raised = hn::Xor(hn::LoadU(db, reinterpret_cast<const uint8_t*>(codes) + i), hn::Set(db, 128));
    hn::Store(hn::SumsOf8(raised), hn::Repartition<uint64_t, DB>(), eights + i / 8);
  }
  for (int b = 0; b < 8; ++b) sums[b] = static_cast<int32_t>(eights[2 * b] + eights[2 * b + 1]) - 16 * 128;
}

// Four blocks at a time, whose scales are computed side by side.
void quantise(const float* x, int64_t k, int8_t* codes, float* scales, int32_t* sums) noexcept {
  const hn::FixedTag<int32_t, 4> di4;
  const hn::FixedTag<float, 4> df4;
  const hn::Rebind<int8_t, DI16> d_small;
  const int64_t blocks = k / 32, padded = int8_padded(k) / 32;
  for (int64_t b = 0; b < blocks; b += 4, x += 4 * 32) {
    const int64_t count = blocks - b < 4 ? blocks - b : 4;
    VQ most[4];
    for (int64_t i = 0; i < 4; ++i) most[i] = greatest_bits(x + 32 * (i < count ? i : 0));
    const auto bits = greatest_of_each(most);
    const auto amax = hn::BitCast(df4, bits), full = hn::Set(df4, 127.0f);
    const auto tiny = hn::Lt(amax, hn::Set(df4, 1e-30f));  // 127 / amax would overflow
    const auto bad = hn::RebindMask(df4, hn::Gt(bits, hn::Set(di4, 0x7f7fffff)));
    HWY_ALIGN float inverse[4], scale[4];
    hn::Store(hn::IfThenZeroElse(tiny, hn::Div(full, amax)), df4, inverse);
    hn::Store(hn::IfThenElse(bad, hn::Set(df4, __builtin_nanf("")), hn::IfThenZeroElse(tiny, hn::Div(amax, full))), df4,
              scale);
    for (int64_t i = 0; i < count; ++i) {
      scales[b + i] = scale[i];
      const V16 factor = hn::Set(d16, inverse[i]);
      for (size_t j = 0; j < 32; j += hn::MaxLanes(d16)) {
        const VQ q = hn::NearestInt(hn::Mul(hn::LoadU(d16, x + 32 * static_cast<size_t>(i) + j), factor));
        hn::StoreU(hn::DemoteTo(d_small, q), d_small, codes + int8_place(b + i, static_cast<int>(j / 16)) + j % 16);
      }
    }
  }
  for (int64_t b = blocks; b < padded; ++b) {
    scales[b] = 0;
    for (int half = 0; half < 2; ++half) __builtin_memset(codes + int8_place(b, half), 0, 16);
  }
  for (int64_t b = 0; b < padded; b += 8) {
    for (int half = 0; half < 2; ++half) sum_codes(codes + int8_place(b, half), sums + half * padded + b);
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
