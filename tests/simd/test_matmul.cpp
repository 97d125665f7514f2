// Every matmul kernel of every level that this CPU runs, against plain code, on odd shapes.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "core/blocks.h"
#include "core/error.h"
#include "simd/levels.h"
#include "tests/simd/random_rows.h"

using namespace moiety;
using namespace moiety::simd;

namespace {

const std::vector<DType> kQuantised = {DType::kQ8_0,   DType::kQ4_0,   DType::kQ4_1, DType::kQ5_0, DType::kQ5_1,
                                       DType::kQ2_K,   DType::kQ3_K,   DType::kQ4_K, DType::kQ5_K, DType::kQ6_K,
                                       DType::kIQ4_NL, DType::kIQ4_XS, DType::kMXFP4};

constexpr float kPoison = -12345.5f;

struct QuantisedRow {
  std::vector<int8_t> codes;
  std::vector<float> scales;
  std::vector<int32_t> sums;
  Int8Row view() const { return {codes.data(), scales.data(), sums.data()}; }
  int8_t code(size_t k) const {
    return codes[static_cast<size_t>(int8_place(static_cast<int64_t>(k / 32), static_cast<int>(k / 16 % 2))) + k % 16];
  }
};

QuantisedRow quantise(const Kernels& kernels, const std::vector<float>& x) {
  const auto padded = static_cast<size_t>(int8_padded(static_cast<int64_t>(x.size())));
  QuantisedRow row{std::vector<int8_t>(padded, 77), std::vector<float>(padded / 32, kPoison),
                   std::vector<int32_t>(padded / 16, 77)};
  kernels.quantise(x.data(), static_cast<int64_t>(x.size()), row.codes.data(), row.scales.data(), row.sums.data());
  return row;
}

std::vector<float> random_floats(int64_t count, std::mt19937& rng) {
  std::normal_distribution<float> normal;
  std::vector<float> x(static_cast<size_t>(count));
  for (auto& v : x) v = normal(rng);
  return x;
}

// Every element against a double reference: |y - r| <= 16 * 2^-24 * sum |a b|.
void check_close(float y, double reference, double magnitude) {
  CHECK(std::abs(static_cast<double>(y) - reference) <= 16 * 0x1p-24 * magnitude + 1e-30);
}

template <class F>
void for_each_level(const F& check) {
  for (const Level* level : available_levels(cpu_info().features)) {
    CAPTURE(std::string(level->name));
    check(level->kernels());
  }
}

// The memory of an Int8Tile, and nothing beyond it.
struct Tile {
  std::vector<int32_t> codes, sums[4];
  std::vector<float> scales, block_sums;
  Int8Tile view;
  Tile(size_t blocks, int64_t tokens) {
    const size_t size = blocks * static_cast<size_t>(tile_width(tokens));
    codes.resize(size * 8), scales.resize(size), block_sums.resize(size);
    for (auto& s : sums) s.resize(size);
    view = {tile_width(tokens), codes.data(), scales.data(), block_sums.data(),
            {sums[0].data(), sums[1].data(), sums[2].data(), sums[3].data()}};
  }
};

}  // namespace

TEST_CASE("activations are quantised to the nearest code, with sums") {
  std::mt19937 rng(1);
  const std::vector<float> x = random_floats(96, rng);
  for_each_level([&](const Kernels& kernels) {
    const QuantisedRow row = quantise(kernels, x);
    for (size_t b = 0; b < 3; ++b) {
      float amax = 0;
      int sum[2] = {};
      for (size_t i = 0; i < 32; ++i) amax = std::max(amax, std::abs(x[32 * b + i]));
      CHECK(row.scales[b] == amax / 127.0f);
      for (size_t i = 0; i < 32; ++i) {
        CHECK(std::abs(x[32 * b + i] - row.scales[b] * row.code(32 * b + i)) <= 0.5001f * row.scales[b]);
        sum[i / 16] += row.code(32 * b + i);
      }
      CHECK(row.sums[b] == sum[0]);
      CHECK(row.sums[8 + b] == sum[1]);
    }
    for (size_t b = 3; b < 8; ++b) {  // the padding
      CHECK(row.scales[b] == 0);
      CHECK((row.sums[b] == 0 && row.sums[8 + b] == 0));
      for (size_t i = 0; i < 32; ++i) CHECK(row.code(32 * b + i) == 0);
    }
    std::vector<float> bad(64, 1.0f);
    bad[3] = NAN;
    CHECK(std::isnan(quantise(kernels, bad).scales[0]));
    CHECK(quantise(kernels, bad).scales[1] == 1.0f / 127.0f);
    CHECK(quantise(kernels, std::vector<float>(32, 0.0f)).scales[0] == 0.0f);
  });
}

TEST_CASE("int8 GEMV and GEMM: close to exact arithmetic, the same bits as each other") {
  for (DType type : kQuantised) {
    CAPTURE(std::string(dtype_info(type).name));
    std::vector<int64_t> widths = {256, 512, 768};
    if (dtype_info(type).block == 32) widths.insert(widths.end(), {32, 96, 288});
    if (type == DType::kQ4_0 || type == DType::kQ6_K) widths.push_back(33 * 256);  // more than a GEMV keeps
    for (int64_t k : widths) {
      CAPTURE(k);
      for (int64_t rows : {1, 5, 16}) {
        std::mt19937 rng(static_cast<unsigned>(k + rows));
        const auto bytes = random_rows(type, rows, k, rng);
        const auto row_bytes = static_cast<int64_t>(dtype_bytes(type, k));
        std::vector<float> weights(static_cast<size_t>(rows * k));
        decode(type, bytes.data() + 1, weights.data(), rows * k);
        const int64_t tokens = 1 + static_cast<int64_t>(rng() % 12);
        for_each_level([&](const Kernels& kernels) {
          std::mt19937 row_rng(7);
          const Int8Kernels& int8 = kernels.int8[static_cast<int>(type)];
          const auto blocks = static_cast<size_t>(k / 32);
          std::vector<QuantisedRow> acts;
          std::vector<Int8Row> views;
          for (int64_t t = 0; t < tokens; ++t) acts.push_back(quantise(kernels, random_floats(k, row_rng)));
          for (const auto& act : acts) views.push_back(act.view());

          const size_t spare = blocks + 1;
          std::vector<uint8_t> panel_codes(spare * 512);
          std::vector<float> panel_scales(spare * 16), panel_mins(spare * 16);
          std::vector<int32_t> sub(spare * 32), sub_mins(spare * 16);
          const Int8Panel panel{panel_codes.data(), panel_scales.data(), panel_mins.data(), sub.data(),
                                sub_mins.data()};
          const Tile memory(blocks, tokens);
          const Int8Tile& tile = memory.view;
          int8.unpack(bytes.data() + 1, row_bytes, rows, k, panel);
          kernels.pack_int8(views.data(), tokens, k, tile);
          std::vector<float> gemm(kTileTokens * kPanelRows, kPoison), gemv(static_cast<size_t>(rows), kPoison);
          int8.gemm(panel, tile, k, {gemm.data(), kPanelRows, tokens}, {});
          for (size_t i = static_cast<size_t>(tokens * kPanelRows); i < gemm.size(); ++i) CHECK(gemm[i] == kPoison);
          for (int64_t t = 0; t < tokens; ++t) {
            int8.gemv(bytes.data() + 1, row_bytes, rows, k, views[static_cast<size_t>(t)], gemv.data(), nullptr);
            for (int64_t r = 0; r < kPanelRows; ++r) {
              const float got = gemm[static_cast<size_t>(t * kPanelRows + r)];
              if (r >= rows) continue;  // unspecified
              double exact = 0, magnitude = 0;
              for (int64_t i = 0; i < k; ++i) {
                const auto& act = acts[static_cast<size_t>(t)];
                const double product = double(weights[static_cast<size_t>(r * k + i)]) *
                                       double(act.scales[static_cast<size_t>(i / 32)]) *
                                       act.code(static_cast<size_t>(i));
                exact += product;
                magnitude += std::abs(product);
              }
              // The minimum is subtracted apart from the rest, so the parts may be larger than their sum.
              if (type == DType::kQ2_K || type == DType::kQ4_1 || type == DType::kQ5_1 || type == DType::kQ4_K ||
                  type == DType::kQ5_K)
                magnitude *= 8;
              check_close(gemv[static_cast<size_t>(r)], exact, magnitude);
              CHECK(std::memcmp(&gemv[static_cast<size_t>(r)], &got, 4) == 0);
            }
          }
          for (const int64_t few : {int64_t{1}, int64_t{2}, int64_t{3}, int64_t{5}, int64_t{9}, tokens}) {
            if (few > tokens) continue;
            CAPTURE(few);
            const Tile some(blocks, few);
            kernels.pack_int8(views.data(), few, k, some.view);
            constexpr int64_t kStride = kPanelRows + 3;
            std::vector<float> y(kTileTokens * kStride, kPoison);
            int8.gemm_rows(bytes.data() + 1, row_bytes, rows, k, some.view, {y.data(), kStride, few},
                           {bytes.data(), static_cast<int64_t>(bytes.size())});
            for (int64_t t = 0; t < kTileTokens; ++t) {
              const float* row = &y[static_cast<size_t>(t * kStride)];
              if (t < few)
                CHECK(std::memcmp(row, &gemm[static_cast<size_t>(t * kPanelRows)], static_cast<size_t>(rows) * 4) == 0);
              CHECK(std::all_of(row + (t < few ? kPanelRows : 0), row + kStride, [](float v) { return v == kPoison; }));
            }
          }
          // Half by half, and with a matrix unit.
          const auto again = [&](std::vector<Lanes> parts, auto unpack, auto multiply) {
            std::vector<float> y(kTileTokens * kPanelRows, kPoison);
            Int8Panel part = panel;
            for (const Lanes lanes : parts) {
              part.lanes = lanes;
              unpack(bytes.data() + 1, row_bytes, rows, k, part);
              multiply(part, {tile}, k, {y.data(), kPanelRows, tokens}, {});
            }
            for (int64_t t = 0; t < tokens; ++t)
              CHECK(std::memcmp(&y[static_cast<size_t>(t * kPanelRows)], &gemm[static_cast<size_t>(t * kPanelRows)],
                                static_cast<size_t>(rows) * 4) == 0);
          };
          if (int8.halves) again({Lanes::kFirst, Lanes::kLast}, int8.unpack, int8.gemm);
          if (!int8.unpack_signed) return;
          int8.begin_signed(tokens);
          again({Lanes::kAll}, int8.unpack_signed, int8.gemm_signed);
          if (int8.halves) again({Lanes::kFirst, Lanes::kLast}, int8.unpack_signed, int8.gemm_signed);
          kernels.end_signed();
        });
      }
    }
  }
}

TEST_CASE("small integers: every type and level gives the exact product") {
  std::mt19937 rng(9);
  const auto whole_row = [&](int64_t k) {  // a 127 in each block of 32 makes its scale 1
    std::vector<float> x(static_cast<size_t>(k));
    for (size_t i = 0; i < x.size(); ++i)
      x[i] = i % 32 == 5 ? 127.0f : static_cast<float>(static_cast<int>(rng() % 17) - 8);
    return x;
  };
  const auto exact = [](const std::vector<float>& weights, const std::vector<float>& x, size_t row) {
    double sum = 0;
    for (size_t i = 0; i < x.size(); ++i) sum += double(weights[row * x.size() + i]) * double(x[i]);
    return sum;
  };
  constexpr int64_t kRows = 5;
  for (DType type : kQuantised) {
    CAPTURE(dtype_info(type).name);
    const int64_t k = dtype_info(type).block == 32 ? 288 : 256;
    auto bytes = random_rows(type, kRows, k, rng);
    for (size_t at = 1; at + dtype_info(type).bytes <= bytes.size(); at += dtype_info(type).bytes) {
      if (type == DType::kMXFP4)
        bytes[at] = 128;  // 1, as its table is doubled
      else
        for (size_t offset : scale_offsets(type)) store_u16(&bytes[at + offset], f32_to_f16(1.0f));
    }
    std::vector<float> weights(static_cast<size_t>(kRows * k)), y(kRows);
    decode(type, bytes.data() + 1, weights.data(), kRows * k);
    const std::vector<float> x = whole_row(k);
    for_each_level([&](const Kernels& kernels) {
      const QuantisedRow row = quantise(kernels, x);
      kernels.int8[static_cast<int>(type)].gemv(bytes.data() + 1, static_cast<int64_t>(dtype_bytes(type, k)), kRows, k,
                                                row.view(), y.data(), nullptr);
      for (size_t r = 0; r < kRows; ++r) CHECK(double(y[r]) == exact(weights, x, r));
    });
  }
  for (DType type : {DType::kF32, DType::kF16, DType::kBF16}) {
    CAPTURE(dtype_info(type).name);
    constexpr int64_t k = 261;
    const std::vector<float> x = whole_row(k);
    std::vector<float> weights(static_cast<size_t>(kRows * k)), y(kRows);
    for (float& w : weights) w = static_cast<float>(static_cast<int>(rng() % 17) - 8);
    std::vector<uint8_t> bytes(dtype_bytes(type, kRows * k) + 1);
    encode(type, weights.data(), bytes.data() + 1, kRows * k);
    const auto row_bytes = static_cast<int64_t>(dtype_bytes(type, k));
    for_each_level([&](const Kernels& kernels) {
      const FloatKernels& kernel = type == DType::kF32 ? kernels.f32 : type == DType::kF16 ? kernels.f16 : kernels.bf16;
      const float* row = x.data();
      kernel.gemv(bytes.data() + 1, row_bytes, kRows, k, &row, 1, y.data(), 0, nullptr);
      for (size_t r = 0; r < kRows; ++r) CHECK(double(y[r]) == exact(weights, x, r));
      if (type != DType::kBF16 || !kernels.bf16_dot.gemv) return;
      std::vector<uint16_t> rounded(static_cast<size_t>(k));
      kernels.bf16_dot.round(x.data(), k, rounded.data());
      kernels.bf16_dot.gemv(bytes.data() + 1, row_bytes, kRows, k, rounded.data(), y.data(), nullptr);
      for (size_t r = 0; r < kRows; ++r) CHECK(double(y[r]) == exact(weights, x, r));
    });
  }
}

TEST_CASE("float GEMV and GEMM: close to exact arithmetic, the same bits as each other") {
  for (DType type : {DType::kF32, DType::kF16, DType::kBF16}) {
    CAPTURE(std::string(dtype_info(type).name));
    for (int64_t k : {1, 5, 16, 31, 64, 257}) {
      for (int64_t rows : {1, 3, 16}) {
        std::mt19937 rng(static_cast<unsigned>(k * 31 + rows));
        const std::vector<float> values = random_floats(rows * k, rng);
        std::vector<uint8_t> bytes(dtype_bytes(type, rows * k) + 1);
        encode(type, values.data(), bytes.data() + 1, rows * k);
        std::vector<float> weights(values.size());
        decode(type, bytes.data() + 1, weights.data(), rows * k);
        const auto row_bytes = static_cast<int64_t>(dtype_bytes(type, k));
        const int64_t tokens = 1 + static_cast<int64_t>(rng() % 12);
        std::vector<std::vector<float>> acts;
        std::vector<const float*> pointers;
        for (int64_t t = 0; t < tokens; ++t) acts.push_back(random_floats(k, rng));
        for (const auto& act : acts) pointers.push_back(act.data());
        for_each_level([&](const Kernels& kernels) {
          const FloatKernels& kernel = type == DType::kF32   ? kernels.f32
                                       : type == DType::kF16 ? kernels.f16
                                                             : kernels.bf16;
          std::vector<float> panel(static_cast<size_t>(k * 16), kPoison),
              tile(static_cast<size_t>(k * kTileTokens), kPoison);
          kernel.unpack(bytes.data() + 1, row_bytes, rows, k, panel.data());
          kernels.pack_f32(pointers.data(), tokens, k, tile.data());
          std::vector<float> gemm(kTileTokens * kPanelRows, kPoison), gemv(static_cast<size_t>(rows), kPoison);
          std::vector<float> gemvs(static_cast<size_t>(tokens * (rows + 3)), kPoison);
          kernel.gemv(bytes.data() + 1, row_bytes, rows, k, pointers.data(), tokens, gemvs.data(), rows + 3, nullptr);
          kernels.gemm_f32(panel.data(), tile.data(), k, {gemm.data(), kPanelRows, tokens}, {});
          for (int64_t t = 0; t < tokens; ++t) {
            kernel.gemv(bytes.data() + 1, row_bytes, rows, k, &pointers[static_cast<size_t>(t)], 1, gemv.data(), 0, nullptr);
            CHECK(std::memcmp(gemv.data(), &gemvs[static_cast<size_t>(t * (rows + 3))], gemv.size() * 4) == 0);
            CHECK(gemvs[static_cast<size_t>(t * (rows + 3) + rows)] == kPoison);
            for (int64_t r = 0; r < rows; ++r) {
              double exact = 0, magnitude = 0;
              for (int64_t i = 0; i < k; ++i) {
                const double product = double(weights[static_cast<size_t>(r * k + i)]) *
                                       double(acts[static_cast<size_t>(t)][static_cast<size_t>(i)]);
                exact += product;
                magnitude += std::abs(product);
              }
              check_close(gemv[static_cast<size_t>(r)], exact, magnitude);
              CHECK(std::memcmp(&gemv[static_cast<size_t>(r)], &gemm[static_cast<size_t>(t * kPanelRows + r)], 4) == 0);
            }
          }
        });
      }
    }
  }
}

TEST_CASE("bf16 dot products: close to exact arithmetic on rounded activations, GEMV = GEMM") {
  for_each_level([&](const Kernels& kernels) {
    const Bf16Kernels& bf16 = kernels.bf16_dot;
    if (!bf16.gemv) return;
    for (int64_t k : {1, 2, 31, 32, 64, 257}) {
      for (int64_t rows : {1, 3, 16}) {
        std::mt19937 rng(static_cast<unsigned>(k * 31 + rows));
        const std::vector<float> values = random_floats(rows * k, rng);
        std::vector<uint8_t> bytes(static_cast<size_t>(rows * k * 2) + 1);
        encode(DType::kBF16, values.data(), bytes.data() + 1, rows * k);
        std::vector<float> weights(values.size());
        decode(DType::kBF16, bytes.data() + 1, weights.data(), rows * k);
        const int64_t tokens = 1 + static_cast<int64_t>(rng() % 12), pairs = (k + 1) / 2;
        std::vector<std::vector<uint16_t>> acts(static_cast<size_t>(tokens),
                                                std::vector<uint16_t>(static_cast<size_t>(k)));
        std::vector<const uint16_t*> pointers;
        for (auto& act : acts) {
          bf16.round(random_floats(k, rng).data(), k, act.data());
          pointers.push_back(act.data());
        }
        std::vector<uint32_t> panel(static_cast<size_t>(pairs * 16)), tile(static_cast<size_t>(pairs * kTileTokens));
        bf16.unpack(bytes.data() + 1, k * 2, rows, k, panel.data());
        bf16.pack(pointers.data(), tokens, k, tile.data());
        std::vector<float> gemm(kTileTokens * kPanelRows, kPoison), gemv(static_cast<size_t>(rows), kPoison);
        bf16.gemm(panel.data(), tile.data(), k, {gemm.data(), kPanelRows, tokens}, {});
        for (int64_t t = 0; t < tokens; ++t) {
          bf16.gemv(bytes.data() + 1, k * 2, rows, k, pointers[static_cast<size_t>(t)], gemv.data(), nullptr);
          for (int64_t r = 0; r < rows; ++r) {
            double exact = 0, magnitude = 0;
            for (int64_t i = 0; i < k; ++i) {
              const double product = double(weights[static_cast<size_t>(r * k + i)]) *
                                     double(bf16_to_f32(acts[static_cast<size_t>(t)][static_cast<size_t>(i)]));
              exact += product;
              magnitude += std::abs(product);
            }
            check_close(gemv[static_cast<size_t>(r)], exact, magnitude);
            CHECK(std::memcmp(&gemv[static_cast<size_t>(r)], &gemm[static_cast<size_t>(t * kPanelRows + r)], 4) == 0);
          }
        }
      }
    }
  });
}

TEST_CASE("a SIMD level is chosen by name or by the CPU") {
  CpuFeatures none;
  CHECK(std::string(choose_level(none, "").name) == "scalar");
  CHECK_THROWS(choose_level(none, "avx9000"));
  CpuFeatures cascade_lake;
  cascade_lake.sse42 = cascade_lake.avx2 = cascade_lake.avx512 = cascade_lake.avx512_vnni = true;
  std::string best;  // of those that it has, as far as this build has them
  for (const std::string name : {"scalar", "sse4", "avx2", "avx512", "avx512_vnni"}) {
    const bool built = std::ranges::any_of(levels(), [&](const Level& level) { return level.name == name; });
    if (!built) {
      CHECK_THROWS_WITH_AS(choose_level(cascade_lake, name), doctest::Contains("unknown"), Error);
      continue;
    }
    best = name;
    CHECK(std::string(choose_level(cascade_lake, name).name) == name);
    if (name != "scalar") CHECK_THROWS_WITH_AS(choose_level(none, name), doctest::Contains("does not have it"), Error);
  }
  CHECK(std::string(choose_level(cascade_lake, "").name) == best);
}
