// Commands that write models.
#pragma once

#include "common.h"

namespace cli {

void add_convert(CLI::App& app, Action& action);
void add_pack(CLI::App& app, Action& action);

}  // namespace cli
