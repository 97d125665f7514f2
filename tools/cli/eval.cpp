#include "eval.h"

namespace cli {

void add_eval(CLI::App& app, const Environment& environment, Action& action) {
  CLI::App* command = app.add_subcommand("eval", "Score models: perplexity, multiple choice, distance from saved logits, quality against cost");
  command->require_subcommand(1);
  command->footer("Help on a part: moiety eval PART --help");
  add_eval_ppl(*command, environment, action);
  add_eval_choices(*command, environment, action);
  add_eval_kl(*command, environment, action);
  add_eval_compare(*command, environment, action);
}

}  // namespace cli
