#include "common.h"
#include "output.h"

namespace cli {
namespace {

struct LogitsFlags {
  ModelFlags model;
  std::string prompt, tokens, out;
};

int run(const LogitsFlags& flags, const Environment& environment) {
  std::vector<int32_t> ids;
  if (!flags.tokens.empty()) ids = parse_ids(flags.tokens);
  Interrupt interrupt;
  const ModelPtr model = load_model(flags.model, environment, interrupt);
  if (flags.tokens.empty()) ids = tokenize(tokenizer_of(model.get()).get(), flags.prompt, true, true);
  const SessionPtr session = make_session(model.get());
  NpyOutput npy(flags.out, flags.model.path, ids.size(), static_cast<size_t>(model_info(model.get()).vocab));
  const moiety_eval_request request{session.get(), ids.data(), ids.size(), MOIETY_WANT_ALL,
                                    [](int32_t, const float* logits, size_t count, void* out) { static_cast<NpyOutput*>(out)->row(logits, count); },
                                    &npy};
  call([&](moiety_error* e) { return moiety_eval(&request, 1, interrupt.token(), e); });
  npy.commit();
  print_gate_statistics(flags.model, model.get());
  return 0;
}

}  // namespace

void add_logits(CLI::App& app, const Environment& environment, Action& action) {
  auto flags = std::make_shared<LogitsFlags>();
  CLI::App* command = app.add_subcommand("logits", "Write the logits after each token of a prompt as .npy, f32 [T, V]");
  flags->model.add(*command);
  auto* input = command->add_option_group("input");
  input->add_option("-p,--prompt", flags->prompt, "The prompt");
  input->add_option("--tokens", flags->tokens, "The prompt as token ids: 1,2,3");
  input->require_option(1);
  command->add_option("-o,--output", flags->out, "The .npy file to write")->required();
  command->callback([flags, &environment, &action] { action = [flags, &environment] { return run(*flags, environment); }; });
}

}  // namespace cli
