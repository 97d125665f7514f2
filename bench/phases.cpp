// bench_phases: what is no matrix product: text to tokens (MB/s a thread), drawing a token from the logits (us, and the
// share of a decoded token), starting the program (ms).
#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <fstream>
#include <iterator>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "moiety.h"
#include "runtime/sampler.h"

extern char** environ;

namespace {

using Clock = std::chrono::steady_clock;

struct Options {
  std::vector<std::string> tokenizers{"models/stories-12m"}, texts{"docs/stories.md", "README.md", "LICENSE"};
  std::string model, binary = "build/moiety";
  int vocabulary = 151936, starts = 20;
  double token_ms = 25, seconds = 1;
};

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return (values[(values.size() - 1) / 2] + values[values.size() / 2]) / 2;
}

void check(moiety_status status, const moiety_error& error) {
  if (status) throw std::runtime_error(error.message);
}

// Seconds of each run of `work`, for `seconds` and 5 runs at least, after one that warms up.
template <class Work>
std::vector<double> times_of(double seconds, const Work& work) {
  work();
  std::vector<double> times;
  for (const auto begin = Clock::now(); times.size() < 5 || seconds_since(begin) < seconds;) {
    const auto start = Clock::now();
    work();
    times.push_back(seconds_since(start));
  }
  return times;
}

std::string read_all(const std::vector<std::string>& paths) {
  std::string text;
  for (const std::string& path : paths) {
    std::ifstream file(path, std::ios::binary);
    if (!file) throw std::runtime_error(path + ": can't be read");
    text.append(std::istreambuf_iterator<char>(file), {});
  }
  return text;
}

void tokenising(const Options& o) {
  const std::string text = read_all(o.texts);
  fmt::print(
      "{} bytes of text in one call, one thread\n\n| tokenizer | tokens | bytes a token | MB/s, median | best |\n| --- "
      "| ---: | ---: | ---: | ---: |\n",
      text.size());
  for (const std::string& path : o.tokenizers) {
    moiety_error error;
    moiety_tokenizer* tokenizer = nullptr;
    check(moiety_tokenizer_load(path.c_str(), &tokenizer, &error), error);
    std::vector<int32_t> ids(text.size() + 16);
    size_t count = 0;
    const auto times = times_of(o.seconds, [&] {
      check(moiety_tokenize(tokenizer, text.data(), text.size(), true, false, ids.data(), ids.size(), &count, &error),
            error);
    });
    moiety_tokenizer_free(tokenizer);
    const auto bytes = static_cast<double>(text.size());
    fmt::print("| {} | {} | {:.2f} | {:.1f} | {:.1f} |\n", path, count, bytes / static_cast<double>(count),
               bytes / median(times) / 1e6, bytes / std::ranges::min(times) / 1e6);
  }
}

// Milliseconds of a decoded token of the model.
double token_of(const std::string& path) {
  moiety_error error;
  moiety_model* model = nullptr;
  moiety_session* session = nullptr;
  check(moiety_model_load(path.c_str(), nullptr, &model, &error), error);
  check(moiety_session_create(model, nullptr, 0, &session, &error), error);
  int32_t id = 5;
  const auto times = times_of(0, [&] {
    for (int i = 0; i < 8; ++i) {
      id = 4 + (id * 31) % 997;
      const moiety_eval_request request{session, &id, 1, MOIETY_WANT_LAST, nullptr, nullptr};
      check(moiety_eval(&request, 1, nullptr, &error), error);
    }
  });
  moiety_session_free(session);
  moiety_model_free(model);
  return 1e3 * median(times) / 8;
}

void sampling(const Options& o) {
  const double token = o.model.empty() ? o.token_ms : token_of(o.model);
  fmt::print(
      "\n{} logits; a decoded token takes {:.2f} ms{}\n\n| sampling | us, median | of a token |\n| --- | ---: | ---: "
      "|\n",
      o.vocabulary, token, o.model.empty() ? " (--token-ms)" : "");
  std::mt19937 random(3);
  std::normal_distribution<float> normal(0, 3);
  std::vector<float> logits(static_cast<size_t>(o.vocabulary));
  for (float& logit : logits) logit = normal(random);
  std::vector<int32_t> history(4096);
  for (int32_t& id : history) id = static_cast<int32_t>(random() % static_cast<uint32_t>(o.vocabulary));
  moiety::SamplerOptions greedy, usual, penalised, all;
  greedy.temperature = 0;
  penalised.repeat_penalty = 1.1f;
  all.top_k = 0, all.top_p = 1;
  const std::pair<const char*, moiety::SamplerOptions> kinds[] = {{"greedy", greedy},
                                                                  {"default: top-k 40, top-p 0.95, min-p 0.05", usual},
                                                                  {"default and repeat penalty 1.1 over 64", penalised},
                                                                  {"min-p 0.05 alone", all}};
  for (const auto& [name, options] : kinds) {
    moiety::Sampler sampler(options);
    uint64_t position = 0;
    const double us = 1e6 * median(times_of(o.seconds, [&] { sampler.sample(logits, history, position++); }));
    fmt::print("| {} | {:.1f} | {:.2f} % |\n", name, us, us / token / 10);
  }
}

void starting(const Options& o) {
  fmt::print("\n| start | ms, median of {} | most |\n| --- | ---: | ---: |\n", o.starts);
  for (const std::string flag : {"--version", "--help"}) {
    std::vector<double> times;
    for (int i = 0; i < o.starts; ++i) {
      posix_spawn_file_actions_t actions;
      posix_spawn_file_actions_init(&actions);
      posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
      std::string binary = o.binary, argument = flag;
      char* const arguments[] = {binary.data(), argument.data(), nullptr};
      pid_t pid = 0;
      int status = 0;
      const auto start = Clock::now();
      const int failed = posix_spawn(&pid, binary.c_str(), &actions, nullptr, arguments, environ);
      if (!failed) waitpid(pid, &status, 0);
      times.push_back(1e3 * seconds_since(start));
      posix_spawn_file_actions_destroy(&actions);
      if (failed || status != 0) throw std::runtime_error(o.binary + " " + flag + ": it does not run");
    }
    fmt::print("| {} {} | {:.1f} | {:.1f} |\n", o.binary, flag, median(times), std::ranges::max(times));
  }
}

}  // namespace

int main(int argc, char** argv) {
  Options o;
  CLI::App app("Tokenising, sampling and the start of the program");
  app.footer("The defaults are found from the root of the sources.");
  app.add_option("--tokenizer", o.tokenizers, "Model folders or .gguf files, a list")
      ->delimiter(',')
      ->capture_default_str();
  app.add_option("--text", o.texts, "Text files, a list")->delimiter(',')->capture_default_str();
  app.add_option("-m,--model", o.model, "A model whose decoded token sampling is compared with");
  app.add_option("--token-ms", o.token_ms, "Without -m: what a token takes")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--vocabulary", o.vocabulary, "Logits to draw from")
      ->check(CLI::Range(2, 1 << 24))
      ->capture_default_str();
  app.add_option("--binary", o.binary, "The program that is started")->capture_default_str();
  app.add_option("--seconds", o.seconds, "Of each measurement")->check(CLI::NonNegativeNumber)->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  try {
    tokenising(o);
    sampling(o);
    starting(o);
  } catch (const std::exception& error) {
    fmt::print(stderr, "error: {}\n", error.what());
    return 1;
  }
  return 0;
}
