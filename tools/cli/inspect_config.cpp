// moiety inspect --config: what a model weighs and costs, from its configuration alone.
#include <algorithm>
#include <cstdio>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/mapped_file.h"
#include "inspect.h"
#include "models/registry.h"
#include "models/tensor_list.h"
#include "runtime/fairseq_config.h"
#include "runtime/fairseq_keys.h"
#include "runtime/hf_config.h"

namespace cli {
namespace {

Json json_of(const ConfigFlags& flags, const ConfigCost& row) {
  const moiety::Config& c = row.config;
  return {{"name", row.name}, {"architecture", c.architecture}, {"layers", c.layers}, {"width", c.width}, {"heads", c.heads},
          {"experts", c.experts}, {"active_experts", c.experts > 0 ? c.active : 0}, {"vocab", c.vocab},
          {"cost_context", cost_context(flags, c)}, {"cost", cost_json(row.cost)},
          {"train_tokens", flags.train_tokens}, {"train_zflops", row.training_of_token * flags.train_tokens / 1e21}};
}

}  // namespace

ConfigCost config_cost(const ConfigFlags& flags, const std::string& path) {
  const moiety::MappedFile file(path);
  const std::string_view text(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size());
  const std::string subject = moiety::printable(path);
  const bool fairseq = moiety::is_fairseq_config(text);
  const moiety::Config config = fairseq ? moiety::read_fairseq_config(text, subject) : moiety::read_hf_config(text, subject).config;
  const moiety::WeightStore store = moiety::weightless_store(config, *moiety::dtype_from_name(flags.type));
  moiety::Banks banks;
  ConfigCost row = graph_cost(flags, config, moiety::build_graph(config, store, cost_context(flags, config), banks));
  row.name = config_name(path);
  return row;
}

ConfigCost graph_cost(const ConfigFlags& flags, const moiety::Config& config, const moiety::Graph& graph) {
  const int64_t context = cost_context(flags, config);
  // The released fairseq models' matrices have rows that no word uses; other dictionaries are whole.
  const bool padded = config.architecture == moiety::kFairseqArchitecture && config.vocab >= moiety::kPaperVocabulary;
  const int64_t vocabulary = flags.vocabulary > 0 ? flags.vocabulary : padded ? moiety::kPaperVocabulary : 0;
  return {"", config, moiety::model_cost(graph, context), moiety::training_flops(graph, context, vocabulary)};
}

int inspect_configs(const ConfigFlags& flags) {
  Json list = Json::array();
  std::string table = "| model | layers | width | heads | experts | parameters, B | active, B | MFLOP a token | training, ZFLOP |\n"
                      "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n";
  for (const std::string& path : flags.paths) {
    const ConfigCost row = config_cost(flags, path);
    const moiety::Config& c = row.config;
    list.push_back(json_of(flags, row));
    table += fmt::format("| {} | {} | {} | {} | {} | {:.3f} | {:.3f} | {:.1f} | {:.2f} |\n", row.name, c.layers, c.width, c.heads, c.experts,
                         row.cost.total.parameters / 1e9, row.cost.total.active / 1e9, row.cost.total.flops / 1e6, row.training_of_token * flags.train_tokens / 1e21);
  }
  if (flags.json) table = list.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
  std::fputs(table.c_str(), stdout);
  return 0;
}

std::string config_name(const std::filesystem::path& path) {
  const bool plain = path.filename() == "config.json" && path.has_parent_path();
  return moiety::printable(plain ? path.parent_path().filename().string() : path.stem().string());
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
