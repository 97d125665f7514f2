// The two halves of `moiety inspect`: a model's files, and configurations without weights.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "common.h"
#include "graph/cost.h"
#include "models/config.h"

namespace cli {

using Json = nlohmann::ordered_json;

struct ConfigFlags {
  std::vector<std::string> paths;
  std::string type = "f16";
  int context = 0;  // 0: 2048, or the model's own where that is less
  int64_t vocabulary = 0;
  double train_tokens = 300e9;
  bool json = false;
};

struct ConfigCost {
  std::string name;
  moiety::Config config;
  moiety::ModelCost cost;
  double training_of_token = 0;  // FLOPs
};
ConfigCost config_cost(const ConfigFlags& flags, const std::string& path);
// The same of a model that is there; its name is left empty.
ConfigCost graph_cost(const ConfigFlags& flags, const moiety::Config& config, const moiety::Graph& graph);

int inspect_configs(const ConfigFlags& flags);  // the exit code
// "tests/eval/paper/moe_15b.json" is "moe_15b", "OLMoE/config.json" is "OLMoE".
std::string config_name(const std::filesystem::path& path);
// No expert rests: there are none, or one alone.
inline bool is_dense(const moiety::Config& config) { return config.experts <= config.active; }
int64_t cost_context(const ConfigFlags& flags, const moiety::Config& config);
Json cost_json(const moiety::ModelCost& cost);  // by part, those that are there, and in all

}  // namespace cli
