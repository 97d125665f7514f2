// Row ops of every SIMD level against the reference.
#include <doctest/doctest.h>

#include "backends/reference/reference.h"
#include "support/simd_backends.h"
#include "support/op_runner.h"

using namespace moiety;
using namespace moiety::test;

namespace {

constexpr double kEps = 0x1p-23;
constexpr Gate kTenEps{10 * kEps, 1e-7};

// Runs the op on the reference and on every level; returns what is wrong first.
std::string check(const Op& op, const std::vector<Matrix>& inputs, int64_t cols, Batch batch, const Gate& gate) {
  const auto serial = make_threads("serial", 1), pool = make_threads("tbb", 2);
  const ReferenceBackend reference;
  const Matrix want = OpRunner(reference, *serial).rows(op, inputs, cols, batch);
  for (const auto& level : simd_backends()) {
    const Matrix got = OpRunner(*level, *serial).rows(op, inputs, cols, batch);
    if (std::string wrong = compare(got.values, want.values, gate); !wrong.empty()) return level->target() + ": " + wrong;
    const Matrix threaded = OpRunner(*level, *pool).rows(op, inputs, cols, batch);
    if (std::string wrong = same_bits(threaded.values, got.values); !wrong.empty())
      return level->target() + ", threads: " + wrong;
  }
  return {};
}

// Values across the whole range, with the special points of the activations.
Matrix sweep() {
  Matrix m{1, 0, {}};
  for (float x = -120; x <= 120; x += 0.03125f) m.values.push_back(x);
  for (float x = -1.5f; x <= 1.5f; x += 0.001f) m.values.push_back(x);
  for (float x : {0.0f, -0.0f, 1e-30f, -1e-30f, 1e-42f, 1e30f, 87.5f, 88.8f, -103.9f, 0.25f, -0.25f}) m.values.push_back(x);
  m.cols = static_cast<int64_t>(m.values.size());
  return m;
}

const std::vector<int64_t> kWidths{1, 3, 15, 16, 17, 31, 64, 100, 2053};

}  // namespace

TEST_CASE("norms") {
  for (const int64_t cols : kWidths) {
    CAPTURE(cols);
    const Matrix x = random_matrix(5, cols, 1, 3);
    const OwnedTensor weight = make_vector(cols, 2), bias = make_vector(cols, 3);
    CHECK(check(RmsNorm{weight.tensor, 1e-6f}, {x}, cols, plain_batch(5), kTenEps) == "");
    // The mean is subtracted: an error is judged against the largest value, not against a difference near 0.
    const Gate gate{10 * kEps, 60 * kEps};
    CHECK(check(LayerNorm{weight.tensor, {}, 1e-5f}, {x}, cols, plain_batch(5), gate) == "");
    CHECK(check(LayerNorm{weight.tensor, bias.tensor, 1e-5f}, {x}, cols, plain_batch(5), gate) == "");
  }
}

TEST_CASE("rms_norm of groups, with a weight for the row or for a group") {
  for (const int64_t size : {5, 16, 128}) {
    const Matrix x = random_matrix(70, 6 * size, 4);
    const OwnedTensor whole = make_vector(6 * size, 5), one = make_vector(size, 6);
    CHECK(check(RmsNorm{whole.tensor, 1e-6f, 6}, {x}, 6 * size, plain_batch(70), kTenEps) == "");
    CHECK(check(RmsNorm{one.tensor, 1e-6f, 6}, {x}, 6 * size, plain_batch(70), kTenEps) == "");
  }
}

TEST_CASE("elementwise arithmetic") {
  for (const int64_t cols : kWidths) {
    CAPTURE(cols);
    const Matrix a = random_matrix(33, cols, 7), b = random_matrix(33, cols, 8);
    CHECK(check(Scale{0.37f}, {a}, cols, plain_batch(33), kTenEps) == "");
    CHECK(check(Clamp{0.5f}, {a}, cols, plain_batch(33), kTenEps) == "");
    CHECK(check(Add{1}, {a, b}, cols, plain_batch(33), kTenEps) == "");
    CHECK(check(Add{0.22f}, {a, b}, cols, plain_batch(33), Gate{10 * kEps, 2 * kEps}) == "");
  }
}

TEST_CASE("activations over their whole range") {
  const Matrix x = sweep();
  for (const Activation kind : {Activation::kSilu, Activation::kGelu, Activation::kGeluTanh, Activation::kRelu}) {
    CAPTURE(static_cast<int>(kind));
    CHECK(check(Act{kind}, {x}, x.cols, plain_batch(1), kTenEps) == "");
  }
}

TEST_CASE("gated activations, with and without a limit") {
  const Matrix gate = sweep();
  Matrix up = random_matrix(1, gate.cols, 9, 4);
  for (const Activation kind :
       {Activation::kSilu, Activation::kGelu, Activation::kGeluTanh, Activation::kRelu, Activation::kSwigluOai})
    for (const float limit : {0.0f, 7.0f}) {
      CAPTURE(static_cast<int>(kind));
      // The product scales the absolute bound: up reaches 20.
      CHECK(check(Glu{kind, limit}, {gate, up}, gate.cols, plain_batch(1), Gate{12 * kEps, 2e-6}) == "");
    }
  for (const int64_t cols : kWidths)
    CHECK(check(Glu{}, {random_matrix(9, cols, 10), random_matrix(9, cols, 11)}, cols, plain_batch(9), kTenEps) == "");
}

TEST_CASE("NaN passes through every elementwise op") {
  const auto serial = make_threads("serial", 1);
  Matrix x = random_matrix(1, 19, 12);
  x.values[3] = x.values[18] = NAN;
  const Matrix one = random_matrix(1, 19, 13);
  for (const auto& level : simd_backends()) {
    OpRunner runner(*level, *serial);
    Batch batch = plain_batch(1);
    const auto passes = [&](const Op& op, std::vector<Matrix> inputs) {
      const Matrix y = runner.rows(op, std::move(inputs), 19, batch);
      int nans = 0;
      for (const float v : y.values) nans += std::isnan(v);
      return nans == 2 && std::isnan(y.values[3]) && std::isnan(y.values[18]);
    };
    CAPTURE(level->target());
    for (const Activation kind : {Activation::kSilu, Activation::kGelu, Activation::kGeluTanh, Activation::kRelu}) {
      CHECK(passes(Act{kind}, {x}));
      CHECK(passes(Glu{kind, 7}, {x, one}));
      CHECK(passes(Glu{kind, 7}, {one, x}));
    }
    CHECK(passes(Glu{Activation::kSwigluOai, 7}, {x, one}));
    CHECK(passes(Clamp{1}, {x}));
    CHECK(passes(Scale{2}, {x}));
    CHECK(passes(Add{0.5f}, {one, x}));
  }
}

TEST_CASE("rope: both pairings, partial, odd sizes, positions up to 8K") {
  const auto frequencies = [](int64_t pairs) {
    std::vector<float> f;
    for (int64_t i = 0; i < pairs; ++i) f.push_back(static_cast<float>(std::pow(10000.0, -double(i) / double(pairs))));
    return f;
  };
  for (const int64_t head_dim : {2, 6, 16, 64, 80, 128})
    for (const int64_t pairs : {head_dim / 2, head_dim / 4})
      for (const bool interleaved : {false, true})
        for (const int first : {0, 1, 4095, 8150}) {
          if (pairs < 1) continue;
          CAPTURE(head_dim); CAPTURE(pairs); CAPTURE(interleaved); CAPTURE(first);
          const Matrix x = random_matrix(40, 3 * head_dim, 14);
          float most = 0;
          for (const float v : x.values) most = std::max(most, std::fabs(v));
          const Rope op{3, static_cast<int>(head_dim), interleaved, frequencies(pairs), 1.1f};
          CHECK(check(op, {x}, 3 * head_dim, plain_batch(40, first), Gate{0, 2e-6 * most * 1.1}) == "");
        }
}

TEST_CASE("embedding decodes every type") {
  for (const DType type : {DType::kF32, DType::kF16, DType::kBF16, DType::kQ8_0, DType::kQ4_0, DType::kQ4_K, DType::kQ6_K}) {
    const OwnedTensor table = make_weight(type, 9, 256, 15);
    Batch batch = plain_batch(7);
    batch.ids = {8, 0, 3, 3, 7, 1, 2};
    CHECK(check(Embedding{table.tensor, 1}, {}, 256, batch, Gate{0, 0}) == "");
    CHECK(check(Embedding{table.tensor, 12.5f}, {}, 256, batch, kTenEps) == "");
  }
}

TEST_CASE("select_rows takes the wanted rows; rope follows their positions") {
  const auto serial = make_threads("serial", 1);
  const Matrix x = random_matrix(9, 16, 16);
  Batch batch = plain_batch(9, 100);
  batch.wanted = {0, 4, 8};
  const ReferenceBackend reference;
  std::vector<const Backend*> all{&reference};
  const auto levels = simd_backends();
  for (const auto& level : levels) all.push_back(level.get());
  for (const Backend* backend : all) {
    CAPTURE(backend->target());
    OpRunner runner(*backend, *serial);
    const Rope rope{1, 16, false, std::vector<float>(8, 0.01f)};
    const Matrix turned = runner.rows(rope, {x}, 16, batch);
    runner.extent = Extent::kWanted;
    const Matrix chosen = runner.rows(SelectRows{}, {x}, 16, batch);
    for (size_t i = 0; i < 3; ++i)
      for (size_t c = 0; c < 16; ++c) CHECK(chosen.values[16 * i + c] == x.values[64 * i + c]);
    const Matrix after = runner.rows(rope, {chosen}, 16, batch);
    for (size_t i = 0; i < 3; ++i)
      for (size_t c = 0; c < 16; ++c) CHECK(after.values[16 * i + c] == turned.values[64 * i + c]);
  }
}

TEST_CASE("put_rows writes rows of any width and place, and nothing else") {
  alignas(64) float x[3][80], bias[80], y[3 * 96 + 16];
  for (int i = 0; i < 80; ++i) {
    bias[i] = 0.5f * static_cast<float>(i);
    for (int r = 0; r < 3; ++r) x[r][i] = static_cast<float>(100 * r + i);
  }
  for (const simd::Level* level : simd::available_levels(cpu_info().features)) {
    CAPTURE(std::string(level->name));
    for (const int64_t cols : {1, 15, 16, 48, 67, 80}) {
      for (const int64_t from : {0, 3}) {
        for (const int kind : {0, 1, 2, 3}) {
          const bool biased = kind & 1;
          std::fill(std::begin(y), std::end(y), -7.0f);
          level->kernels().rows.put_rows(x[0], 80, biased ? bias : nullptr, 3, cols, kind & 2, y + from, 96);
          for (int64_t i = 0; i < static_cast<int64_t>(std::size(y)); ++i) {
            const int64_t r = (i - from) / 96, c = (i - from) % 96;
            const bool inside = i >= from && r < 3 && c < cols;
            const float want = inside ? x[r][c] + (biased ? bias[c] : 0) : -7.0f;
            if (y[i] != want) FAIL_CHECK("element " << i << " is " << y[i] << ", not " << want);
          }
        }
      }
    }
  }
}

TEST_CASE("to_f16 gives the codec's bits") {
  std::mt19937 random(17);
  std::vector<float> x;
  for (uint32_t h = 0; h < 65536; ++h) {  // every half, and its neighbours around the ties
    const float value = f16_to_f32(static_cast<uint16_t>(h));
    x.push_back(value);
    if (std::isfinite(value)) {
      x.push_back(std::nextafter(value, INFINITY));
      x.push_back(value * 1.00048828125f);
      x.push_back(std::nextafter(value * 1.00048828125f, 0.0f));
    }
  }
  for (int i = 0; i < 100000; ++i) {
    const auto bits = static_cast<uint32_t>(random());
    float value;
    std::memcpy(&value, &bits, sizeof value);
    x.push_back(value);
  }
  for (const simd::Level* level : simd::available_levels(cpu_info().features)) {
    CAPTURE(level->name);
    std::vector<uint16_t> y(x.size(), 0x5555);
    level->kernels().rows.to_f16(x.data(), static_cast<int64_t>(x.size()), y.data());
    size_t wrong = 0;
    for (size_t i = 0; i < x.size(); ++i)
      wrong += std::isnan(x[i]) ? !std::isnan(f16_to_f32(y[i])) : y[i] != f32_to_f16(x[i]);
    CHECK(wrong == 0);
  }
}

TEST_CASE("sinusoids, far out and of pads") {
  for (const int64_t half : {2, 7, 32, 100}) {
    CAPTURE(half);
    AddSinusoid op{{}, 2};
    for (int64_t i = 0; i < half; ++i) op.frequencies.push_back(std::exp(-9.2f * static_cast<float>(i) / static_cast<float>(half)));
    Batch batch = plain_batch(70, 99930);
    batch.positions[3] = kPadPosition;
    CHECK(check(op, {random_matrix(70, 2 * half, 11)}, 2 * half, batch, Gate{4 * kEps, 4 * kEps}) == "");
  }
}
