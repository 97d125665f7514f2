#include <cstdio>
#include <map>

#include <nlohmann/json.hpp>

#include "common.h"
#include "core/error.h"
#include "runtime/load.h"

namespace cli {
namespace {

using Json = nlohmann::ordered_json;

struct InspectFlags {
  std::string model;
  bool json = false, tensors = false;
};

// The part of a model that a tensor belongs to.
const char* class_of(std::string_view name) {
  const auto has = [&](std::string_view part) { return name.find(part) != std::string_view::npos; };
  if (has("expert")) return "experts";
  if (has("embed_tokens")) return "embedding";
  if (has("lm_head")) return "head";
  if (has("norm")) return "norms";
  if (has("self_attn") || has("attention")) return "attention";
  if (has("gate.weight") || has("router")) return "router";
  return has("mlp") ? "dense ffn" : "other";
}

Json summary(const moiety::ModelSource& source, bool tensors) {
  const moiety::Config& c = source.config;
  Json out{{"name", moiety::printable(source.name)}, {"format", source.format}, {"architecture", c.architecture}, {"layers", c.layers},
           {"width", c.width}, {"heads", c.heads}, {"kv_heads", c.kv_heads}, {"head_dim", c.head_dim}, {"vocab", c.vocab},
           {"context", c.context}, {"experts", c.experts}, {"active_experts", c.experts > 0 ? c.active : 0},
           {"expert_width", c.expert_width}, {"ffn_width", c.ffn_width}, {"tied_head", c.tied_head},
           {"tokenizer", source.tokenizer != nullptr}};
  std::map<std::string, size_t> by_type, by_class;
  int64_t parameters = 0;
  Json list = Json::array();
  for (const std::string& name : source.store.names()) {
    const moiety::Weight& weight = *source.store.find(name);
    by_type[moiety::dtype_info(weight.tensor.dtype).name] += weight.tensor.bytes();
    by_class[class_of(name)] += weight.tensor.bytes();
    parameters += weight.tensor.elements();
    if (tensors) {
      list.push_back({{"name", moiety::printable(name)}, {"shape", moiety::shape_string(weight.tensor)}, {"origin", weight.origin}});
    }
  }
  for (const moiety::UnsupportedWeight& weight : source.store.unsupported()) {
    by_type[moiety::printable(weight.type)] += weight.bytes;
    by_class[class_of(weight.name)] += weight.bytes;
    if (tensors) {
      list.push_back({{"name", moiety::printable(weight.name)}, {"shape", weight.shape + " " + moiety::printable(weight.type)}, {"origin", weight.origin}});
    }
  }
  out["unsupported_tensors"] = source.store.unsupported().size();
  out["parameters"] = parameters;
  out["bytes_by_type"] = by_type;
  out["bytes_by_class"] = by_class;
  out["memory"] = {{"mapped", source.store.bytes(moiety::MemoryClass::kMapped)}, {"copied", source.store.bytes(moiety::MemoryClass::kCopy)}};
  out["warnings"] = source.warnings;
  if (tensors) out["tensors"] = list;
  return out;
}

void print(const Json& value, int indent) {
  for (const auto& [key, item] : value.items()) {
    if (item.is_object()) {
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

int run(const InspectFlags& flags) {
  const Json out = summary(moiety::read_model(flags.model), flags.tensors);
  if (flags.json) std::printf("%s\n", out.dump(2, ' ', false, Json::error_handler_t::replace).c_str());
  else print(out, 0);
  return 0;
}

}  // namespace

void add_inspect(CLI::App& app, Action& action) {
  auto flags = std::make_shared<InspectFlags>();
  CLI::App* command = app.add_subcommand("inspect", "Print what is in a model: architecture, experts, types, bytes");
  command->add_option("-m,--model", flags->model, "Model folder or file")->required();
  command->add_flag("--json", flags->json, "As JSON");
  command->add_flag("--tensors", flags->tensors, "Every tensor too");
  command->callback([flags, &action] { action = [flags] { return run(*flags); }; });
}

}  // namespace cli
