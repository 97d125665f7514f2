#include <doctest/doctest.h>

#include <map>

#include "graph/cost.h"
#include "models/tensor_list.h"
#include "tests/models/random_model.h"
#include "tests/support/status.h"

using namespace moiety;

TEST_CASE("a configuration alone knows the tensors of its model") {
  for (const Architecture* architecture : architectures()) {
    for (const Config& config : architecture->tiny()) {
      CAPTURE(config.architecture);
      const WeightStore real = test::RandomWeights(config, {}).make();
      std::map<std::string, std::vector<int64_t>> expected, listed;
      for (const std::string& name : real.names()) {
        const Tensor& t = real.find(name)->tensor;
        expected[name].assign(t.shape.begin(), t.shape.begin() + t.rank);
      }
      for (const TensorSpec& spec : tensor_list(config)) listed[spec.name] = spec.shape;
      CHECK(listed == expected);

      // Counted over the graph: every weight once, whichever way it is stored.
      double elements = 0;
      for (const std::string& name : real.names()) elements += static_cast<double>(real.find(name)->tensor.elements());
      const WeightStore nothing = weightless_store(config, DType::kF32);
      Banks banks;
      const ModelCost cost = model_cost(build_graph(config, nothing, config.context, banks), 10);
      CHECK(cost.total.parameters == elements);
      CHECK(cost.total.stored_bytes == 4 * elements);
      CHECK(cost.total.active <= elements);
      CHECK((cost[CostClass::kExperts].parameters > 0) == (config.experts > 0));
      CHECK((cost[CostClass::kRouter].parameters > 0) == (config.experts > 0));
      CHECK((cost[CostClass::kHead].parameters > 0) == !config.tied_head);
      CHECK(cost[CostClass::kOther].parameters == 0);
    }
  }
}

TEST_CASE("the costs of a small OLMoE, by hand") {
  Config c = tiny_base("olmoe");  // 2 layers, width 64, 4 heads of 16, 2 of keys and values, 97 words
  c.ffn_width = 0, c.experts = 8, c.active = 3, c.expert_width = 32;
  const WeightStore store = weightless_store(c, DType::kBF16);
  Banks banks;
  const Graph graph = build_graph(c, store, c.context, banks);
  const ModelCost cost = model_cost(graph, 100);
  const double qkvo = 64 * 64 + 2 * 32 * 64 + 64 * 64;
  CHECK(cost[CostClass::kAttention].parameters == 2 * qkvo);
  const double rope = 6 * (4 + 2) * 8;
  CHECK(cost[CostClass::kAttention].flops == 2 * (2 * qkvo + 4 * 64 * 100 + rope));
  CHECK(cost[CostClass::kAttention].bytes == 2 * 2 * qkvo);
  CHECK(cost[CostClass::kExperts].parameters == 2 * 8 * 3 * 32 * 64);
  CHECK(cost[CostClass::kExperts].active == 2 * 3 * 3 * 32 * 64);
  CHECK(cost[CostClass::kExperts].flops == 2 * 2 * 3 * 3 * 32 * 64);
  CHECK(cost[CostClass::kRouter].parameters == 2 * 8 * 64);
  CHECK(cost[CostClass::kHead].flops == 2 * 97 * 64);
  CHECK(cost[CostClass::kEmbedding].parameters == 97 * 64);
  CHECK(cost[CostClass::kEmbedding].active == 64);
  CHECK(cost[CostClass::kEmbedding].bytes == 128);
  CHECK(cost[CostClass::kNorms].parameters == 2 * (64 + 64 + 64 + 32) + 64);
  CHECK(cost.total.active == cost.total.parameters - 96 * 64 - 2 * 5 * 3 * 32 * 64);
  // Training: four times the layers' products, three times the head's.
  const double layers = 2 * (2 * qkvo + 4 * 64 * 100 + 2 * 3 * 3 * 32 * 64);
  CHECK(training_flops(graph, 100) == 4 * layers + 3 * 2 * 97 * 64);
  CHECK(training_flops(graph, 100, 50) == doctest::Approx(4 * layers + 3 * 2 * 50 * 64).epsilon(1e-12));

  c.tied_head = true;
  const WeightStore tied_store = weightless_store(c, DType::kBF16);
  Banks tied_banks;
  const ModelCost tied = model_cost(build_graph(c, tied_store, c.context, tied_banks), 100);
  CHECK(tied.total.parameters == cost.total.parameters - 97 * 64);
  CHECK(tied[CostClass::kEmbedding].active == 97 * 64);  // the head reads all of it
  CHECK(tied[CostClass::kHead].bytes == cost[CostClass::kHead].bytes);
}

TEST_CASE("configurations that are too large are refused, not tried") {
  Config c = tiny_base("olmoe");
  c.ffn_width = 0, c.experts = 65536, c.active = 1, c.expert_width = 32, c.layers = 65536;
  CHECK(test::status_of([&] { weightless_store(c, DType::kF16); }) == Status::kUnsupported);
  c.layers = 1, c.experts = 4096, c.expert_width = 1 << 28, c.width = 1 << 24;
  c.architecture = "granitemoe";
  CHECK(test::status_of([&] { weightless_store(c, DType::kF16); }) == Status::kUnsupported);
  c.architecture = "mixtral";
  CHECK(test::status_of([&] { weightless_store(c, DType::kF16); }) == Status::kUnsupported);
  c.architecture = "elsewhere";
  CHECK(test::status_of([&] { tensor_list(c); }) == Status::kUnsupported);
}
