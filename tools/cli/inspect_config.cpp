// moiety inspect --config: what a model weighs and costs, from its configuration alone.
#include <algorithm>
#include <cstdio>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/mapped_file.h"
#include "inspect.h"
#include "models/registry.h"
#include "models/tensor_list.h"
#include "runtime/fairseq_config.h"
#include "runtime/hf_config.h"

namespace cli {
namespace {

// "tests/eval/configs/moe_15b.json" is "moe_15b", "OLMoE/config.json" is "OLMoE".
std::string name_of(const std::filesystem::path& path) {
  const bool plain = path.filename() == "config.json" && path.has_parent_path();
  return moiety::printable(plain ? path.parent_path().filename().string() : path.stem().string());
}

Json json_of(const ConfigFlags& flags, const ConfigCost& row) {
  const moiety::Config& c = row.config;
  return {{"name", row.name}, {"architecture", c.architecture}, {"layers", c.layers}, {"width", c.width}, {"heads", c.heads},
          {"experts", c.experts}, {"active_experts", c.experts > 0 ? c.active : 0}, {"vocab", c.vocab},
          {"cost_context", cost_context(flags, c)}, {"cost", cost_json(row.cost)},
          {"train_tokens", flags.train_tokens}, {"train_zflops", row.training / 1e21}};
}

}  // namespace

ConfigCost config_cost(const ConfigFlags& flags, const std::string& path) {
  const moiety::MappedFile file(path);
  const std::string_view text(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size());
  ConfigCost row;
  row.name = name_of(path);
  const std::string subject = moiety::printable(path);
  const bool fairseq = moiety::is_fairseq_config(text);
  row.config = fairseq ? moiety::read_fairseq_config(text, subject) : moiety::read_hf_config(text, subject).config;
  const auto type = moiety::dtype_from_name(flags.type);
  const moiety::WeightStore store = moiety::weightless_store(row.config, *type);
  moiety::Banks banks;
  const int64_t context = cost_context(flags, row.config);
  const moiety::Graph graph = moiety::build_graph(row.config, store, context, banks);
  row.cost = moiety::model_cost(graph, context);
  const int64_t vocabulary = flags.vocabulary > 0 ? flags.vocabulary : fairseq ? moiety::kPaperVocabulary : 0;
  row.training = moiety::training_flops(graph, context, vocabulary) * flags.train_tokens;
  return row;
}

int inspect_configs(const ConfigFlags& flags) {
  Json list = Json::array();
  if (!flags.json) {
    std::printf("| model | layers | width | heads | experts | parameters, B | active, B | MFLOP a token | training, ZFLOP |\n"
                "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n");
  }
  for (const std::string& path : flags.paths) {
    const ConfigCost row = config_cost(flags, path);
    if (flags.json) {
      list.push_back(json_of(flags, row));
      continue;
    }
    const moiety::Config& c = row.config;
    std::printf("| %s | %d | %d | %d | %d | %.3f | %.3f | %.1f | %.2f |\n", row.name.c_str(), c.layers, c.width, c.heads, c.experts,
                row.cost.total.parameters / 1e9, row.cost.total.active / 1e9, row.cost.total.flops / 1e6, row.training / 1e21);
  }
  if (flags.json) std::printf("%s\n", list.dump(2, ' ', false, Json::error_handler_t::replace).c_str());
  return 0;
}

int64_t cost_context(const ConfigFlags& flags, const moiety::Config& config) {
  constexpr int kUsual = 2048;
  return flags.context > 0 ? flags.context : std::min(kUsual, config.context);
}

Json cost_json(const moiety::ModelCost& cost) {
  Json out = Json::object();
  const auto add = [&](const char* name, const moiety::PartCost& part) {
    if (part.parameters == 0 && part.bytes == 0 && part.flops == 0) return;
    out[name] = {{"parameters", static_cast<int64_t>(part.parameters)}, {"active", static_cast<int64_t>(part.active)},
                 {"stored_bytes", static_cast<int64_t>(part.stored_bytes)}, {"bytes_per_token", static_cast<int64_t>(part.bytes)},
                 {"flops_per_token", static_cast<int64_t>(part.flops)}};
  };
  for (size_t i = 0; i < moiety::kCostClasses; ++i) {
    add(moiety::cost_class_name(static_cast<moiety::CostClass>(i)), cost.parts[i]);
  }
  add("total", cost.total);
  return out;
}

}  // namespace cli
