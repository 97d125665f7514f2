#include "backends/onednn/onednn.h"

#include <array>

#include <doctest/doctest.h>

#include "backends/reference/reference.h"
#include "support/op_runner.h"

using namespace moiety;
using namespace moiety::test;

namespace {

// What the backend makes of activations when the weights are bf16.
Matrix rounded(Matrix x) {
  for (float& v : x.values) v = bf16_to_f32(f32_to_bf16(v));
  return x;
}

// max over elements of |y - r| / (2^-24 * sum |a b|)
double worst_error(const Matrix& got, const Matrix& want, const Matrix& x, const OwnedTensor& weight) {
  const int64_t k = x.cols;
  std::vector<float> w(static_cast<size_t>(weight.tensor.elements()));
  decode(weight.tensor.dtype, weight.tensor.data, w.data(), weight.tensor.elements());
  double worst = 0;
  for (int64_t r = 0; r < got.rows; ++r)
    for (int64_t o = 0; o < got.cols; ++o) {
      double sum = 0;
      for (int64_t i = 0; i < k; ++i)
        sum += std::fabs(double(x.values[static_cast<size_t>(r * k + i)]) * double(w[static_cast<size_t>(o * k + i)]));
      const auto at = static_cast<size_t>(r * got.cols + o);
      const double off = std::fabs(double(got.values[at]) - double(want.values[at])) / (sum * 0x1p-24);
      if (!(off <= worst)) worst = off;  // NaN stays
    }
  return worst;
}

}  // namespace

TEST_CASE("oneDNN's products are within the f32 gate, for any shape, with bias and threads") {
  const auto serial = make_threads("serial", 1), pool = make_threads("tbb", 2);
  const OneDnnBackend backend;
  const ReferenceBackend reference;
  for (const DType type : {DType::kF32, DType::kBF16})
    for (const auto& [rows, k, outputs] : {std::array<int64_t, 3>{16, 64, 32}, {17, 100, 300}, {130, 7, 513}, {64, 256, 256}}) {
      CAPTURE(dtype_info(type).name);
      CAPTURE(rows);
      CAPTURE(outputs);
      const OwnedTensor weight = make_weight(type, outputs, k, 1), bias = make_vector(outputs, 2);
      const Matrix x = type == DType::kBF16 ? rounded(random_matrix(rows, k, 3)) : random_matrix(rows, k, 3);
      for (const Tensor& b : {Tensor{}, bias.tensor}) {
        Batch batch = plain_batch(rows);
        const Linear op{weight.tensor, b};
        const Matrix want = OpRunner(reference, *serial).rows(op, {x}, outputs, batch);
        OpRunner runner(backend, *pool), alone(backend, *serial);
        runner.options.min_rows = alone.options.min_rows = OneDnnBackend::kMinRows;
        const Matrix got = runner.rows(op, {x}, outputs, batch);
        CHECK(compare(got.values, want.values, Gate{1e-2, 1e-3, 1e-10}) == "");
        if (!b) CHECK(worst_error(got, want, x, weight) <= 16);
        CHECK(same_bits(alone.rows(op, {x}, outputs, batch).values, got.values) == "");
      }
    }
}

TEST_CASE("oneDNN refuses what is not its own, with a reason") {
  const auto serial = make_threads("serial", 1);
  const OneDnnBackend backend;
  Batch batch = plain_batch(16);
  const Matrix x = random_matrix(16, 64, 4);
  const auto reason = [&](const Op& op, int64_t cols, int64_t min_rows, ActivationPrecision precision) -> std::string {
    OpRunner runner(backend, *serial);
    runner.options.min_rows = min_rows;
    runner.options.activations = precision;
    try {
      runner.rows(op, {x}, cols, batch);
    } catch (const std::exception& error) {
      return error.what();
    }
    return "";
  };
  const OwnedTensor f32 = make_weight(DType::kF32, 8, 64, 5), bf16 = make_weight(DType::kBF16, 8, 64, 6),
                    q8 = make_weight(DType::kQ8_0, 8, 64, 7);
  CHECK(reason(Linear{f32.tensor, {}}, 8, 16, ActivationPrecision::kF32) == "");
  CHECK(reason(Linear{f32.tensor, {}}, 8, 9, ActivationPrecision::kF32) == "few rows");
  CHECK(reason(Linear{bf16.tensor, {}}, 8, 16, ActivationPrecision::kF32) != "");
  CHECK(reason(Linear{q8.tensor, {}}, 8, 16, ActivationPrecision::kAuto) != "");
  CHECK(reason(Scale{2}, 64, 16, ActivationPrecision::kAuto) != "");
}
