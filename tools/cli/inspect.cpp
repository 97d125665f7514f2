#include <algorithm>
#include <cstdio>
#include <map>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "inspect.h"
#include "models/registry.h"
#include "progress.h"
#include "runtime.h"
#include "runtime/load.h"
#include "runtime/pack.h"

namespace cli {
namespace {

struct InspectFlags {
  std::string model, bpe;
  ConfigFlags configs;
  bool json = false, tensors = false, verify = false;
};

// By part of the model, counted over its graph; a model that can't be run has none, and says why.
void add_cost(const moiety::ModelSource& source, int64_t context, Json& out) {
  try {
    moiety::Banks banks;
    const moiety::Graph graph = moiety::build_graph(source.config, source.store, source.config.context, banks);
    const moiety::ModelCost cost = moiety::model_cost(graph, context);
    out["active_parameters"] = static_cast<int64_t>(cost.total.active);
    Json& bytes = out["bytes_by_class"] = Json::object();
    for (size_t i = 0; i < moiety::kCostClasses; ++i) {
      if (cost.parts[i].stored_bytes > 0) {
        bytes[moiety::cost_class_name(static_cast<moiety::CostClass>(i))] = static_cast<int64_t>(cost.parts[i].stored_bytes);
      }
    }
    out["cost_context"] = context;
    out["cost"] = cost_json(cost);
  } catch (const moiety::Error& e) {
    out["warnings"].push_back(std::string("no costs: ") + e.what());
  }
}

Json summary(const moiety::ModelSource& source, const InspectFlags& flags) {
  const moiety::Config& c = source.config;
  Json out{{"name", moiety::printable(source.name)}, {"format", source.format}, {"architecture", c.architecture}, {"layers", c.layers},
           {"width", c.width}, {"heads", c.heads}, {"kv_heads", c.kv_heads}, {"head_dim", c.head_dim}, {"vocab", c.vocab},
           {"context", c.context}, {"experts", c.experts}, {"active_experts", c.experts > 0 ? c.active : 0},
           {"expert_width", c.expert_width}, {"ffn_width", c.ffn_width}, {"tied_head", c.tied_head},
           {"tokenizer", source.tokenizer != nullptr}};
  std::map<std::string, size_t> by_type;
  int64_t parameters = 0;
  Json list = Json::array();
  for (const std::string& name : source.store.names()) {
    const moiety::Weight& weight = *source.store.find(name);
    by_type[moiety::dtype_info(weight.tensor.dtype).name] += weight.tensor.bytes();
    parameters += weight.tensor.elements();
    if (flags.tensors) {
      list.push_back({{"name", moiety::printable(name)}, {"shape", moiety::shape_string(weight.tensor)}, {"origin", weight.origin}});
    }
  }
  for (const moiety::UnsupportedWeight& weight : source.store.unsupported()) {
    by_type[moiety::printable(weight.type)] += weight.bytes;
    if (flags.tensors) {
      list.push_back({{"name", moiety::printable(weight.name)}, {"shape", weight.shape + " " + moiety::printable(weight.type)}, {"origin", weight.origin}});
    }
  }
  out["unsupported_tensors"] = source.store.unsupported().size();
  out["parameters"] = parameters;
  out["bytes_by_type"] = by_type;
  out["memory"] = {{"mapped", source.store.bytes(moiety::MemoryClass::kMapped)}, {"copied", source.store.bytes(moiety::MemoryClass::kCopy)}};
  out["warnings"] = source.warnings;
  add_cost(source, cost_context(flags.configs, source.config), out);
  if (flags.tensors) out["tensors"] = list;
  return out;
}

void print(const Json& value, int indent) {
  for (const auto& [key, item] : value.items()) {
    const auto number = [](const Json& member) { return member.is_number(); };
    if (item.is_object() && indent > 0 && std::ranges::all_of(item, number)) {  // a part's costs: one line
      std::printf("%*s%-16s", indent, "", key.c_str());
      for (const auto& [name, count] : item.items()) std::printf(" %s %s", name.c_str(), count.dump().c_str());
      std::printf("\n");
    } else if (item.is_object()) {
      std::printf("%*s%s:\n", indent, "", key.c_str());
      print(item, indent + 2);
    } else if (item.is_array()) {
      if (!item.empty()) std::printf("%*s%s:\n", indent, "", key.c_str());
      for (const Json& part : item) {
        if (part.is_string()) std::printf("%*s%s\n", indent + 2, "", part.get<std::string>().c_str());
        else std::printf("  %-64s %-28s %s\n", part["name"].get<std::string>().c_str(), part["shape"].get<std::string>().c_str(), part["origin"].get<std::string>().c_str());
      }
    } else {
      std::printf("%*s%-16s %s\n", indent, "", key.c_str(), item.is_string() ? item.get<std::string>().c_str() : item.dump().c_str());
    }
  }
}

uint64_t verify(const std::string& model) {
  Interrupt interrupt;
  Progress progress("verifying");
  return moiety::verify_packed(model, [&](double done) { progress.show(done); }, cancel_token(interrupt));
}

int run(const InspectFlags& flags) {
  if (!flags.configs.paths.empty()) {
    ConfigFlags configs = flags.configs;
    configs.json = flags.json;
    return inspect_configs(configs);
  }
  const uint64_t verified = flags.verify ? verify(flags.model) : 0;
  Json out = summary(moiety::read_model(flags.model, flags.bpe), flags);
  if (flags.verify) out["verified_bytes"] = verified;
  if (flags.json) std::printf("%s\n", out.dump(2, ' ', false, Json::error_handler_t::replace).c_str());
  else print(out, 0);
  return 0;
}

}  // namespace

void add_inspect(CLI::App& app, Action& action) {
  auto flags = std::make_shared<InspectFlags>();
  CLI::App* command = app.add_subcommand("inspect", "Print what is in a model: architecture, experts, types, bytes");
  auto* what = command->add_option_group("what");
  what->add_option("-m,--model", flags->model, "Model folder or file");
  what->add_option("--config", flags->configs.paths, "Configurations alone, without weights, a row each: Hugging Face's config.json, or fairseq's settings as JSON");
  what->require_option(1);
  command->add_option("-d,--depth", flags->configs.context, "Costs of a token after so many; 0: 2048, or the model's context where that is less")->check(number_from(0))->capture_default_str();
  command->add_option("--type", flags->configs.type, "--config: type of the weights")->check(CLI::IsMember({"f32", "f16", "bf16"}))->capture_default_str();
  command->add_option("--train-tokens", flags->configs.train_tokens, "--config: tokens of the training whose cost is told")
      ->check(number_from(1))->capture_default_str();
  command->add_option("--train-vocab", flags->configs.vocabulary, "--config: rows of the head that count in training; 0: all, of fairseq's models 50000")
      ->check(number_from(0))->capture_default_str();
  command->add_option("--bpe", flags->bpe, "Folder with dict.txt, encoder.json and vocab.bpe of a fairseq model");
  command->add_flag("--json", flags->json, "As JSON");
  command->add_flag("--verify", flags->verify, "Of a packed model: read every byte and compare the checksums");
  command->add_flag("--tensors", flags->tensors, "Every tensor too");
  command->callback([flags, &action] { action = [flags] { return run(*flags); }; });
}

}  // namespace cli
