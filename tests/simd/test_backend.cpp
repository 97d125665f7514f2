// Linear and Experts of the SIMD backend against the reference, and their promise: the same bits for any thread count
// and any neighbours in the batch, whichever of GEMV and GEMM runs.
#include <doctest/doctest.h>

#include <random>

#include "backends/reference/reference.h"
#include "core/blocks.h"
#include "core/error.h"
#include "simd/backend.h"
#include "simd/levels.h"
#include "support/compare.h"
#include "support/simd_backends.h"

using namespace moiety;
using moiety::test::compare;
using moiety::test::Gate;
using moiety::test::same_bits;

namespace {

struct Matrix {
  std::vector<std::byte> bytes;
  Tensor tensor;
};

// Random weights that begin at an odd address. Types that encode() does not write get random codes.
Matrix matrix(DType type, int64_t rows, int64_t cols, std::mt19937& rng) {
  Matrix m;
  const size_t row = dtype_bytes(type, cols);
  m.bytes.resize(row * static_cast<size_t>(rows) + 1);
  if (can_encode(type)) {
    std::normal_distribution<float> normal(0, 1 / std::sqrt(static_cast<float>(cols)));
    std::vector<float> values(static_cast<size_t>(rows * cols));
    for (float& v : values) v = normal(rng);
    encode(type, values.data(), m.bytes.data() + 1, rows * cols);
  } else {
    for (auto& byte : m.bytes) byte = static_cast<std::byte>(rng());
    const DTypeInfo& info = dtype_info(type);
    for (size_t at = 1; at < m.bytes.size(); at += info.bytes) {
      const bool at_end = type == DType::kQ2_K || type == DType::kQ3_K;
      const size_t scale = at_end ? at + info.bytes - (type == DType::kQ2_K ? 4 : 2) : at;
      if (type == DType::kMXFP4) {
        m.bytes[at] = std::byte{121};
        continue;
      }
      store_u16(&m.bytes[scale], f32_to_f16(0.004f));
      if (type == DType::kQ2_K || type == DType::kQ5_K || type == DType::kQ4_1 || type == DType::kQ5_1)
        store_u16(&m.bytes[scale + 2], f32_to_f16(-0.01f));
    }
  }
  m.tensor = make_tensor(m.bytes.data() + 1, type, {rows, cols});
  return m;
}

std::vector<float> random_floats(int64_t count, std::mt19937& rng) {
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<size_t>(count));
  for (float& v : values) v = normal(rng);
  return values;
}

// One op behind a source of rows (and a routing); runs it as the executor does, output and scratch poisoned.
struct Bench {
  Graph graph;
  Value node;
  PlanOptions options;
  int64_t in_cols = 0, out_cols = 0;
  Routing routing;

  std::vector<float> run(const Backend& backend, std::vector<float> x, Threads& threads) const {
    Offer offer = backend.prepare(graph, graph.node(node), options);
    REQUIRE_MESSAGE(offer.kernel, offer.reason);
    const int64_t rows = static_cast<int64_t>(x.size()) / in_cols;
    std::vector<float> y = test::poisoned(static_cast<size_t>(rows * out_cols));
    Buffer scratch(offer.kernel->scratch_bytes(rows, threads.size()) + 64);
    std::memset(scratch.data(), 0xff, scratch.size());
    Operand inputs[3];
    inputs[0].tensor = make_tensor(x.data(), DType::kF32, {rows, in_cols});
    inputs[1].routing = routing;
    Batch batch;
    batch.ids.resize(static_cast<size_t>(rows));
    KernelCall call;
    call.batch = &batch;
    call.inputs = inputs;
    call.output.tensor = make_tensor(y.data(), DType::kF32, {rows, out_cols});
    call.scratch = scratch.data();
    call.threads = &threads;
    offer.kernel->run(call);
    for (size_t i = scratch.size() - 64; i < scratch.size(); ++i) REQUIRE(scratch.data()[i] == std::byte{0xff});
    return y;
  }
};

Bench linear(const Tensor& weight, const Tensor& bias) {
  Bench b;
  Node source;
  source.op = Scale{};
  source.cols = weight.cols();
  Node node;
  node.op = Linear{weight, bias};
  node.inputs[0] = b.graph.add(source);
  node.cols = weight.rows();
  b.in_cols = weight.cols(), b.out_cols = weight.rows();
  b.node = b.graph.add(node);
  return b;
}

Bench experts_of(const ExpertBank& bank, Activation kind, float limit) {
  Bench b;
  const Tensor& down = bank.expert(0).down;
  Node source, choice, node;
  source.op = Scale{}, source.cols = down.rows();
  choice.op = Route{}, choice.kind = Kind::kRouting, choice.cols = 2;
  node.op = Experts{&bank, kind, limit, 1.702f};
  node.inputs = {b.graph.add(source), b.graph.add(choice)};
  node.cols = down.rows();
  b.node = b.graph.add(node);
  b.in_cols = b.out_cols = down.rows();
  return b;
}

const std::vector<DType> kTypes = {DType::kF32,  DType::kF16,    DType::kBF16,   DType::kQ8_0,
                                   DType::kQ4_0, DType::kQ4_1,   DType::kQ5_0,   DType::kQ5_1,
                                   DType::kQ2_K, DType::kQ3_K,   DType::kQ4_K,   DType::kQ5_K,
                                   DType::kQ6_K, DType::kIQ4_NL, DType::kIQ4_XS, DType::kMXFP4};

// int8 and bf16 activations: the error of rounding them, each element against the size of the whole.
Gate gate_of(bool exact, const std::vector<float>& want) {
  if (exact) return Gate{1e-5, 1e-4, 1e-10};
  double power = 0;
  for (const float v : want) power += static_cast<double>(v) * static_cast<double>(v);
  return Gate{0, 0.1 * std::sqrt(power / static_cast<double>(want.size())), 3e-4};
}

// Three workers on two memory nodes, one after the other.
class TwoNodes final : public Threads {
 public:
  TwoNodes() : Threads(3) {}
  const char* name() const override { return "two nodes"; }
  int nodes() const override { return 2; }
  void run(int64_t count, int64_t, TaskRef task) override {
    for (int64_t i = count - 1; i >= 0; --i) task(i, static_cast<int>(i * 3 / count));
  }
};

// A routing of `rows` tokens over `experts`, two each; expert 0 gets none, expert 1 every token.
struct Routes {
  std::vector<int32_t> offsets, row, slot;
  std::vector<float> weight;
  Routing view(int experts) {
    Routing r;
    r.experts = experts, r.top_k = 2;
    r.offsets = offsets.data(), r.row = row.data(), r.slot = slot.data(), r.weight = weight.data();
    return r;
  }
};

// only >= 0: the choices of that row alone, as a batch of one.
Routes routes(int64_t rows, int experts, int64_t only = -1) {
  Routes r;
  r.offsets.push_back(0);
  for (int e = 0; e < experts; ++e) {
    for (int64_t t = 0; t < rows; ++t) {
      const int second = 2 + static_cast<int>(t * t % (experts - 2));
      if ((e != 1 && e != second) || (only >= 0 && t != only)) continue;
      r.row.push_back(only >= 0 ? 0 : static_cast<int32_t>(t));
      r.slot.push_back(e == 1 ? 0 : 1);
      r.weight.push_back(e == 1 ? 0.625f : 0.25f + 0.01f * static_cast<float>(t));
    }
    r.offsets.push_back(static_cast<int32_t>(r.row.size()));
  }
  return r;
}

}  // namespace

TEST_CASE("a linear layer's scratch for the most rows is enough for fewer, also where tiles come in batches") {
  std::mt19937 rng(5);
  const auto pool = make_threads("tbb", 3);
  const Matrix weight = matrix(DType::kQ4_0, 64, 8192, rng);
  const Bench bench = linear(weight.tensor, {});
  for (const auto& level : test::simd_backends()) {
    CAPTURE(level->target());
    const Offer offer = level->prepare(bench.graph, bench.graph.node(bench.node), bench.options);
    REQUIRE(offer.kernel);
    size_t before = 0;
    for (int64_t rows = 1; rows <= 700; ++rows) {
      const size_t bytes = offer.kernel->scratch_bytes(rows, 64);
      if (bytes < before) FAIL_CHECK(rows << " rows take less than one row less");
      before = bytes;
    }
    if (level->target() == "scalar") continue;  // slow, and the code is the same
    const std::vector<float> x = random_floats(170 * 8192, rng), all = bench.run(*level, x, *pool);
    for (const size_t row : {size_t{0}, size_t{95}, size_t{96}, size_t{169}}) {
      const auto from = x.begin() + static_cast<int64_t>(row * 8192);
      const std::vector<float> one = bench.run(*level, {from, from + 8192}, *pool);
      CHECK(same_bits(one, std::vector<float>(all.begin() + static_cast<int64_t>(row * 64),
                                              all.begin() + static_cast<int64_t>(row * 64 + 64))) == "");
    }
  }
}

TEST_CASE("linear: every type, close to the reference, the same bits alone, in a batch and on any threads") {
  std::mt19937 rng(3);
  const auto levels = test::simd_backends();
  const ReferenceBackend reference;
  auto serial = make_threads("serial", 1), pool = make_threads("tbb", 3);
  for (DType type : kTypes) {
    CAPTURE(dtype_info(type).name);
    for (const auto& [outputs, cols] : {std::pair<int64_t, int64_t>{33, 256}, {1, 512}}) {
      const Matrix weight = matrix(type, outputs, cols, rng);
      std::vector<float> bias = random_floats(outputs, rng);
      Bench b = linear(weight.tensor, make_tensor(bias.data(), DType::kF32, {outputs}));
      const std::vector<float> x = random_floats(29 * cols, rng);
      const auto want = b.run(reference, x, *serial);
      for (auto precision : {ActivationPrecision::kF32, ActivationPrecision::kAuto}) {
        b.options.activations = precision;
        const bool exact = precision == ActivationPrecision::kF32 || type == DType::kF32 || type == DType::kF16;
        for (const auto& simd : levels) {
          CAPTURE(simd->target());
          const auto got = b.run(*simd, x, *pool);
          CHECK(compare(got, want, gate_of(exact, want)) == "");
          for (int64_t rows : {1, 5}) {
            const std::vector<float> some(x.begin(), x.begin() + rows * cols);
            CHECK(same_bits({got.begin(), got.begin() + rows * outputs}, b.run(*simd, some, *serial)) == "");
          }
        }
      }
    }
  }
}

TEST_CASE("experts: types, activations and biases, close to the reference, the same bits however they are batched") {
  std::mt19937 rng(4);
  const auto levels = test::simd_backends();
  const ReferenceBackend reference;
  auto serial = make_threads("serial", 1), pool = make_threads("tbb", 3);
  TwoNodes two_nodes;
  struct Case {
    DType in, down;
    Activation kind;
    float limit;
    bool gate, bias;
    DType bias_type = DType::kF32;
  };
  const Case cases[] = {{DType::kQ4_0, DType::kQ4_0, Activation::kSilu, 0, true, false},
                        {DType::kF32, DType::kF32, Activation::kGelu, 0, false, true},
                        {DType::kBF16, DType::kBF16, Activation::kSilu, 0, true, false},
                        {DType::kMXFP4, DType::kMXFP4, Activation::kSwigluOai, 1.5f, true, true},
                        {DType::kQ4_K, DType::kQ6_K, Activation::kGeluTanh, 0, true, true},
                        {DType::kQ8_0, DType::kF16, Activation::kRelu, 0, false, false},
                        {DType::kF16, DType::kF16, Activation::kGelu, 0, false, true, DType::kF16},
                        {DType::kBF16, DType::kBF16, Activation::kGelu, 0, false, true, DType::kBF16},
                        {DType::kQ8_0, DType::kQ8_0, Activation::kGelu, 0, false, true, DType::kF16},
                        {DType::kQ4_0, DType::kQ4_1, Activation::kGelu, 0, false, true},
                        {DType::kQ4_K, DType::kQ6_K, Activation::kGelu, 0, false, true, DType::kF16}};
  constexpr int kExperts = 7;
  for (const Case& c : cases) {
    CAPTURE(dtype_info(c.in).name);
    constexpr int64_t kWidth = 256, kHidden = 256;
    std::vector<Matrix> store;
    std::vector<Expert> experts;
    const std::vector<float> bias = random_floats(kHidden, rng);
    std::vector<std::byte> bias_bytes(dtype_bytes(c.bias_type, kHidden));
    encode(c.bias_type, bias.data(), bias_bytes.data(), kHidden);
    const Tensor bias_view = make_tensor(bias_bytes.data(), c.bias_type, {kHidden});
    for (int e = 0; e < kExperts; ++e) {
      Expert x;
      store.push_back(matrix(c.in, kHidden, kWidth, rng)), x.up = store.back().tensor;
      if (c.gate) store.push_back(matrix(c.in, kHidden, kWidth, rng)), x.gate = store.back().tensor;
      store.push_back(matrix(c.down, kWidth, kHidden, rng)), x.down = store.back().tensor;
      if (c.bias) x.up_bias = x.down_bias = bias_view;
      if (c.bias && c.gate) x.gate_bias = bias_view;
      experts.push_back(x);
    }
    const ExpertBank bank("experts", experts);
    Bench b = experts_of(bank, c.kind, c.limit);
    constexpr int64_t kRows = 31;
    const std::vector<float> x = random_floats(kRows * kWidth, rng);
    Routes all = routes(kRows, kExperts);
    b.routing = all.view(kExperts);
    const auto want = b.run(reference, x, *serial);
    for (auto precision : {ActivationPrecision::kF32, ActivationPrecision::kAuto}) {
      b.options.activations = precision;
      const bool exact = precision == ActivationPrecision::kF32 || c.in == DType::kF32;
      for (const auto& simd : levels) {
        CAPTURE(simd->target());
        b.routing = all.view(kExperts);
        const auto got = b.run(*simd, x, *pool);
        CHECK(compare(got, want, exact ? Gate{1e-5, 2e-4, 1e-9} : Gate{0.2, 0.4, 2e-3}) == "");
        CHECK(same_bits(got, b.run(*simd, x, *serial)) == "");
        CHECK(same_bits(got, b.run(*simd, x, two_nodes)) == "");
        for (int64_t t : {0, 30}) {
          Routes one = routes(kRows, kExperts, t);
          b.routing = one.view(kExperts);
          const std::vector<float> row(x.begin() + t * kWidth, x.begin() + (t + 1) * kWidth);
          CHECK(same_bits({got.begin() + t * kWidth, got.begin() + (t + 1) * kWidth}, b.run(*simd, row, *pool)) == "");
        }
        Routes none = routes(0, kExperts);
        b.routing = none.view(kExperts);
        CHECK(compare(b.run(*simd, random_floats(kWidth, rng), *pool), std::vector<float>(kWidth, 0.0f), Gate{}) == "");
      }
    }
  }
}

TEST_CASE("experts with more tokens than a batch of outputs holds, wider than a whole panel: the bits of each alone") {
  std::mt19937 rng(6);
  const auto pool = make_threads("tbb", 3);
  constexpr int kExperts = 4;
  constexpr int64_t kWidth = 1056, kHidden = 80, kRows = 300;
  std::vector<Matrix> store;
  std::vector<Expert> experts;
  for (int e = 0; e < kExperts; ++e) {
    Expert x;
    store.push_back(matrix(DType::kQ4_0, kHidden, kWidth, rng)), x.gate = store.back().tensor;
    store.push_back(matrix(DType::kQ8_0, kHidden, kWidth, rng)), x.up = store.back().tensor;
    store.push_back(matrix(DType::kF16, kWidth, kHidden, rng)), x.down = store.back().tensor;
    experts.push_back(x);
  }
  const ExpertBank bank("experts", experts);
  Bench b = experts_of(bank, Activation::kSilu, 0);
  for (const auto& level : test::simd_backends()) {
    if (level->target() == "scalar") continue;  // slow, and the code is the same
    CAPTURE(level->target());
    for (const int64_t rows : {int64_t{61}, kRows}) {  // expert 1 gets them all
      const std::vector<float> x = random_floats(rows * kWidth, rng);
      Routes all = routes(rows, kExperts);
      b.routing = all.view(kExperts);
      const std::vector<float> got = b.run(*level, x, *pool);
      for (const int64_t t : {int64_t{0}, int64_t{59}, int64_t{60}, rows - 1}) {
        Routes one = routes(rows, kExperts, t);
        b.routing = one.view(kExperts);
        const std::vector<float> row(x.begin() + t * kWidth, x.begin() + (t + 1) * kWidth);
        CHECK(same_bits({got.begin() + t * kWidth, got.begin() + (t + 1) * kWidth}, b.run(*level, row, *pool)) == "");
      }
    }
  }
}

TEST_CASE("what the SIMD backend does not build it refuses") {
  std::mt19937 rng(5);
  const SimdBackend simd{""};
  Matrix ids;
  ids.bytes.resize(4 * 16 * 64);
  ids.tensor = make_tensor(ids.bytes.data(), DType::kI32, {16, 64});
  const Bench b = linear(ids.tensor, {});
  CHECK(simd.prepare(b.graph, b.graph.node(b.node), b.options).reason != "");
  CHECK_THROWS_AS(SimdBackend("avx9000"), Error);
  const Matrix weight = matrix(DType::kQ8_0, 64, 64, rng);
  Expert expert;
  expert.up = expert.down = weight.tensor;
  const ExpertBank bank("experts", {expert});
  Node node = b.graph.node(b.node);
  node.op = Experts{&bank, Activation::kSwigluOai, 0, 1.702f};
  CHECK(simd.prepare(b.graph, node, b.options).reason == "swiglu_oai needs a gate");
}
