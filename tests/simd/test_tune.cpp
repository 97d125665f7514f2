// Tuning: what is measured is in range, belongs to the weights that a graph has, and decides between GEMV and GEMM.
#include <doctest/doctest.h>

#include <cmath>

#include "core/panels.h"
#include "simd/levels.h"
#include "simd/prepare.h"
#include "simd/tune.h"
#include "support/op_runner.h"
#include "support/simd_backends.h"

using namespace moiety;
using namespace moiety::simd;
using namespace moiety::test;

namespace {

int gemms = 0;  // of q8_0
decltype(Int8Kernels::gemm_rows) rows_gemm;
decltype(PanelKernels::gemm) panels_gemm;

// One level's kernels with those above counted, and numbers that a test sets.
class Counting final : public Backend {
 public:
  explicit Counting(const Level& level) : kernels_(level.kernels()) {
    auto& of_rows = kernels_.int8[static_cast<int>(DType::kQ8_0)].gemm_rows;
    auto& of_panels = kernels_.panels[static_cast<int>(DType::kQ8_0)].gemm;
    rows_gemm = of_rows, panels_gemm = of_panels;
    of_rows = [](const uint8_t* weights, int64_t row_bytes, int64_t rows, int64_t k, const Int8Tile& tile,
                 const GemmOut& out, Soon soon) noexcept {
      ++gemms, rows_gemm(weights, row_bytes, rows, k, tile, out, soon);
    };
    of_panels = [](const uint8_t* panel, const Int8Tile& tile, int64_t k, const GemmOut& out, Soon soon) noexcept {
      ++gemms, panels_gemm(panel, tile, k, out, soon);
    };
  }
  std::string name() const override { return "counting"; }
  std::string target() const override { return kernels_.level; }
  Offer prepare(const Graph& graph, const Node& node, const PlanOptions& options) const override {
    const Context context{graph, node, options, Matmul(kernels_, options.activations, &numbers)};
    return std::visit([&](const auto& op) { return simd::prepare(op, context); }, node.op);
  }
  void set(int number) {
    for (auto& layout : numbers.at[static_cast<int>(DType::kQ8_0)])
      layout[static_cast<int>(Form::kInt8)] = static_cast<uint16_t>(number);
  }
  GemmRows numbers;

 private:
  Kernels kernels_;
};

OwnedTensor in_panels(const Tensor& weight) {
  OwnedTensor owned;
  const auto panel = static_cast<size_t>(panel_parts(weight.dtype, weight.cols()).bytes);
  owned.bytes.resize(panel * static_cast<size_t>((weight.rows() + kPanelRows - 1) / kPanelRows) + kAlignment);
  const auto at = reinterpret_cast<uintptr_t>(owned.bytes.data());
  owned.tensor = make_panels(owned.bytes.data() + (align_up(at, kAlignment) - at), weight.dtype, weight.rows(), weight.cols());
  for (int64_t r = 0; r < weight.rows(); r += kPanelRows) pack_panel(weight, r, owned.tensor.row(r));
  return owned;
}

Graph graph_of(std::initializer_list<Tensor> weights) {
  Graph graph;
  for (const Tensor& weight : weights) {
    Node node;
    node.op = Linear{weight, {}};
    graph.add(node);
  }
  return graph;
}

}  // namespace

TEST_CASE("a number decides whether rows run as a GEMM, in linear and in experts, and no bit changes") {
  const OwnedTensor rows = make_weight(DType::kQ8_0, 32, 64, 1), panels = in_panels(rows.tensor);
  const OwnedTensor square = make_weight(DType::kQ8_0, 64, 64, 2), square_panels = in_panels(square.tensor);
  const auto threads = make_threads("serial", 1);
  const Matrix x = random_matrix(5, 64, 3);
  Batch batch = plain_batch(5);
  // Five rows of one expert, none of the other.
  std::vector<int32_t> offsets{0, 5, 5}, row{0, 1, 2, 3, 4}, slot(5, 0);
  std::vector<float> weights(5, 0.5f);
  Routing routing;
  routing.experts = 2, routing.top_k = 1;
  routing.offsets = offsets.data(), routing.row = row.data(), routing.slot = slot.data(), routing.weight = weights.data();

  for (const Level* level : available_levels(cpu_info().features)) {
    CAPTURE(std::string(level->name));
    Counting backend(*level);
    OpRunner runner(backend, *threads);
    for (const bool packed : {false, true}) {
      CAPTURE(packed);
      const Tensor& weight = packed ? panels.tensor : rows.tensor;
      const Tensor& expert = packed ? square_panels.tensor : square.tensor;
      const ExpertBank bank("experts", {Expert{expert, expert, expert, {}, {}, {}}, Expert{expert, expert, expert, {}, {}, {}}});
      const auto linear = [&] { return runner.rows(Linear{weight, {}}, {x}, 32, batch).values; };
      const auto experts = [&] { return runner.rows(Experts{&bank}, {x}, 64, batch, &routing).values; };
      std::vector<float> want[2];
      for (const int number : {1000, 6, 5, 1, 0}) {
        CAPTURE(number);
        backend.set(number);
        const bool gemm = number <= 5;
        gemms = 0;
        const std::vector<float> y = linear();
        CHECK(gemms == (gemm ? 2 : 0));  // a panel each
        gemms = 0;
        const std::vector<float> z = experts();
        CHECK(gemms == (gemm ? 12 : 0));  // four panels of three matrices
        if (number == 1000) want[0] = y, want[1] = z;
        CHECK(same_bits(y, want[0]) == "");
        CHECK(same_bits(z, want[1]) == "");
      }
    }
  }
}

TEST_CASE("what was measured is in range, on every level and for rows and panels") {
  for (const Level* level : available_levels(cpu_info().features)) {
    CAPTURE(std::string(level->name));
    const Kernels kernels = level->kernels();
    Tuner tuner;
    for (const auto precision : {ActivationPrecision::kAuto, ActivationPrecision::kF32}) {
      const Matmul matmul(kernels, precision);
      for (const auto& [type, layout] : {std::pair{DType::kQ4_0, Layout::kRows}, {DType::kQ4_0, Layout::kPanels},
                                         {DType::kBF16, Layout::kRows}, {DType::kF32, Layout::kRows}}) {
        const Tuner::Times times = tuner.measure(matmul, type, layout, 2);
        CHECK(times.gemv > 0);
        CHECK(times.gemm > 0);
        CHECK(times.low > 0);
        CHECK(times.low <= times.gain);
        CHECK(times.gain <= times.high);
        CHECK(std::isfinite(times.high));
      }
      const int rows = tuner.gemm_rows(matmul, DType::kQ4_0, Layout::kRows);
      CHECK(rows >= 2);
      CHECK(rows <= Tuner::kMostRows + 1);
    }
  }
}

TEST_CASE("kinds of weights: once each, most bytes first, small ones and vectors of refused types not at all") {
  const OwnedTensor small = make_weight(DType::kF32, 1, 64, 1), some = make_weight(DType::kQ8_0, 64, 256, 2),
                    most = make_weight(DType::kQ4_0, 512, 256, 3), packed = in_panels(some.tensor);
  Tensor ids = small.tensor;
  ids.dtype = DType::kI32;
  const Graph graph = graph_of({small.tensor, some.tensor, most.tensor, packed.tensor, some.tensor, ids});
  const auto kinds = weight_kinds(graph);
  REQUIRE(kinds.size() == 4);
  CHECK(kinds[0].dtype == DType::kQ4_0);
  CHECK((kinds[1].dtype == DType::kQ8_0 && kinds[1].layout == Layout::kRows));
  CHECK((kinds[2].dtype == DType::kQ8_0 && kinds[2].layout == Layout::kPanels));
  CHECK(weight_kinds(graph, 0.05).size() == 3);
}

TEST_CASE("a backend measures what is absent, keeps what is known, and without time nothing") {
  const OwnedTensor a = make_weight(DType::kQ4_0, 64, 256, 1), b = make_weight(DType::kQ8_0, 64, 256, 2);
  const Graph graph = graph_of({a.tensor, b.tensor});
  for (const auto& backend : simd_backends()) {
    CAPTURE(backend->target());
    const bool wide = backend->target().starts_with("avx512");
    Tuning known{{"q4_0 x int8", 7}, {"of another model", 3}, {"q8_0 x int8", kMostTuned + 1}};
    backend->tune(graph, {}, 0, known);
    CHECK(known.size() == 3);
    CHECK(backend->tuning(graph, {}) == Tuning{{"q4_0 x int8", 7}, {"q8_0 x int8", wide ? 2 : 4}});
    known.erase("q8_0 x int8");
    backend->tune(graph, {}, 1, known);
    CHECK(known.at("q4_0 x int8") == 7);
    CHECK(backend->tuning(graph, {}).at("q8_0 x int8") == known.at("q8_0 x int8"));
    PlanOptions exact;
    exact.activations = ActivationPrecision::kF32;
    CHECK(backend->tuning(graph, exact) == Tuning{{"q4_0 x f32", 4}, {"q8_0 x f32", 4}});  // other kernels
  }
}
