// `moiety chat` at a terminal, as somebody types: each step waits for what is on the screen and then presses keys.
// Usage: test_chat MOIETY MODEL
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

namespace {

constexpr int kSeconds = 90;  // a busy machine

class Terminal {
 public:
  explicit Terminal(std::vector<std::string> command) {
    child_ = forkpty(&fd_, nullptr, nullptr, nullptr);
    if (child_ != 0) return;
    std::vector<char*> argv;
    for (std::string& word : command) argv.push_back(word.data());
    argv.push_back(nullptr);
    execv(argv[0], argv.data());
    _exit(127);
  }
  ~Terminal() {
    if (child_ > 0) kill(child_, SIGKILL), waitpid(child_, nullptr, 0);
    close(fd_);
  }

  // Until `text` stands on the screen after what was waited for before.
  bool shows(const std::string& text) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(kSeconds);
    for (;;) {
      if (const size_t at = screen_.find(text, seen_); at != std::string::npos) {
        seen_ = at + text.size();
        return true;
      }
      if (std::chrono::steady_clock::now() > end || !read()) return false;
    }
  }
  void keys(const std::string& text) {
    ok_ &= write(fd_, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  }

  // The exit code; -1: it did not end by itself.
  int code() {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(kSeconds);
    int status = 0;
    while (waitpid(child_, &status, WNOHANG) == 0) {
      if (std::chrono::steady_clock::now() > end) return -1;
      read();
    }
    child_ = -1;
    return ok_ && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  const std::string& screen() const { return screen_; }

 private:
  bool read() {
    pollfd ready{fd_, POLLIN, 0};
    if (poll(&ready, 1, 100) == 0) return true;
    char buffer[4096];
    const ssize_t n = ::read(fd_, buffer, sizeof buffer);
    if (n > 0) screen_.append(buffer, static_cast<size_t>(n));
    return n > 0;
  }
  int fd_ = -1;
  pid_t child_ = -1;
  bool ok_ = true;
  size_t seen_ = 0;
  std::string screen_;
};

struct Step {
  const char* wait;
  const char* press;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const std::vector<std::string> brief{argv[1], "chat", "-m", argv[2], "--chat-template", "chatml", "-n", "8",
                                       "-s",    "1",    "-t", "1"};
  std::vector<std::string> endless = brief;
  endless[7] = "1000000", endless.insert(endless.end(), {"-c", "400000"});
  // "e" is seen in the answer, not in what is typed.
  const char *ctrl_c = "\x03", *ctrl_d = "\x04";
  const struct {
    const char* name;
    const std::vector<std::string>& command;
    std::vector<Step> steps;
  } talks[] = {
      {"/? and /bye", brief, {{">>> ", "/?\r"}, {"Ctrl-C", "/bye\r"}}},
      {"Ctrl-D", brief, {{">>> ", ctrl_d}}},
      {"Ctrl-C at the prompt", brief, {{">>> ", ctrl_c}}},
      {"/set, /show",
       brief,
       {{">>> ", "/set temp 0.25\r"}, {">>> ", "/show\r"}, {"temp 0.25", ""}, {">>> ", "/bye\r"}}},
      {"an answer, /clear",
       brief,
       {{">>> ", "hello\r"},
        {"Generation: ", ""},
        {">>> ", "/clear\r"},
        {">>> ", "/show\r"},
        {"context: 0 of", ""},
        {">>> ", ctrl_d}}},
      {"many lines", brief, {{">>> ", "\"\"\"one\r"}, {"... ", "two\"\"\"\r"}, {"Generation: ", ""}, {">>> ", ctrl_d}}},
      {"Ctrl-C stops the answer alone",
       endless,
       {{">>> ", "hi\r"},
        {"e", ctrl_c},
        {"Generation: ", ""},
        {">>> ", "/show\r"},
        {"context: ", ""},
        {">>> ", "/bye\r"}}},
      {"Ctrl-C twice leaves", endless, {{">>> ", "hi\r"}, {"e", ctrl_c}, {">>> ", ctrl_c}}},
  };
  int failures = 0;
  for (const auto& talk : talks) {
    Terminal terminal(talk.command);
    bool good = true;
    for (const Step& step : talk.steps) {
      if (good && !terminal.shows(step.wait)) {
        std::printf("%s: '%s' did not appear\n", talk.name, step.wait);
        good = false;
      }
      if (good) terminal.keys(step.press);
    }
    const int code = good ? terminal.code() : -1;
    if (code == 0) continue;
    ++failures;
    std::printf("%s: exit code %d\n%s\n", talk.name, code, terminal.screen().c_str());
  }
  return failures > 0;
}
