// The reference against sums done by hand: it is what every other backend is judged by.
#include "backends/reference/reference.h"

#include <doctest/doctest.h>

#include "support/op_runner.h"

using namespace moiety;
using namespace moiety::test;

namespace {

struct Runner {
  ReferenceBackend backend;
  std::unique_ptr<Threads> threads = make_threads("serial", 1);
  OpRunner run{backend, *threads};
};

Matrix matrix(int64_t rows, int64_t cols, std::vector<float> values) { return {rows, cols, std::move(values)}; }

Tensor view(std::vector<float>& values, std::initializer_list<int64_t> shape) {
  return make_tensor(values.data(), DType::kF32, shape);
}

void check_near(const Matrix& got, const std::vector<double>& want) {
  CHECK(compare(got.values, want, Gate{1e-6, 1e-7}) == "");
}

}  // namespace

TEST_CASE("norms by hand") {
  Runner r;
  Batch batch = plain_batch(1);
  std::vector<float> weight{1, 2}, bias{10, 20}, four{1, 1, 1, 2};
  check_near(r.run.rows(RmsNorm{view(weight, {2}), 0}, {matrix(1, 2, {3, 4})}, 2, batch),
             {3 / std::sqrt(12.5), 8 / std::sqrt(12.5)});
  check_near(r.run.rows(RmsNorm{view(weight, {2}), 0, 2}, {matrix(1, 4, {3, 4, 0, 5})}, 4, batch),
             {3 / std::sqrt(12.5), 8 / std::sqrt(12.5), 0, 10 / std::sqrt(12.5)});
  check_near(r.run.rows(RmsNorm{view(four, {4}), 0, 2}, {matrix(1, 4, {1, 1, 2, 2})}, 4, batch), {1, 1, 1, 2});
  check_near(r.run.rows(LayerNorm{view(weight, {2}), view(bias, {2}), 0}, {matrix(1, 2, {1, 3})}, 2, batch), {9, 22});
}

TEST_CASE("linear and activations by hand") {
  Runner r;
  Batch batch = plain_batch(2);
  std::vector<float> weight{1, 2, 3, 4, 5, 6}, bias{1, 0, -1};
  check_near(r.run.rows(Linear{view(weight, {3, 2}), view(bias, {3})}, {matrix(2, 2, {1, 1, 2, -1})}, 3, batch),
             {4, 7, 10, 1, 2, 3});
  batch = plain_batch(1);
  check_near(r.run.rows(Act{Activation::kSilu}, {matrix(1, 2, {0, 1})}, 2, batch), {0, 1 / (1 + std::exp(-1.0))});
  check_near(r.run.rows(Act{Activation::kGelu}, {matrix(1, 2, {1, -1})}, 2, batch), {0.841344746068543, -0.158655253931457});
  check_near(r.run.rows(Act{Activation::kGeluTanh}, {matrix(1, 1, {1})}, 1, batch), {0.841191990607477});
  const double gate = 7 / (1 + std::exp(-1.702 * 7));
  check_near(r.run.rows(Glu{Activation::kSwigluOai, 7, 1.702f}, {matrix(1, 2, {9, 9}), matrix(1, 2, {-8, 2})}, 2, batch),
             {gate * -6, gate * 3});
  check_near(r.run.rows(Add{0.5f}, {matrix(1, 2, {1, 2}), matrix(1, 2, {4, 6})}, 2, batch), {3, 5});
  check_near(r.run.rows(Clamp{2}, {matrix(1, 3, {-3, 1, 3})}, 3, batch), {-2, 1, 2});
}

TEST_CASE("rope by hand: a quarter turn, both pairings, the rest copied") {
  Runner r;
  Batch batch = plain_batch(1, 1);
  const std::vector<float> quarter{static_cast<float>(M_PI / 2)};
  const Matrix x = matrix(1, 4, {1, 2, 3, 4});
  check_near(r.run.rows(Rope{1, 4, false, quarter}, {x}, 4, batch), {-2, 1, 3, 4});
  const std::vector<float> two{static_cast<float>(M_PI / 2), 0};
  check_near(r.run.rows(Rope{1, 4, false, two}, {x}, 4, batch), {-3, 2, 1, 4});
  check_near(r.run.rows(Rope{1, 4, true, two, 2}, {x}, 4, batch), {-4, 2, 6, 8});
}

TEST_CASE("attention by hand: causal, window, sinks, soft cap, grouped heads") {
  Runner r;
  r.run.state = {1, 1, 1};
  KvCache cache(1, 1, 1, 4, DType::kF32, DType::kF32);
  Batch batch = plain_batch(2);
  batch.spans[0].cache = &cache;
  r.run.keys_values({0}, matrix(2, 1, {0, 1}), matrix(2, 1, {10, 20}), batch);
  const double e = std::exp(1.0), e2 = std::exp(2.0);
  const Matrix q = matrix(2, 2, {1, 2, 1, 2});
  Attention op{0, 2, 1, 1, 1};
  check_near(r.run.rows(op, {q}, 2, batch), {10, 10, (10 + 20 * e) / (1 + e), (10 + 20 * e2) / (1 + e2)});
  op.window = 1;
  check_near(r.run.rows(op, {q}, 2, batch), {10, 10, 20, 20});
  op.window = 0;
  std::vector<float> sinks{0, 1};
  op.sinks = view(sinks, {2});
  check_near(r.run.rows(op, {q}, 2, batch),
             {5, 10 / (1 + e), (10 + 20 * e) / (2 + e), (10 + 20 * e2) / (1 + e + e2)});
  op.sinks = {};
  op.softcap = 0.5f;
  const double c = std::exp(0.5 * std::tanh(2.0)), c2 = std::exp(0.5 * std::tanh(4.0));
  check_near(r.run.rows(op, {q}, 2, batch), {10, 10, (10 + 20 * c) / (1 + c), (10 + 20 * c2) / (1 + c2)});
}

TEST_CASE("experts by hand: weighed sums, gated and plain, rows without an expert are zero") {
  Runner r;
  Batch batch = plain_batch(3);
  std::vector<float> gate{1, 0}, up{0, 1}, down{2, 3}, down_bias{1, 1}, up2{1, 1}, down2{1, -1};
  std::vector<Expert> experts(2);
  experts[0] = {view(gate, {1, 2}), view(up, {1, 2}), view(down, {2, 1}), {}, {}, view(down_bias, {2})};
  experts[1] = {{}, view(up2, {1, 2}), view(down2, {2, 1}), {}, {}, {}};
  const ExpertBank bank("bank", experts);
  Buffer memory(Routing::bytes(3, 2, 2));
  Routing routing = Routing::at(memory.data(), 3, 2, 2);
  const std::vector<int32_t> offsets{0, 1, 3}, rows{0, 0, 2};
  const std::vector<float> weights{0.5f, 0.25f, 1};
  std::copy(offsets.begin(), offsets.end(), routing.offsets);
  std::copy(rows.begin(), rows.end(), routing.row);
  std::copy(weights.begin(), weights.end(), routing.weight);
  const Matrix x = matrix(3, 2, {1, 2, 5, 5, 3, -1});
  // Row 0: 0.5 * ([2, 3] * relu(1) * 2 + 1) + 0.25 * [1, -1] * relu(3); row 2: [1, -1] * relu(2).
  check_near(r.run.rows(Experts{&bank, Activation::kRelu}, {x}, 2, batch, &routing), {3.25, 2.75, 0, 0, 2, -2});
}

TEST_CASE("sinusoids by hand: all sines, then all cosines; a pad gets none") {
  Runner r;
  Batch batch = plain_batch(3);
  batch.positions[1] = kPadPosition;
  check_near(r.run.rows(AddSinusoid{{1, 0.5f}, 2}, {matrix(3, 4, {1, 1, 1, 1, 5, 6, 7, 8, 0, 0, 0, 0})}, 4, batch),
             {1 + std::sin(2.0), 1 + std::sin(1.0), 1 + std::cos(2.0), 1 + std::cos(1.0), 5, 6, 7, 8, std::sin(4.0),
              std::sin(2.0), std::cos(4.0), std::cos(2.0)});
}
