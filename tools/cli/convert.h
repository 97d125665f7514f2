// Commands that write models.
#pragma once

#include "common.h"

namespace cli {

void add_convert(CLI::App& app, Action& action);
void add_pack(CLI::App& app, Action& action);

uint64_t parse_size(const std::string& text);  // --shard-size: "500M", "5G", "4096"; throws UsageError

}  // namespace cli
