// moiety: the command line. Exit codes: 0, 1 (it failed), 2 (it was called wrongly). The environment is read here only.
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <iostream>

#include "common.h"
#include "convert.h"

namespace {

// CLI11 knows -x and --long; llama.cpp's users type -ub, -ctk, -ctv and -sys.
std::vector<std::string> arguments(int argc, char** argv) {
  std::vector<std::string> args;
  for (int i = argc - 1; i > 0; --i) {  // CLI11 takes them in reverse
    std::string arg = argv[i];
    for (const char* known : {"-ub", "-ctk", "-ctv", "-sys"}) {
      if (arg == known) arg.insert(0, "-");
    }
    args.push_back(std::move(arg));
  }
  return args;
}

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

// Where the XDG base directory specification wants what can be made again; a relative path in it counts as none.
std::string tune_file() {
  const std::string cache = environment("XDG_CACHE_HOME"), home = environment("HOME");
  if (cache.starts_with('/')) return cache + "/moiety/tune.json";
  return home.starts_with('/') ? home + "/.cache/moiety/tune.json" : "";
}

int run(int argc, char** argv) {
  CLI::App app{"moiety runs Mixture-of-Experts language models on the CPU."};
  app.set_version_flag("--version", std::string("moiety ") + moiety_version());
  app.require_subcommand(1);
  app.footer("MOIETY_SIMD and MOIETY_BACKENDS force a SIMD target and a list of backends.\nHelp on a command: moiety COMMAND --help");
  const cli::Environment env{environment("MOIETY_SIMD"), environment("MOIETY_BACKENDS"), tune_file()};
  cli::Action action;
  cli::add_run(app, env, action);
  cli::add_chat(app, env, action);
  cli::add_logits(app, env, action);
  cli::add_tokenize(app, action);
  cli::add_bench(app, env, action);
  cli::add_inspect(app, action);
  cli::add_convert(app, action);
  cli::add_pack(app, action);
  cli::add_explain(app, env, action);
  cli::add_diff(app, env, action);
  cli::add_eval(app, env, action);
  cli::add_trace(app, env, action);
  try {
    app.parse(arguments(argc, argv));
    return action();
  } catch (const CLI::ParseError& e) {
    return app.exit(e, std::cout, std::cerr) == 0 ? 0 : 2;
  }
}

}  // namespace

int main(int argc, char** argv) {
  // Before any thread starts, so that only Interrupt's thread takes it.
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  try {
    const int code = run(argc, argv);
    if (std::fflush(stdout) == 0 && !std::ferror(stdout)) return code;
    std::fputs("error: can't write to standard output\n", stderr);
  } catch (const cli::UsageError& e) {
    std::fprintf(stderr, "error: %s\n", e.what());
    return 2;
  } catch (const std::exception& e) {
    std::fflush(stdout);
    std::fprintf(stderr, "error: %s\n", e.what());
  }
  return 1;
}
