// What the commands share: the flags of a model and of sampling, loading with a progress bar, Ctrl-C, input files.
#pragma once

#include <atomic>
#include <cmath>
#include <cstdint>
#include <optional>
#include <thread>

#include <CLI/CLI.hpp>

#include "handles.h"

namespace cli {

// What main reads of the environment.
struct Environment {
  std::string simd, backends;  // MOIETY_SIMD, MOIETY_BACKENDS; empty: not set
  std::string tune_file;       // in the user's cache folder; empty: there is none
};

// --gate and what belongs to it: how the gates of fairseq's MoE models are run.
struct GateFlags {
  std::string capacity = "nodrop", second = "all", normalise;  // normalise empty: as the model was configured
  uint64_t seed = 0;
  bool priority = false, pad_mask = false, statistics = false;

  void add(CLI::App& app);
};

// -m -t --pool -c -b -ub -ctk -ctv --activations --ram --no-tune --gate..
struct ModelFlags {
  std::string path, bpe;
  int threads = 0, context = 0, batch = 2048, ubatch = 512;
  std::string key_type, value_type, activations = "auto", pool = "team";
  uint64_t ram = 0;
  bool no_tune = false;
  GateFlags gate;

  void add(CLI::App& app, bool model_required = true, bool threads_list = false);
  void add_running(CLI::App& app, bool threads_list = false);  // all but -m
  moiety_model_params params(const Environment& environment) const;
};

// A number from low to high. (CLI11's own let NaN pass, and print limits of 300 digits.)
CLI::Validator number_from(double low, double high = HUGE_VAL);

// An option for a number of bytes: 500M, 1.5G, 4096.
CLI::Option* add_size(CLI::App& app, const std::string& name, uint64_t& bytes, const std::string& help);

struct SamplingFlags {
  float temperature = 0.8f, top_p = 0.95f, min_p = 0.05f, repeat_penalty = 1;
  int top_k = 40, repeat_last_n = 64;
  int64_t seed = -1;

  void add(CLI::App& app);
  moiety_sampling sampling() const;  // -1: a seed from the system
};

// Ctrl-C sets the token; a second one before reset() ends the program. SIGINT must be blocked in main first.
class Interrupt {
 public:
  Interrupt();
  ~Interrupt();
  moiety_cancel* token() const { return cancel_.get(); }
  void reset();

 private:
  CancelPtr cancel_;
  std::atomic<bool> stop_{false}, pressed_{false};
  std::thread thread_;
};

// Loads with a progress bar on a terminal, prints warnings and the effective configuration to stderr.
ModelPtr load_model(const ModelFlags& flags, const Environment& environment, Interrupt& interrupt, bool show_configuration = true);

std::string shipped_model();                      // its folder; throws Failure where it can't be found
std::string shipped_templates();                  // templates/choices.json, found alike
std::string read_file(const std::string& path);   // every byte; "-": stdin
std::vector<int32_t> parse_ids(const std::string& list);  // "1,2,3"
void print_timings(const moiety_generate_result& result);
void print_expert_statistics(const moiety_model* model);  // under --ram, to stderr
void print_gate_statistics(const ModelFlags& flags, const moiety_model* model);  // with --gate-stats, to stderr

// What runs a command on flags->model, without -m on the model that ships.
template <class Flags>
std::function<int()> on_named_or_shipped(const std::shared_ptr<Flags>& flags, const Environment& environment,
                                         int (*run)(const Flags&, const Environment&)) {
  return [flags, &environment, run] {
    if (flags->model.path.empty()) flags->model.path = shipped_model();
    return run(*flags, environment);
  };
}

// The commands. Each adds itself to the application and leaves what to run in `action`; it returns the exit code.
using Action = std::function<int()>;
void add_run(CLI::App& app, const Environment& environment, Action& action);
void add_chat(CLI::App& app, const Environment& environment, Action& action);
void add_logits(CLI::App& app, const Environment& environment, Action& action);
void add_tokenize(CLI::App& app, Action& action);
void add_bench(CLI::App& app, const Environment& environment, Action& action);
void add_inspect(CLI::App& app, Action& action);
void add_explain(CLI::App& app, const Environment& environment, Action& action);
void add_diff(CLI::App& app, const Environment& environment, Action& action);
void add_eval(CLI::App& app, const Environment& environment, Action& action);
void add_trace(CLI::App& app, const Environment& environment, Action& action);

}  // namespace cli
