#include "models/registry.h"

#include <array>

#include "core/error.h"

namespace moiety {

// One word a model; each is defined in its own file.
extern const Architecture kOlmoe, kMixtral, kQwen3Moe, kGraniteMoe, kLlama, kQwen3, kGranite, kFairseqMoe;

namespace {

constexpr std::array<const Architecture*, 8> kArchitectures{&kOlmoe, &kMixtral, &kQwen3Moe, &kGraniteMoe,
                                                            &kLlama, &kQwen3,   &kGranite,  &kFairseqMoe};

}  // namespace

std::span<const Architecture* const> architectures() { return kArchitectures; }

const Architecture* find_architecture(std::string_view name) {
  for (const Architecture* a : kArchitectures) {
    if (a->name == name || a->class_name == name) return a;
  }
  return nullptr;
}

Graph build_graph(const Config& config, const WeightStore& store, int64_t context, Banks& banks,
                  const GateOptions& gate) {
  const Architecture* architecture = find_architecture(config.architecture);
  if (!architecture) fail(Status::kUnsupported, "architecture '{}' is not supported", printable(config.architecture));
  if (config.experts > 0 && gate.changes_routes() && !architecture->gate_options)
    fail(Status::kUnsupported, "gate: {} models route without capacities, nodrop is all they have", architecture->name);
  Graph graph;
  Builder builder(graph);
  graph.output = architecture->decode({builder, config, banks, context, gate}, store);
  graph.state = {config.layers, config.kv_heads, config.head_dim};
  return graph;
}

Config tiny_base(std::string_view architecture) {
  Config c;
  c.architecture = architecture;
  c.layers = 2, c.width = 64, c.vocab = 97, c.context = 256;
  c.heads = 4, c.kv_heads = 2, c.head_dim = 16;
  c.ffn_width = 96;
  return c;
}

}  // namespace moiety
