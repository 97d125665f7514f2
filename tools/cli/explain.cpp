#include <cstdio>

#include "common.h"

namespace cli {
namespace {

struct ExplainFlags {
  ModelFlags model;
  int tokens = 1, depth = 0;
};

int run(const ExplainFlags& flags, const Environment& environment) {
  Interrupt interrupt;
  const ModelPtr model = load_model(flags.model, environment, interrupt);
  const int32_t context = flags.depth > 0 ? flags.depth : flags.tokens;
  const std::string text = text_of([&](char* t, size_t n, size_t* l, moiety_error* e) {
    return moiety_model_explain(model.get(), flags.tokens, context, t, n, l, e);
  });
  std::fputs(text.c_str(), stdout);
  return 0;
}

}  // namespace

void add_explain(CLI::App& app, const Environment& environment, Action& action) {
  auto flags = std::make_shared<ExplainFlags>();
  CLI::App* command = app.add_subcommand("explain", "Print what runs each node: backend, kernel, why not another, bytes and FLOPs");
  flags->model.add(*command);
  command->add_option("-n,--rows", flags->tokens, "Tokens of the step")->check(number_from(1))->capture_default_str();
  command->add_option("-d,--depth", flags->depth, "Tokens in the context; 0: those of the step")->check(number_from(0));
  command->callback([flags, &environment, &action] { action = [flags, &environment] { return run(*flags, environment); }; });
}

}  // namespace cli
