// diff finds a planted wrong element and a planted route flip at their nodes, and nothing elsewhere.
#include <doctest/doctest.h>

#include "runtime/diff.h"
#include "tests/models/random_model.h"

using namespace moiety;
using namespace moiety::test;

namespace {

std::unique_ptr<Model> tiny(std::vector<std::string> backends) {
  ModelOptions options;
  options.backends = std::move(backends);
  options.activations = ActivationPrecision::kF32;
  options.threads = 1;
  return random_model(find_architecture("olmoe")->tiny().front(), options);
}

}  // namespace

TEST_CASE("a model equals itself, and the default backends equal the reference") {
  const auto reference = tiny({"reference"}), same = tiny({"reference"}), other = tiny({});
  const auto tokens = random_tokens(97, 40, 2);
  const DiffReport equal = diff_models(*reference, *same, tokens);
  CHECK(equal.first_divergence == -1);
  CHECK(equal.logits_error == 0);
  CHECK(equal.same_top == 1);
  for (const NodeDiff& node : equal.nodes) CHECK(node.error == 0);
  const DiffReport close = diff_models(*reference, *other, tokens);
  CHECK(close.first_divergence == -1);
  CHECK(close.logits_error <= 1e-4);
  CHECK(close.mean_kl <= 1e-6);
}

TEST_CASE("int8 activations stay within their tolerance, node by node") {
  Config config = find_architecture("olmoe")->tiny().front();
  config.width = 256, config.expert_width = 256, config.head_dim = 64;
  ModelOptions options;
  options.threads = 2;
  const RandomOptions random{.seed = 9, .type = DType::kQ4_0};
  const auto fast = random_model(config, options, random);
  options.backends = {"reference"};
  const auto exact = random_model(config, options, random);
  const DiffReport report = diff_models(*exact, *fast, random_tokens(97, 40, 2));
  CHECK(report.tolerance == 5e-2);
  for (const NodeDiff& node : report.nodes) {
    CAPTURE(node.name);
    CHECK(node.error <= report.tolerance);
    CHECK(node.flips == 0);  // both are fed the same logits
  }
}

TEST_CASE("one wrong element is found at its node") {
  const auto left = tiny({"reference"}), right = tiny({"reference"});
  const auto tokens = random_tokens(97, 40, 2);
  for (const char* name : {"layers.0.q_proj", "layers.1.experts", "layers.1.attention", "lm_head"}) {
    for (const float wrong : {1e4f, NAN}) {
      DiffOptions options;
      int seen = 0;
      options.tamper = [&](const Graph& graph, int32_t node, const Operand& output) {
        if (graph.nodes()[static_cast<size_t>(node)].name != name || ++seen != 2) return;  // the second chunk
        reinterpret_cast<float*>(output.tensor.row(3))[7] = wrong;
      };
      const DiffReport report = diff_models(*left, *right, tokens, options);
      REQUIRE(report.first_divergence >= 0);
      int beyond = 0;
      for (const NodeDiff& node : report.nodes) beyond += node.beyond;
      CHECK(beyond == 1);
      const NodeDiff& found = report.nodes[static_cast<size_t>(report.first_divergence)];
      CHECK(found.name == name);
      CHECK(found.position == 35);
      CHECK(found.column == 7);
    }
  }
}

TEST_CASE("one flipped route is found at its node with its margin") {
  const auto left = tiny({"reference"}), right = tiny({"reference"});
  const auto tokens = random_tokens(97, 20, 2);
  DiffOptions options;
  int32_t moved_from = -1;
  options.tamper = [&](const Graph& graph, int32_t node, const Operand& output) {
    if (graph.nodes()[static_cast<size_t>(node)].name != "layers.1.route") return;
    const Routing& r = output.routing;  // the last entry of the first busy expert goes to the next expert
    for (int e = 0; e + 1 < r.experts; ++e) {
      if (r.offsets[e] == r.offsets[e + 1]) continue;
      const int32_t row = r.row[r.offsets[e + 1] - 1];
      bool taken = false;
      for (int32_t i = r.offsets[e + 1]; i < r.offsets[e + 2]; ++i) taken |= r.row[i] == row;
      if (taken) continue;
      --r.offsets[e + 1];
      moved_from = e;
      return;
    }
  };
  const DiffReport report = diff_models(*left, *right, tokens, options);
  REQUIRE(moved_from >= 0);
  REQUIRE(report.first_divergence >= 0);
  CHECK(report.nodes[static_cast<size_t>(report.first_divergence)].name == "layers.1.route");
  REQUIRE(report.flips.size() == 1);
  CHECK(report.flips[0].left == std::vector<int>{moved_from});
  CHECK(report.flips[0].right == std::vector<int>{moved_from + 1});
  CHECK(report.flips[0].margin > 1e-5);
}
