// The attention kernel alone, on every level: against double arithmetic, and the same bits for blocks of any size. The
// cache ends where its last position does, so that a sanitizer sees what is read beyond.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "core/blocks.h"
#include "core/buffer.h"
#include "core/cpu_info.h"
#include "simd/levels.h"

using namespace moiety;
using namespace moiety::simd;

namespace {

struct Case {
  int32_t heads, rows, head_dim;
  int64_t position;
  int64_t window = 0;
  float softcap = 0;
  bool sinks = false;
  float spread = 2;  // of the queries
};

// How far from what is exact, for a spread of 2 and a sum of weighted magnitudes of 1: f32 arithmetic, or the tile
// unit's, to whom queries and exponentials are of 17 bits.
double bound(const Level& level, DType type) {
  return std::string(level.name) == "avx512_amx" && type == DType::kF16 ? 4e-5 : 4e-6;
}

// Rows of a cache, in segments of their own, and as they are read back.
struct Rows {
  std::vector<std::vector<uint8_t>> segments;
  std::vector<float> values;

  Rows(int64_t count, int64_t head_dim, DType type, std::mt19937& rng) : values(static_cast<size_t>(count * head_dim)) {
    std::normal_distribution<float> normal;
    for (float& v : values) v = normal(rng);
    int64_t begin = 0;
    for (int64_t end = kFirstSegment; begin < count; begin = end, end *= 2) {
      const int64_t elements = (std::min(end, count) - begin) * head_dim;
      auto& segment = segments.emplace_back(dtype_bytes(type, elements));
      float* source = values.data() + begin * head_dim;
      encode(type, source, segment.data(), elements);
      decode(type, reinterpret_cast<const std::byte*>(segment.data()), source, elements);
    }
  }
};

std::vector<float> attend(const Kernels& kernels, const Case& c, const Rows& keys, const Rows& values, DType type,
                          const std::vector<float>& q, const std::vector<float>& sinks, int32_t first, int32_t rows) {
  const int64_t stride = int64_t{c.heads} * c.head_dim;
  std::vector<float> y(static_cast<size_t>(rows * stride), -77.0f);
  const Buffer scratch(sizeof(float) * static_cast<size_t>(kernels.rows.attention_floats(int64_t{c.heads} * rows, c.head_dim)));
  AttentionBlock block{};
  block.q = q.data() + first * stride, block.y = y.data(), block.row_stride = stride;
  block.rows = rows, block.heads = c.heads, block.head_dim = c.head_dim;
  for (size_t s = 0; s < keys.segments.size(); ++s)
    block.key_segments[s] = keys.segments[s].data(), block.value_segments[s] = values.segments[s].data();
  block.key_bytes = block.value_bytes = static_cast<int64_t>(dtype_bytes(type, c.head_dim));
  block.keys_f16 = block.values_f16 = type == DType::kF16;
  block.position = c.position + first;
  block.scale = 1 / std::sqrt(static_cast<float>(c.head_dim)), block.softcap = c.softcap, block.window = c.window;
  block.sinks = c.sinks ? sinks.data() : nullptr;
  block.scratch = reinterpret_cast<float*>(scratch.data());
  kernels.rows.attention(block);
  return y;
}

// One query in doubles; magnitude: of what is added up.
void exact(const Case& c, const Rows& keys, const Rows& values, const float* q, int64_t position, double sink,
           std::vector<double>& y, std::vector<double>& magnitude) {
  const int64_t begin = c.window > 0 ? std::max<int64_t>(position - c.window + 1, 0) : 0;
  const auto dim = static_cast<size_t>(c.head_dim);
  std::vector<double> logits;
  double most = c.sinks ? sink : -INFINITY;
  for (int64_t p = begin; p <= position; ++p) {
    double dot = 0;
    for (size_t d = 0; d < dim; ++d) dot += double(q[d]) * double(keys.values[static_cast<size_t>(p) * dim + d]);
    dot /= std::sqrt(double(c.head_dim));
    if (c.softcap > 0) dot = double(c.softcap) * std::tanh(dot / double(c.softcap));
    logits.push_back(dot), most = std::max(most, dot);
  }
  double total = c.sinks ? std::exp(sink - most) : 0;
  y.assign(dim, 0), magnitude.assign(dim, 0);
  for (size_t i = 0; i < logits.size(); ++i) {
    const double weight = std::exp(logits[i] - most);
    total += weight;
    for (size_t d = 0; d < dim; ++d) {
      const double v = weight * double(values.values[(static_cast<size_t>(begin) + i) * dim + d]);
      y[d] += v, magnitude[d] += std::abs(v);
    }
  }
  for (size_t d = 0; d < dim; ++d) y[d] /= total, magnitude[d] /= total;
}

}  // namespace

TEST_CASE("attention's kernel against double arithmetic, and the same bits in blocks of any size") {
  const Case cases[] = {{1, 1, 128, 0},          {1, 1, 64, 37},           {1, 2, 40, 30},
                        {8, 1, 128, 70},         {3, 5, 7, 61, 9},         {2, 12, 96, 20, 0, 20, true},
                        {1, 24, 64, 100},        {5, 9, 80, 505, 40},      {1, 141, 128, 0, 0, 0, true},
                        {8, 32, 128, 500, 0, 5}, {1, 250, 16, 3, 1},     {20, 1, 128, 90},
                        {4, 60, 64, 610, 70},    {2, 70, 256, 40},       {3, 40, 32, 990, 0, 0, true, 20},
                        {1, 1, 64, 700, 0, 0, false, 20}};
  for (const DType type : {DType::kF32, DType::kF16}) {
    for (const Case& c : cases) {
      CAPTURE(c.heads); CAPTURE(c.rows); CAPTURE(c.head_dim); CAPTURE(c.position); CAPTURE(c.window);
      std::mt19937 rng(5);
      const Rows keys(c.position + c.rows, c.head_dim, type, rng), values(c.position + c.rows, c.head_dim, type, rng);
      std::vector<float> q(static_cast<size_t>(c.rows * c.heads * c.head_dim)), sinks(static_cast<size_t>(c.heads));
      std::normal_distribution<float> normal(0, c.spread);
      for (auto* of : {&q, &sinks})
        for (float& v : *of) v = normal(rng);
      for (const Level* level : available_levels(cpu_info().features)) {
        CAPTURE(std::string(level->name));
        const Kernels kernels = level->kernels();
        const std::vector<float> y = attend(kernels, c, keys, values, type, q, sinks, 0, c.rows);
        std::vector<double> want, magnitude;
        for (int32_t i = 0; i < c.rows * c.heads; ++i) {
          const auto at = static_cast<size_t>(i * c.head_dim);
          exact(c, keys, values, &q[at], c.position + i / c.heads, double(sinks[static_cast<size_t>(i % c.heads)]), want,
                magnitude);
          bool close = true;
          const double most = bound(*level, type) * double(c.spread) / 2;
          for (size_t d = 0; d < want.size(); ++d)
            close &= std::abs(double(y[at + d]) - want[d]) <= most * magnitude[d] + 1e-9;
          CHECK(close);
        }
        const auto row_floats = static_cast<size_t>(c.heads * c.head_dim);
        for (int32_t part : {1, 3, 30}) {
          for (int32_t first = 0; first < c.rows; first += part) {
            const int32_t rows = std::min(part, c.rows - first);
            const std::vector<float> some = attend(kernels, c, keys, values, type, q, sinks, first, rows);
            CHECK(std::memcmp(some.data(), &y[static_cast<size_t>(first) * row_floats], some.size() * 4) == 0);
          }
        }
      }
    }
  }
}
