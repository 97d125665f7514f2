// The ten models of arXiv 2112.10684, from configurations alone: the paper's table, computed through their graphs.
#include <doctest/doctest.h>

#include "graph/cost.h"
#include "models/registry.h"
#include "models/tensor_list.h"
#include "runtime/fairseq_config.h"
#include "tests/models/golden.h"
#include "tests/support/status.h"

using namespace moiety;

namespace {

struct PaperRow {
  const char *name, *parameters, *active, *zflops;  // billions of parameters; 10^21 FLOPs for 300 B tokens
};
// Parameters are formulas checked against fairseq's logs; costs are the paper's table.
constexpr PaperRow kPaper[] = {
    {"dense_125m", "0.124", "0.124", "0.36"},    {"dense_355m", "0.355", "0.355", "1.06"},
    {"dense_1.3b", "1.313", "1.313", "3.57"},    {"dense_2.7b", "2.649", "2.649", "7.08"},
    {"dense_6.7b", "6.654", "6.654", "17.12"},   {"dense_13b", "12.848", "12.848", "32.67"},
    {"moe_15b", "14.606", "0.155", "0.43"},      {"moe_52b", "51.831", "0.462", "1.30"},
    {"moe_207b", "207.145", "1.729", "4.53"},    {"moe_1.1t", "1104.219", "8.835", "22.27"},
};

}  // namespace

TEST_CASE("the paper's table, computed through the graphs") {
  for (const PaperRow& row : kPaper) {
    CAPTURE(row.name);
    const std::string file = std::string(MOIETY_SOURCE_DIR) + "/tests/eval/paper/" + row.name + ".json";
    const std::string text = test::read_file(file);
    REQUIRE(is_fairseq_config(text));
    const Config config = read_fairseq_config(text, file);
    const WeightStore store = weightless_store(config, DType::kF16);
    Banks banks;
    const Graph graph = build_graph(config, store, 2048, banks);
    const ModelCost cost = model_cost(graph, 2048);
    CHECK(fmt::format("{:.3f}", cost.total.parameters / 1e9) == row.parameters);
    CHECK(fmt::format("{:.3f}", cost.total.active / 1e9) == row.active);
    const double flops = 300e9 * training_flops(graph, 2048, kPaperVocabulary);
    CHECK(fmt::format("{:.2f}", flops / 1e21) == row.zflops);
    // The closed form of the paper, which the graph knows nothing of.
    const double l = config.layers, d = config.width, v = kPaperVocabulary;
    const double lead = config.experts > 0 ? 4.0 / 3 : 1;
    CHECK(flops == doctest::Approx(96 * 300e9 * l * d * d * (lead + 2048 / (6 * d) + v / (16 * l * d))).epsilon(1e-12));
  }
}

TEST_CASE("counts that README.moe.md's log prints") {
  const std::string text = R"({"cfg": {"model": {"decoder_layers": 24, "decoder_embed_dim": 2048,
    "decoder_attention_heads": 32, "moe_freq": 2, "moe_expert_count": 8, "vocab_size": 50000}}})";
  const Config config = read_fairseq_config(text, "log");
  const WeightStore store = weightless_store(config, DType::kF16);
  Banks banks;
  const ModelCost cost = model_cost(build_graph(config, store, 2048, banks), 2048);
  CHECK(cost[CostClass::kExperts].parameters == 8 * 402776064.0);
  CHECK(cost.total.parameters - cost[CostClass::kExperts].parameters == 908423168.0);
}

TEST_CASE("fairseq settings that are broken or not built") {
  const auto status = [](const std::string& text) {
    return test::status_of([&] { read_fairseq_config(text, "x"); });
  };
  const std::string good = R"("decoder_embed_dim": 64, "decoder_layers": 2, "decoder_attention_heads": 4)";
  CHECK(status("{" + good + "}") == Status::kOk);
  CHECK(status("{" + good + R"(, "decoder_learned_pos": true})") == Status::kUnsupported);
  CHECK(status("{" + good + R"(, "activation_fn": "relu"})") == Status::kUnsupported);
  CHECK(status("{" + good + R"(, "moe_expert_count": 8})") == Status::kFormat);
  CHECK(status("{" + good + R"(, "moe_expert_count": 1, "moe_freq": 2})") == Status::kFormat);
  CHECK(status(R"({"decoder_embed_dim": 64, "decoder_layers": 2, "decoder_attention_heads": 5})") == Status::kFormat);
  CHECK(status(R"({"decoder_embed_dim": 1e9, "decoder_layers": 2, "decoder_attention_heads": 4})") == Status::kFormat);
  CHECK(status(R"({"decoder_embed_dim": -4, "decoder_layers": 2, "decoder_attention_heads": 4})") == Status::kFormat);
  CHECK(status("{}") == Status::kFormat);
  CHECK(status("[") == Status::kFormat);
  CHECK_FALSE(is_fairseq_config("[1]"));
  CHECK_FALSE(is_fairseq_config(R"({"hidden_size": 4})"));
}
