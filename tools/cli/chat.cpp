#include <cstdio>
#include <iostream>

#include <unistd.h>

#include "common.h"
#include "line_editor.h"

namespace cli {
namespace {

constexpr const char* kHelp =
    "/? or /help         this\n"
    "/bye                leave (also Ctrl-D, or Ctrl-C at the prompt)\n"
    "/clear              forget the conversation\n"
    "/set system TEXT    another system prompt; forgets the conversation\n"
    "/set temp|top_k|top_p|min_p|repeat_penalty|repeat_last_n|seed|predict VALUE\n"
    "/show               the settings and the context in use\n"
    "\"\"\"                 begins and ends a message of many lines\n"
    "Ctrl-C              stops an answer; a second one leaves\n";

struct ChatFlags {
  ModelFlags model;
  SamplingFlags sampling;
  std::string system, chat_template;
  int predict = -1;
};

class Chat {
 public:
  Chat(ChatFlags& flags, const Environment& environment)
      : flags_(flags), model_(load_model(flags.model, environment, interrupt_)), tokenizer_(tokenizer_of(model_.get())),
        sampling_(flags.sampling.sampling()), session_(make_session(model_.get(), &sampling_)) {
    render({{"user", ""}});  // refuses a template that can't be rendered before anybody types
  }

  int loop() {
    if (isatty(STDIN_FILENO)) std::fputs("/? for help\n", stderr);
    while (std::optional<std::string> line = editor_.read(">>> ")) {
      if (line->starts_with("\"\"\"")) line = many_lines(line->substr(3));
      if (!line) break;
      if (line->find_first_not_of(" \t\r\n") == std::string::npos) continue;
      if (line->front() == '/' && line->find('\n') == std::string::npos) {
        if (!command(*line)) break;
      } else {
        answer(std::move(*line));
      }
    }
    print_gate_statistics(flags_.model, model_.get());
    return 0;
  }

 private:
  using Turn = std::pair<std::string, std::string>;  // role, content

  std::optional<std::string> many_lines(std::string text) {
    for (;;) {
      if (const size_t end = text.rfind("\"\"\""); end != std::string::npos) return text.substr(0, end);
      std::optional<std::string> line = editor_.read("... ");
      if (!line) return std::nullopt;
      text += (text.empty() ? "" : "\n") + *line;
    }
  }

  std::string render(const std::vector<Turn>& extra) const {
    std::vector<moiety_message> messages;
    if (!flags_.system.empty()) messages.push_back({"system", flags_.system.c_str()});
    for (const auto* list : {&turns_, &extra}) {
      for (const Turn& turn : *list) messages.push_back({turn.first.c_str(), turn.second.c_str()});
    }
    const char* source = flags_.chat_template.empty() ? nullptr : flags_.chat_template.c_str();
    return text_of([&](char* t, size_t n, size_t* l, moiety_error* e) {
      return moiety_chat_render(tokenizer_.get(), source, messages.data(), messages.size(), true, t, n, l, e);
    });
  }

  struct Printer {
    moiety_detokenizer* detokenizer;
    std::vector<int32_t> ids;
    std::string text;
    void show(const char* piece, size_t length) {
      text.append(piece, length);
      std::fwrite(piece, 1, length, stdout);
      std::fflush(stdout);
    }
    static bool on_token(int32_t id, void* self) {
      auto& printer = *static_cast<Printer*>(self);
      printer.ids.push_back(id);
      const char* piece = nullptr;
      size_t length = 0;
      if (moiety_detokenizer_push(printer.detokenizer, id, &piece, &length, nullptr) != MOIETY_OK) return false;
      printer.show(piece, length);
      return !std::ferror(stdout);
    }
  };

  void answer(std::string question) {
    try {
      generate(std::move(question));
    } catch (const Failure& failure) {
      std::fprintf(stderr, "error: %s\n", failure.what());
      if (failure.status == MOIETY_CONTEXT_FULL) std::fputs("/clear begins a new conversation\n", stderr);
      rewind(0);
    }
  }

  void generate(std::string question) {
    // The whole conversation is rendered; what the session holds already of it is not run again.
    const std::vector<int32_t> prompt = tokenize(tokenizer_.get(), render({{"user", question}}), true, true);
    size_t same = 0;
    const size_t kept = model_info(model_.get()).whole_prompts ? 0 : held_.size();
    while (same < kept && same + 1 < prompt.size() && held_[same] == prompt[same]) ++same;
    rewind(same);
    moiety_detokenizer* made = nullptr;
    call([&](moiety_error* e) { return moiety_detokenizer_create(tokenizer_.get(), false, &made, e); });
    const DetokenizerPtr detokenizer(made);
    Printer printer{made, {}, {}};
    interrupt_.reset();
    moiety_generate_params params;
    moiety_generate_params_defaults(&params, sizeof params);
    params.max_tokens = flags_.predict, params.on_token = Printer::on_token, params.user_data = &printer;
    params.cancel = interrupt_.token();
    moiety_generate_result result{};
    result.struct_size = sizeof result;
    call([&](moiety_error* e) {
      return moiety_generate(session_.get(), prompt.data() + same, prompt.size() - same, &params, &result, e);
    });
    const char* rest = nullptr;
    size_t length = 0;
    call([&](moiety_error* e) { return moiety_detokenizer_flush(made, &rest, &length, e); });
    printer.show(rest, length);
    std::fputs("\n", stdout);
    std::fflush(stdout);
    print_timings(result);
    if (result.stop == MOIETY_STOP_CONTEXT) std::fputs("the context is full; /clear begins a new conversation\n", stderr);
    interrupt_.reset();
    turns_.emplace_back("user", std::move(question));
    turns_.emplace_back("assistant", printer.text);
    held_ = prompt;
    held_.insert(held_.end(), printer.ids.begin(), printer.ids.end());
    held_.resize(static_cast<size_t>(moiety_session_position(session_.get())));
  }

  void rewind(size_t position) {
    call([&](moiety_error* e) { return moiety_session_rewind(session_.get(), static_cast<int32_t>(position), e); });
    held_.resize(position);
  }

  void clear() {
    turns_.clear();
    rewind(0);
  }

  bool command(const std::string& line) {
    const size_t space = line.find(' ');
    const std::string name = line.substr(0, space), rest = space == std::string::npos ? "" : line.substr(space + 1);
    if (name == "/bye" || name == "/exit") return false;
    if (name == "/?" || name == "/help") std::fputs(kHelp, stderr);
    else if (name == "/clear") clear();
    else if (name == "/show") show();
    else if (name == "/set") set(rest);
    else std::fprintf(stderr, "unknown command %s; /? lists them\n", name.c_str());
    return true;
  }

  void show() const {
    const moiety_sampling& s = sampling_;
    std::fprintf(stderr, "system: %s\ntemp %g, top_k %d, top_p %g, min_p %g, repeat_penalty %g, repeat_last_n %d, seed %llu, predict %d\n",
                 flags_.system.c_str(), static_cast<double>(s.temperature), s.top_k, static_cast<double>(s.top_p),
                 static_cast<double>(s.min_p), static_cast<double>(s.repeat_penalty), s.repeat_last_n,
                 static_cast<unsigned long long>(s.seed), flags_.predict);
    std::fprintf(stderr, "context: %d of %d tokens\n", moiety_session_position(session_.get()), moiety_session_context(session_.get()));
  }

  void set(const std::string& rest) {
    const size_t space = rest.find(' ');
    const std::string name = rest.substr(0, space), value = space == std::string::npos ? "" : rest.substr(space + 1);
    if (name == "system") {
      flags_.system = value;
      return clear();
    }
    moiety_sampling next = sampling_;
    try {
      if (name == "temp") next.temperature = std::stof(value);
      else if (name == "top_k") next.top_k = std::stoi(value);
      else if (name == "top_p") next.top_p = std::stof(value);
      else if (name == "min_p") next.min_p = std::stof(value);
      else if (name == "repeat_penalty") next.repeat_penalty = std::stof(value);
      else if (name == "repeat_last_n") next.repeat_last_n = std::stoi(value);
      else if (name == "seed") next.seed = std::stoull(value);
      else if (name == "predict") flags_.predict = std::stoi(value);
      else return static_cast<void>(std::fprintf(stderr, "unknown setting '%s'; /? lists them\n", name.c_str()));
      call([&](moiety_error* e) { return moiety_session_set_sampling(session_.get(), &next, e); });
      sampling_ = next;
    } catch (const std::exception& e) {
      std::fprintf(stderr, "/set %s: '%s' is no value for it (%s)\n", name.c_str(), value.c_str(), e.what());
    }
  }

  ChatFlags& flags_;
  Interrupt interrupt_;
  ModelPtr model_;
  TokenizerPtr tokenizer_;
  moiety_sampling sampling_;
  SessionPtr session_;
  LineEditor editor_;
  std::vector<Turn> turns_;
  std::vector<int32_t> held_;  // what the session holds
};

}  // namespace

void add_chat(CLI::App& app, const Environment& environment, Action& action) {
  auto flags = std::make_shared<ChatFlags>();
  CLI::App* command = app.add_subcommand("chat", "Talk with a model; /? for help inside");
  flags->model.add(*command);
  command->add_option("--sys,--system-prompt", flags->system, "The system prompt (-sys)");
  command->add_option("--chat-template", flags->chat_template, "A template by name, instead of the model's");
  command->add_option("-n,--predict", flags->predict, "Most tokens of an answer; -1: until it ends")
      ->check(number_from(-1))->capture_default_str();
  flags->sampling.add(*command);
  command->callback([flags, &environment, &action] {
    action = [flags, &environment] { return Chat(*flags, environment).loop(); };
  });
}

}  // namespace cli
