#include "common.h"

#include <charconv>
#include <csignal>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <random>

#include <unistd.h>

#include "progress.h"

namespace cli {
namespace {

moiety_type type_of(const std::string& name) {
  if (name == "f32") return MOIETY_TYPE_F32;
  return name == "f16" ? MOIETY_TYPE_F16 : MOIETY_TYPE_DEFAULT;
}

bool show_progress(float done, void* progress) {
  static_cast<Progress*>(progress)->show(static_cast<double>(done));
  return true;
}

void show_log(moiety_log_level, const char* message, void*) { std::fprintf(stderr, "warning: %s\n", message); }

}  // namespace

CLI::Validator number_from(double low, double high) {
  const auto text = [](double value) { return std::to_string(static_cast<int64_t>(value)); };
  const std::string range = std::isinf(high) ? text(low) + " or more" : text(low) + " to " + text(high);
  const auto check = [=](const std::string& input) {
    double value = 0;
    const bool inside = CLI::detail::lexical_cast(input, value) && value >= low && value <= high;
    return inside ? std::string() : "expected " + range + ", got " + input;
  };
  return {check, "", "number"};
}

CLI::Option* add_size(CLI::App& app, const std::string& name, uint64_t& bytes, const std::string& help) {
  const auto parse = [](const std::string& text) -> std::optional<uint64_t> {
    const size_t end = std::min(text.find_first_not_of("0123456789."), text.size());
    std::string unit = text.substr(end);
    if (unit.ends_with('B')) unit.pop_back();
    const size_t power = unit.empty() ? 0 : std::string("KMGT").find(unit) + 1;
    double value = 0;
    if (unit.size() > 1 || (!unit.empty() && power == 0) || !CLI::detail::lexical_cast(text.substr(0, end), value)) return std::nullopt;
    const double size = value * std::pow(1024.0, static_cast<double>(power));
    return size >= 1 && size < 1e18 ? std::optional(static_cast<uint64_t>(size)) : std::nullopt;
  };
  const auto check = [=](const std::string& text) { return parse(text) ? "" : "expected a number with K, M, G or T, got '" + text + "'"; };
  return app.add_option_function<std::string>(name, [=, &bytes](const std::string& text) { bytes = *parse(text); }, help)
      ->check(CLI::Validator(check, "", "size"))->type_name("SIZE");
}

void GateFlags::add(CLI::App& app) {
  const auto known = [](const std::string& gate) {
    double fraction = 0;
    const bool is_fraction = gate.starts_with("frac=") && CLI::detail::lexical_cast(gate.substr(5), fraction) && fraction > 0 && !std::isinf(fraction);
    return gate == "nodrop" || gate == "train" || is_fraction ? std::string() : "expected nodrop, train or frac=X with X above 0, got " + gate;
  };
  app.add_option("--gate", capacity, "fairseq MoE models: tokens that an expert takes of a prompt's S: nodrop: all; train: "
      "2*ceil(S/E); frac=X: ceil(X*S)")->check(CLI::Validator(known, "", "gate"))->capture_default_str();
  app.add_option("--gate-second", second, "The second expert: all: always; random: kept by chance; sampling: drawn with noise")
      ->check(CLI::IsMember({"all", "random", "sampling"}))->capture_default_str();
  app.add_option("--gate-normalise", normalise, "Gate weights are normalised before or after dropping; default: as the model was configured")
      ->check(CLI::IsMember({"before", "after"}));
  app.add_flag("--gate-priority", priority, "Batch-prioritised: the best gates take their places first");
  app.add_flag("--gate-pad-mask", pad_mask, "Pads take no places");
  app.add_option("--gate-seed", seed, "Seed of --gate-second random and sampling")->capture_default_str();
  app.add_flag("--gate-stats", statistics, "At the end print what the gates did, to standard error");
}

void ModelFlags::add(CLI::App& app, bool model_required, bool threads_list) {
  auto* model = app.add_option("-m,--model", path, "Model folder, .gguf file, or fairseq checkpoint X.pt");
  if (model_required) model->required();
  add_running(app, threads_list);
}

void ModelFlags::add_running(CLI::App& app, bool threads_list) {
  if (!threads_list) {
    app.add_option("-t,--threads", threads, "Threads; 0: min(affinity, CPU quota, physical cores)")->check(number_from(0, 4096));
  }
  app.add_option("--pool", pool, "The pool of threads: team: they stay together for a step; tbb: oneTBB's tasks")
      ->check(CLI::IsMember({"team", "tbb", "openmp", "serial"}))->capture_default_str();
  app.add_option("--bpe", bpe, "Folder with dict.txt, encoder.json and vocab.bpe of a fairseq model");
  app.add_option("-c,--ctx-size", context, "Context in tokens; 0: the model's")->check(number_from(0));
  app.add_option("-b,--batch-size", batch, "Most tokens in one batch; a step computes the smaller of -b and -ub")->check(number_from(1))->capture_default_str();
  app.add_option("--ub,--ubatch-size", ubatch, "Most tokens in one step (-ub); the answer does not depend on it, but --gate train and frac need the prompt in one")->check(number_from(1))->capture_default_str();
  app.add_option("--ctk,--cache-type-k", key_type, "Type of the cached keys (-ctk)")->check(CLI::IsMember({"f32", "f16"}));
  app.add_option("--ctv,--cache-type-v", value_type, "Type of the cached values (-ctv)")->check(CLI::IsMember({"f32", "f16"}));
  app.add_option("--activations", activations, "auto: the fast path; f32: nothing is rounded")
      ->check(CLI::IsMember({"auto", "f32"}))->capture_default_str();
  add_size(app, "--ram", ram, "Resident memory stays below it, 2G: experts are read when they are needed and leave by use; default: no limit");
  app.add_flag("--no-tune", no_tune, "Measure no kernels, and read and write no moiety/tune.json in XDG_CACHE_HOME or ~/.cache; the answer does not depend on it");
  gate.add(app);
}

moiety_model_params ModelFlags::params(const Environment& environment) const {
  moiety_model_params p;
  moiety_model_params_defaults(&p, sizeof p);
  p.threads = threads, p.context = context, p.batch = batch, p.ubatch = ubatch;
  p.key_type = type_of(key_type), p.value_type = type_of(value_type);
  p.activations = activations == "f32" ? MOIETY_ACTIVATIONS_F32 : MOIETY_ACTIVATIONS_AUTO;
  p.vocabulary = bpe.empty() ? nullptr : bpe.c_str();
  p.simd = environment.simd.empty() ? nullptr : environment.simd.c_str();
  p.backends = environment.backends.empty() ? nullptr : environment.backends.c_str();
  p.gate = gate.capacity.c_str(), p.gate_second_expert = gate.second.c_str();
  p.gate_normalise = gate.normalise.empty() ? nullptr : gate.normalise.c_str();
  p.gate_seed = gate.seed, p.gate_priority = gate.priority, p.gate_pad_mask = gate.pad_mask;
  p.gate_statistics = gate.statistics;
  p.ram_bytes = ram;
  if (!no_tune && !environment.tune_file.empty()) p.tune_path = environment.tune_file.c_str();
  p.thread_pool = pool.c_str();
  return p;
}

void SamplingFlags::add(CLI::App& app) {
  app.add_option("--temp", temperature, "Temperature; 0: the most likely token")->check(number_from(0))->capture_default_str();
  app.add_option("--top-k", top_k, "Only the k most likely; 0: off")->check(number_from(-1))->capture_default_str();
  app.add_option("--top-p", top_p, "Only the most likely that make up p; 1: off")->check(number_from(0))->capture_default_str();
  app.add_option("--min-p", min_p, "Only those at least min-p times as likely as the first; 0: off")->check(number_from(0, 1))->capture_default_str();
  app.add_option("--repeat-penalty", repeat_penalty, "Penalty on tokens seen lately; 1: off")->capture_default_str();
  app.add_option("--repeat-last-n", repeat_last_n, "How many tokens are seen lately; -1: all")->check(number_from(-1))->capture_default_str();
  app.add_option("-s,--seed", seed, "Same seed, same text; -1: any")->capture_default_str();
}

moiety_sampling SamplingFlags::sampling() const {
  moiety_sampling s;
  moiety_sampling_defaults(&s, sizeof s);
  s.temperature = temperature, s.top_k = top_k, s.top_p = top_p, s.min_p = min_p;
  s.repeat_penalty = repeat_penalty, s.repeat_last_n = repeat_last_n;
  s.seed = seed == -1 ? std::random_device{}() : static_cast<uint64_t>(seed);
  return s;
}

Interrupt::Interrupt() {
  moiety_cancel* cancel = nullptr;
  call([&](moiety_error* e) { return moiety_cancel_create(&cancel, e); });
  cancel_.reset(cancel);
  thread_ = std::thread([this] {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    const timespec tick{0, 50'000'000};
    while (!stop_) {
      if (sigtimedwait(&set, nullptr, &tick) != SIGINT) continue;
      if (pressed_.exchange(true)) _exit(1);
      moiety_cancel_set(cancel_.get());
    }
  });
}

Interrupt::~Interrupt() {
  stop_ = true;
  thread_.join();
}

void Interrupt::reset() {
  pressed_ = false;
  moiety_cancel_reset(cancel_.get());
}

ModelPtr load_model(const ModelFlags& flags, const Environment& environment, Interrupt& interrupt, bool show_configuration) {
  moiety_model_params params = flags.params(environment);
  Progress progress("loading");
  if (isatty(STDERR_FILENO)) params.progress = show_progress, params.progress_data = &progress;
  params.log = show_log;
  params.cancel = interrupt.token();
  moiety_model* model = nullptr;
  moiety_error error;
  const moiety_status status = moiety_model_load(flags.path.c_str(), &params, &model, &error);
  progress.clear();
  check(status, error);
  ModelPtr owner(model);
  if (show_configuration) std::fputs(model_text(model, MOIETY_TEXT_CONFIGURATION).c_str(), stderr);
  return owner;
}

namespace {

// A file or folder that ships: beside the binary of a build, where it was installed, and where it was moved to.
std::string shipped(const std::filesystem::path& name, const std::filesystem::path& probe, const char* what) {
  namespace fs = std::filesystem;
  std::error_code code;
  const fs::path program = fs::read_symlink("/proc/self/exe", code).parent_path();
  for (const fs::path& place : {program / "..", fs::path(MOIETY_MODELS_DIR) / "..", program / MOIETY_MODELS_FROM_BIN / ".."}) {
    const fs::path path = (place / name).lexically_normal();
    if (fs::exists(path / probe, code) || (probe.empty() && fs::exists(path, code))) return path.string();
  }
  throw Failure(MOIETY_IO, std::string(what) + " not found beside " MOIETY_MODELS_DIR);
}

}  // namespace

std::string shipped_model() {
  return shipped("models/" MOIETY_SHIPPED_MODEL, "config.json", "no model is named with -m, and the model that ships was");
}
std::string shipped_templates() { return shipped("templates/choices.json", "", "no file is named with --templates, and the one that ships was"); }

std::string read_file(const std::string& path) {
  std::ifstream file;
  if (path != "-") {
    if (std::filesystem::is_directory(path)) throw Failure(MOIETY_IO, path + ": is a directory");
    file.open(path, std::ios::binary);
    if (!file) throw Failure(MOIETY_IO, path + ": can't open it: " + std::generic_category().message(errno));
  }
  std::istream& in = path == "-" ? std::cin : file;
  std::string text(std::istreambuf_iterator<char>(in), {});
  if (in.bad()) throw Failure(MOIETY_IO, path + ": can't read it");
  return text;
}

std::vector<int32_t> parse_ids(const std::string& list) {
  std::vector<int32_t> ids;
  const char* at = list.data();
  const char* end = at + list.size();
  for (;;) {
    int32_t id;
    const auto [next, error] = std::from_chars(at, end, id);
    if (error != std::errc() || (next != end && *next != ',')) throw UsageError("--tokens: expected ids like 1,2,3, got '" + list + "'");
    ids.push_back(id);
    if (next == end) return ids;
    at = next + 1;
  }
}

void print_expert_statistics(const moiety_model* model) {
  moiety_expert_statistics s{};
  s.struct_size = sizeof s;
  call([&](moiety_error* e) { return moiety_model_expert_statistics(model, &s, e); });
  if (s.uses == 0) return;
  std::fprintf(stderr, "[ Experts: %.1f %% of %lld uses were in memory, which holds %lld of %lld; %.1f MiB read ]\n",
               100 * static_cast<double>(s.uses - s.reads) / static_cast<double>(s.uses), static_cast<long long>(s.uses),
               static_cast<long long>(s.slots), static_cast<long long>(s.experts), static_cast<double>(s.read_bytes) / (1 << 20));
}

void print_gate_statistics(const ModelFlags& flags, const moiety_model* model) {
  if (!flags.gate.statistics) return;
  moiety_gate_statistics s{};
  s.struct_size = sizeof s;
  call([&](moiety_error* e) { return moiety_model_gate_statistics(model, &s, e); });
  if (s.groups == 0) return static_cast<void>(std::fputs("gates: none ran\n", stderr));
  std::fprintf(stderr,
               "gates, over %lld groups: moe_gate_loss %.8f | overflow_expert1 %.3f | overflow_expert2 %.3f | entropy_gating %.3f | "
               "expert1_balance_top %.3f | expert1_balance_bottom %.3f | unused_expert1_count %.3f | expert2_balance_top %.3f | "
               "expert2_balance_bottom %.3f | unused_expert2_count %.3f\n",
               static_cast<long long>(s.groups), s.moe_gate_loss, s.overflow_expert1, s.overflow_expert2, s.entropy_gating,
               s.expert1_balance_top, s.expert1_balance_bottom, s.unused_expert1_count, s.expert2_balance_top,
               s.expert2_balance_bottom, s.unused_expert2_count);
}

void print_timings(const moiety_generate_result& r) {
  const auto rate = [](int tokens, double seconds) { return seconds > 0 ? tokens / seconds : 0; };
  // The first generated token comes from the prompt's logits.
  std::fprintf(stderr, "[ Prompt: %.1f t/s | Generation: %.1f t/s ]\n", rate(r.prompt_tokens, r.prompt_seconds),
               rate(r.generated_tokens > 1 ? r.generated_tokens - 1 : r.generated_tokens, r.generate_seconds));
}

}  // namespace cli
