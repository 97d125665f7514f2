// The parts of `moiety eval`, each in its own file.
#pragma once

#include "common.h"

namespace cli {

void add_eval_ppl(CLI::App& eval, const Environment& environment, Action& action);

}  // namespace cli
