// fairseq_moe's hyper-parameters where a converted model keeps them: config.json of a hub-style folder, GGUF metadata.
// The names are ours; no other program defines this architecture.
#pragma once

#include <string>
#include <vector>

#include "models/config.h"
#include "runtime/gguf_config.h"
#include "runtime/json_fields.h"

namespace moiety {

inline constexpr std::string_view kFairseqArchitecture = "fairseq_moe";

// config.json: reads what is fairseq's own; the common keys (hidden_size and so on) have been read.
void read_fairseq_keys(JsonFields& fields, Config& config);
std::string fairseq_config_json(const Config& config, std::string_view dtype);

// GGUF: keys are "fairseq_moe.block_count" and so on. `gated`: the layers that have a gate. The result is checked.
Config fairseq_gguf_config(const MetadataSource& metadata, const TensorFacts& facts, const std::string& subject);

// Every key that fairseq_gguf_config reads, with its value.
struct FairseqGgufKeys {
  std::vector<std::pair<std::string, uint32_t>> counts;
  std::vector<std::pair<std::string, float>> numbers;
  std::vector<std::pair<std::string, bool>> flags;
};
FairseqGgufKeys fairseq_gguf_keys(const Config& config);

}  // namespace moiety
