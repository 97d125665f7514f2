// Weights in panels give the bits of the same weights in rows: every type, level, activation form, shape and number of
// tokens.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "core/buffer.h"
#include "core/panels.h"
#include "simd/levels.h"
#include "simd/matmul.h"
#include "tests/simd/random_rows.h"

using namespace moiety;
using namespace moiety::simd;

namespace {

struct Weights {
  std::vector<uint8_t> bytes;
  Buffer panels;
  Tensor rows, packed;

  Weights(DType type, int64_t n, int64_t k, std::mt19937& rng)
      : panels(static_cast<size_t>((n + kPanelRows - 1) / kPanelRows * panel_parts(type, k).bytes)) {
    if (is_quantised(type)) {
      bytes = random_rows(type, n, k, rng);
    } else {
      std::vector<float> values(static_cast<size_t>(n * k));
      std::normal_distribution<float> normal;
      for (float& v : values) v = normal(rng);
      bytes.resize(dtype_bytes(type, n * k) + 1);
      encode(type, values.data(), bytes.data() + 1, n * k);
    }
    rows = make_tensor(bytes.data() + 1, type, {n, k});
    packed = make_panels(panels.data(), type, n, k);
    for (int64_t r = 0; r < n; r += kPanelRows) pack_panel(rows, r, packed.row(r));
  }
};

// Products of rows of x with a weight, [t][output]: as GEMVs, or as GEMMs of `tiles` tiles, the last one with rows of x.
std::vector<float> multiply(const Matmul& matmul, const Tensor& weight, const std::vector<std::vector<float>>& x,
                            int64_t tiles) {
  const int64_t k = weight.cols(), n = weight.rows(), tokens = static_cast<int64_t>(x.size());
  const Form form = matmul.form(weight.dtype);
  const size_t row = Matmul::prepared_bytes(form, k);
  const size_t tile_bytes = Matmul::tile_bytes(form, k);
  const Buffer prepared(row * x.size() + 64), packed(tile_bytes * static_cast<size_t>(std::max<int64_t>(tiles, 1))),
      scratch(matmul.panel_bytes(weight));
  std::vector<const float*> sources;
  std::vector<const std::byte*> parts;
  for (size_t t = 0; t < x.size(); ++t) {
    matmul.prepare(form, x[t].data(), k, prepared.data() + t * row);
    sources.push_back(x[t].data());
    parts.push_back(prepared.data() + t * row);
  }
  std::vector<float> y(static_cast<size_t>(tokens * n), -12345.5f);
  if (tiles == 0) {
    for (size_t t = 0; t < x.size(); ++t)
      matmul.gemv(weight, 0, n, sources[t], parts[t], scratch.data(), &y[t * static_cast<size_t>(n)], nullptr);
    return y;
  }
  for (int64_t i = 0; i < tiles; ++i) {  // those before the last one repeat the rows
    const float* some[kTileTokens];
    const std::byte* some_parts[kTileTokens];
    const int64_t count = i + 1 < tiles ? kTileTokens : tokens;
    for (int64_t t = 0; t < count; ++t) {
      some[t] = sources[static_cast<size_t>(t % tokens)];
      some_parts[t] = parts[static_cast<size_t>(t % tokens)];
    }
    matmul.pack(form, some, some_parts, count, k, packed.data() + static_cast<size_t>(i) * tile_bytes);
  }
  const int64_t before = (tiles - 1) * kTileTokens;
  std::vector<float> out(static_cast<size_t>((before + tokens) * kPanelRows));
  for (int64_t r = 0; r < n; r += kPanelRows) {
    const int64_t count = std::min(kPanelRows, n - r);
    matmul.gemm(weight, r, count, packed.data(), {out.data(), kPanelRows, before + tokens}, scratch.data(), {});
    for (int64_t t = 0; t < before + tokens; ++t) {
      const float* from = &out[static_cast<size_t>(t * kPanelRows)];
      float* to = &y[static_cast<size_t>((t < before ? t % kTileTokens % tokens : t - before) * n + r)];
      if (t < tokens) std::copy_n(from, count, to);
      else CHECK(std::memcmp(from, to, static_cast<size_t>(count) * 4) == 0);
    }
  }
  return y;
}

}  // namespace

TEST_CASE("weights in panels give the bits of rows") {
  std::mt19937 rng(11);
  int types = 0;
  for (int i = 0; i < kDTypeCount; ++i) {
    const auto type = static_cast<DType>(i);
    if (!has_panels(type) || !Matmul::refusal(make_panels(nullptr, type, 16, 256)).empty()) continue;
    ++types;
    CAPTURE(std::string(dtype_info(type).name));
    std::vector<int64_t> widths = {256, 512, 768};
    if (dtype_info(type).block < 256) widths.insert(widths.end(), {32, 96, 288});
    if (dtype_info(type).block == 1) widths.insert(widths.end(), {1, 31, 65});
    for (int64_t k : widths) {
      CAPTURE(k);
      for (int64_t n : {1, 16, 37}) {
        const Weights weights(type, n, k, rng);
        std::vector<std::vector<float>> all(12, std::vector<float>(static_cast<size_t>(k)));
        std::normal_distribution<float> normal;
        for (auto& row : all) {
          for (float& v : row) v = normal(rng);
        }
        for (const Level* level : available_levels(cpu_info().features)) {
          CAPTURE(std::string(level->name));
          const Kernels kernels = level->kernels();
          for (const ActivationPrecision precision : {ActivationPrecision::kAuto, ActivationPrecision::kF32}) {
            CAPTURE(static_cast<int>(precision));
            const Matmul matmul(kernels, precision);
            const std::vector<float> expected = multiply(matmul, weights.rows, all, 0);
            CHECK(std::ranges::all_of(expected, [](float v) { return v > -12345; }));
            for (const int64_t tokens : {1, 2, 3, 5, 8, 12}) {
              CAPTURE(tokens);
              const std::vector<std::vector<float>> x(all.begin(), all.begin() + tokens);
              for (const int64_t tiles : {0, 1, 2}) {
                CAPTURE(tiles);
                const std::vector<float> y = multiply(matmul, weights.packed, x, tiles);
                CHECK(std::memcmp(y.data(), expected.data(), y.size() * 4) == 0);
              }
            }
          }
        }
      }
    }
  }
  CHECK(types == 8);
}
