// config.json and generation_config.json of a Hugging Face model folder, as transformers 4 and 5 write them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "models/config.h"

namespace moiety {

struct HfConfig {
  Config config;                      // checked by check_config
  std::vector<std::string> warnings;  // unknown keys: "config.json: unknown key 'x' is ignored"
};

// `subject` names the file in errors. Every key is used, known to be harmless, or unsupported: an Error kUnsupported
// where its value would change numbers. Unknown keys are warnings. A broken file is an Error kFormat.
HfConfig read_hf_config(std::string_view json, const std::string& subject);

// eos_token_id of generation_config.json; empty if it says none.
std::vector<int32_t> read_generation_stops(std::string_view json, const std::string& subject);

}  // namespace moiety
