// The parts of `moiety eval`, each in its own file.
#pragma once

#include "common.h"

namespace cli {

void add_eval_ppl(CLI::App& eval, const Environment& environment, Action& action);
void add_eval_choices(CLI::App& eval, const Environment& environment, Action& action);
void add_eval_kl(CLI::App& eval, const Environment& environment, Action& action);
void add_eval_compare(CLI::App& eval, const Environment& environment, Action& action);

}  // namespace cli
