#include "line_editor.h"

#include <cstdio>
#include <iostream>

#include <histedit.h>
#include <unistd.h>

namespace cli {

struct LineEditor::Terminal {
  EditLine* edit;
  History* history;
  HistEvent event;
  std::string prompt;

  static char* show_prompt(EditLine* edit) {
    void* self = nullptr;
    el_get(edit, EL_CLIENTDATA, &self);
    return static_cast<Terminal*>(self)->prompt.data();
  }
  static unsigned char leave(EditLine*, int) { return CC_EOF; }

  // Prompts go to stderr: stdout is for answers.
  Terminal() : edit(el_init("moiety", stdin, stderr, stderr)), history(history_init()) {
    ::history(this->history, &event, H_SETSIZE, 500);
    el_set(edit, EL_CLIENTDATA, this);
    el_set(edit, EL_PROMPT, show_prompt);
    el_set(edit, EL_EDITOR, "emacs");
    el_set(edit, EL_HIST, ::history, this->history);
    // Ctrl-C arrives as a key: SIGINT is blocked and would reach nobody here.
    el_set(edit, EL_SETTY, "-d", "-isig", nullptr);
    el_set(edit, EL_ADDFN, "leave", "end the conversation", leave);
    el_set(edit, EL_BIND, "^C", "leave", nullptr);
  }
  ~Terminal() {
    el_end(edit);
    history_end(history);
  }
};

LineEditor::LineEditor() {
  if (isatty(STDIN_FILENO) && isatty(STDERR_FILENO)) terminal_ = std::make_unique<Terminal>();
}
LineEditor::~LineEditor() = default;

std::optional<std::string> LineEditor::read(const std::string& prompt) {
  std::string line;
  if (terminal_) {
    terminal_->prompt = prompt;
    int count = 0;
    // Before the prompt is shown: libedit alone would do it after, and a Ctrl-C or Ctrl-D between both would be lost.
    el_set(terminal_->edit, EL_PREP_TERM, 1);
    const char* text = el_gets(terminal_->edit, &count);
    if (!text || count <= 0) {
      std::fputs("\n", stderr);
      return std::nullopt;
    }
    line.assign(text, static_cast<size_t>(count));
    if (line != "\n") ::history(terminal_->history, &terminal_->event, H_ENTER, line.c_str());
  } else if (!std::getline(std::cin, line)) {
    return std::nullopt;
  }
  while (!line.empty() && (line.back() == '\n' || line.back() == '\r')) line.pop_back();
  return line;
}

}  // namespace cli
