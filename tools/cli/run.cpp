#include <algorithm>
#include <cstdio>
#include <filesystem>

#include <unistd.h>

#include "common.h"

namespace cli {
namespace {

struct RunFlags {
  ModelFlags model;
  SamplingFlags sampling;
  std::string prompt, file, tokens, cache;
  int predict = -1;
  bool ids = false, ignore_eos = false, hide_prompt = false, has_prompt = false;
};

void write(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

// Prints ids, or text as it becomes certain.
struct Printer {
  moiety_detokenizer* detokenizer = nullptr;
  moiety_error error{};
  bool first = true;

  static bool on_token(int32_t id, void* self) {
    auto& printer = *static_cast<Printer*>(self);
    if (!printer.detokenizer) {
      std::printf(printer.first ? "%d" : " %d", id);
    } else {
      const char* text = nullptr;
      size_t length = 0;
      if (moiety_detokenizer_push(printer.detokenizer, id, &text, &length, &printer.error) != MOIETY_OK) return false;
      write({text, length});
    }
    printer.first = false;
    return !std::ferror(stdout);
  }
};

std::vector<int32_t> prompt_ids(const RunFlags& flags, const moiety_tokenizer* tokenizer, std::string& text) {
  if (!flags.tokens.empty()) return parse_ids(flags.tokens);
  text = flags.has_prompt ? flags.prompt : read_file(flags.file.empty() ? "-" : flags.file);
  if (!flags.has_prompt && !text.empty() && text.back() == '\n') text.pop_back();
  std::vector<int32_t> ids = tokenize(tokenizer, text, true, true);
  if (ids.empty()) throw UsageError("the prompt is empty, and the model has no token to begin with");
  return ids;
}

// A prompt in a file between runs: what an earlier run has computed of it is not computed again.
class PromptCache {
 public:
  PromptCache(const std::string& path, moiety_session* session, const std::vector<int32_t>& prompt)
      : path_(path), session_(session), prompt_(prompt.size()) {
    if (path.empty() || !std::filesystem::exists(path)) return;
    call([&](moiety_error* e) { return moiety_session_load(session, path.c_str(), e); });
    std::vector<int32_t> held(static_cast<size_t>(moiety_session_position(session)));
    size_t count = 0;
    call([&](moiety_error* e) { return moiety_session_tokens(session, held.data(), held.size(), &count, e); });
    found_ = static_cast<size_t>(std::ranges::mismatch(held, prompt).in1 - held.begin());
    rewind(used());
  }

  size_t used() const { return std::min(found_, prompt_ - 1); }  // the last token is run, for its logits

  // Afterwards, so that an interrupted prompt is kept as far as it got.
  void save() const {
    const size_t now = std::min(prompt_, static_cast<size_t>(moiety_session_position(session_)));
    if (path_.empty() || now <= found_) return;
    rewind(now);
    call([&](moiety_error* e) { return moiety_session_save(session_, path_.c_str(), e); });
  }

 private:
  void rewind(size_t position) const {
    call([&](moiety_error* e) { return moiety_session_rewind(session_, static_cast<int32_t>(position), e); });
  }
  std::string path_;
  moiety_session* session_;
  size_t prompt_, found_ = 0;
};

int run(const RunFlags& flags, const Environment& environment) {
  if (flags.tokens.empty() && !flags.has_prompt && flags.file.empty() && isatty(STDIN_FILENO)) {
    throw UsageError("no prompt: give -p TEXT, -f FILE or --tokens IDS");
  }
  if (!flags.tokens.empty()) parse_ids(flags.tokens);
  Interrupt interrupt;
  const ModelPtr model = load_model(flags.model, environment, interrupt);
  if (!flags.cache.empty() && model_info(model.get()).whole_prompts) {
    throw UsageError("--prompt-cache: the gates of this model have capacities, so a prompt can only be computed as a whole");
  }
  TokenizerPtr tokenizer;
  DetokenizerPtr detokenizer;
  if (!flags.ids || flags.tokens.empty()) tokenizer = tokenizer_of(model.get());
  std::string text;
  const std::vector<int32_t> prompt = prompt_ids(flags, tokenizer.get(), text);
  if (!flags.ids) {
    moiety_detokenizer* made = nullptr;
    call([&](moiety_error* e) { return moiety_detokenizer_create(tokenizer.get(), true, &made, e); });
    detokenizer.reset(made);
    if (!flags.hide_prompt) write(text);
  }

  const moiety_sampling sampling = flags.sampling.sampling();
  const SessionPtr session = make_session(model.get(), &sampling);
  const PromptCache cache(flags.cache, session.get(), prompt);
  Printer printer;
  printer.detokenizer = detokenizer.get();
  moiety_generate_params params;
  moiety_generate_params_defaults(&params, sizeof params);
  params.max_tokens = flags.predict, params.ignore_eos = flags.ignore_eos;
  params.on_token = Printer::on_token, params.user_data = &printer, params.cancel = interrupt.token();
  moiety_generate_result result{};
  result.struct_size = sizeof result;
  moiety_error error;
  const moiety_status status = moiety_generate(session.get(), prompt.data() + cache.used(), prompt.size() - cache.used(), &params, &result, &error);
  if (detokenizer) {
    const char* rest = nullptr;
    size_t length = 0;
    if (moiety_detokenizer_flush(detokenizer.get(), &rest, &length, nullptr) == MOIETY_OK) write({rest, length});
  }
  const bool shown = !printer.first || (!flags.ids && !flags.hide_prompt && !text.empty());
  if (shown || status == MOIETY_OK) write("\n");  // a failure with nothing before it leaves no answer, not an empty one
  check(status, error);
  check(printer.error.status, printer.error);
  print_timings(result);
  print_expert_statistics(model.get());
  print_gate_statistics(flags.model, model.get());
  cache.save();
  if (result.stop == MOIETY_STOP_CONTEXT) std::fprintf(stderr, "stopped: the context of %d tokens is full\n", moiety_session_context(session.get()));
  if (result.stop == MOIETY_STOP_CANCELLED) std::fputs("interrupted\n", stderr);
  return result.stop == MOIETY_STOP_CANCELLED || result.stop == MOIETY_STOP_CALLBACK ? 1 : 0;
}

}  // namespace

void add_run(CLI::App& app, const Environment& environment, Action& action) {
  auto flags = std::make_shared<RunFlags>();
  CLI::App* command = app.add_subcommand("run", "Continue a prompt; without -m the model that ships");
  flags->model.add(*command, false);
  auto* prompt = command->add_option("-p,--prompt", flags->prompt, "The prompt");
  auto* file = command->add_option("-f,--file", flags->file, "A file with the prompt; -: standard input")->excludes(prompt);
  command->add_option("--tokens", flags->tokens, "The prompt as token ids: 1,2,3")->excludes(prompt)->excludes(file);
  command->add_option("-n,--predict", flags->predict, "Most tokens to generate; -1: until the model ends")
      ->check(number_from(-1))->capture_default_str();
  command->add_option("--prompt-cache", flags->cache, "A file that keeps the computed prompt for the next run");
  command->add_flag("--ids", flags->ids, "Print token ids, not text");
  command->add_flag("--ignore-eos", flags->ignore_eos, "Go on after an end-of-sequence token");
  command->add_flag("--no-display-prompt", flags->hide_prompt, "Print the generated text only");
  flags->sampling.add(*command);
  command->callback([flags, prompt, &environment, &action] {
    flags->has_prompt = prompt->count() > 0;
    action = on_named_or_shipped(flags, environment, run);
  });
}

}  // namespace cli
