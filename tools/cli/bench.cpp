#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <span>

#include <nlohmann/json.hpp>

#include "common.h"
#include "limits.h"
#include "output.h"
#include "record.h"

namespace cli {
namespace {

struct BenchFlags {
  ModelFlags model;
  std::vector<int> prompts{512}, predicts{128}, threads{0}, depths{0};
  int repetitions = 5;
  std::string output = "md", record;
  bool no_warmup = false;
};

struct Result {
  int prompt = 0, predict = 0, depth = 0, threads = 0;
  std::string model, types, backends;
  uint64_t size = 0;
  int64_t parameters = 0;
  double mean = 0, deviation = 0;
  double bytes = 0, flops = 0;          // a token
  double bandwidth = 0, peak = 0;       // of the machine, now, with these threads
  double file_bandwidth = 0;            // of the model's file as it is mapped; 0: not measured
  uint64_t hash = 0;                    // of the last logits

  std::string test() const {
    std::string name = prompt > 0 ? "pp" + std::to_string(prompt) : "tg" + std::to_string(predict);
    if (depth > 0) name += " @ d" + std::to_string(depth);
    return name;
  }
  double bandwidth_share() const { return bandwidth > 0 ? mean * bytes / bandwidth : 0; }
  double peak_share() const { return peak > 0 ? mean * flops / peak : 0; }
};

// Tokens that differ from each other and are the same in every run.
std::vector<int32_t> tokens(int count, int vocab, uint64_t seed) {
  std::vector<int32_t> ids;
  for (int i = 0; i < count; ++i) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    ids.push_back(static_cast<int32_t>((seed >> 33) % static_cast<uint64_t>(vocab)));
  }
  return ids;
}

uint64_t hash_of(const float* logits, size_t count) {  // FNV-1a over the bytes
  uint64_t hash = 14695981039346656037u;
  const auto* bytes = reinterpret_cast<const unsigned char*>(logits);
  for (size_t i = 0; i < count * sizeof(float); ++i) hash = (hash ^ bytes[i]) * 1099511628211u;
  return hash;
}

class Bench {
 public:
  Bench(const BenchFlags& flags, moiety_model* model, Interrupt& interrupt)
      : flags_(flags), model_(model), info_(model_info(model)), interrupt_(interrupt), limits_(measure_limits(info_.threads, model_text(model, MOIETY_TEXT_TYPES), flags.model.activations == "f32")) {}

  Result measure(int prompt, int predict, int depth) {
    if (prompt + predict + depth > info_.context) {
      throw Failure(MOIETY_CONTEXT_FULL, "bench: " + std::to_string(prompt + predict + depth) + " tokens do not fit the context of " +
                                             std::to_string(info_.context) + "; give -c");
    }
    Result r;
    r.prompt = prompt, r.predict = predict, r.depth = depth, r.threads = info_.threads;
    r.model = model_text(model_, MOIETY_TEXT_ARCHITECTURE) + " " + model_text(model_, MOIETY_TEXT_NAME);
    r.types = model_text(model_, MOIETY_TEXT_TYPES), r.backends = model_text(model_, MOIETY_TEXT_BACKENDS);
    r.size = info_.mapped_bytes + info_.copied_bytes, r.parameters = info_.parameters;
    r.bandwidth = limits_.bytes_per_second, r.peak = limits_.ops_per_second;
    count_cost(r);
    const SessionPtr session = make_session(model_);
    const auto prefix = tokens(depth, info_.vocab, 1), body = tokens(prompt + predict, info_.vocab, 2);
    if (depth > 0) eval(session.get(), prefix);
    if (!flags_.no_warmup) once(session.get(), r, body);
    std::vector<double> rates;
    for (int i = 0; i < flags_.repetitions; ++i) rates.push_back((prompt + predict) / once(session.get(), r, body));
    for (double rate : rates) r.mean += rate / static_cast<double>(rates.size());
    for (double rate : rates) r.deviation += (rate - r.mean) * (rate - r.mean);
    r.deviation = rates.size() > 1 ? std::sqrt(r.deviation / static_cast<double>(rates.size() - 1)) : 0;
    if (!file_) file_ = measure_file(info_.threads, flags_.model.path);  // by now it is in memory
    r.file_bandwidth = *file_;
    return r;
  }

 private:
  // Averages over the steps that a run executes: chunks of -ub rows, or one row at each position.
  void count_cost(Result& r) const {
    const int rows = r.prompt > 0 ? std::min({r.prompt, flags_.model.ubatch, flags_.model.batch}) : 1;
    const int total = r.prompt + r.predict;
    const int stride = r.prompt > 0 ? rows : std::max(1, total / 16);  // decode: its cost grows evenly with the position
    double counted = 0;
    for (int done = 0; done < total; done += stride) {
      const int step = std::min(rows, total - done);
      moiety_cost cost{};
      call([&](moiety_error* e) { return moiety_model_get_cost(model_, step, r.depth + done + step, &cost, e); });
      r.bytes += cost.weight_bytes, r.flops += cost.flops, counted += step;
    }
    r.bytes /= counted, r.flops /= counted;
  }

  void eval(moiety_session* session, std::span<const int32_t> ids) const {
    const moiety_eval_request request{session, ids.data(), ids.size(), MOIETY_WANT_LAST, nullptr, nullptr};
    call([&](moiety_error* e) { return moiety_eval(&request, 1, interrupt_.token(), e); });
  }

  // Seconds of one run from the session's depth; the logits' hash goes into r.
  double once(moiety_session* session, Result& r, const std::vector<int32_t>& body) const {
    call([&](moiety_error* e) { return moiety_session_rewind(session, r.depth, e); });
    const auto start = std::chrono::steady_clock::now();
    if (r.prompt > 0) eval(session, body);
    else for (const int32_t& id : body) eval(session, {&id, 1});
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    const float* logits = nullptr;
    size_t count = 0;
    call([&](moiety_error* e) { return moiety_session_logits(session, &logits, &count, e); });
    r.hash = hash_of(logits, count);
    return seconds;
  }

  const BenchFlags& flags_;
  moiety_model* model_;
  moiety_model_info info_;
  Interrupt& interrupt_;
  Limits limits_;
  std::optional<double> file_;
};

nlohmann::ordered_json json_of(const Result& r) {
  char hash[20];
  std::snprintf(hash, sizeof hash, "%016llx", static_cast<unsigned long long>(r.hash));
  return {{"model_type", r.model}, {"model_types", r.types}, {"model_size", r.size}, {"model_n_params", r.parameters},
          {"backends", r.backends}, {"n_threads", r.threads}, {"n_prompt", r.prompt}, {"n_gen", r.predict}, {"n_depth", r.depth},
          {"avg_ts", r.mean}, {"stddev_ts", r.deviation}, {"bytes_per_token", r.bytes}, {"flops_per_token", r.flops},
          {"bandwidth", r.bandwidth}, {"file_bandwidth", r.file_bandwidth}, {"peak_ops", r.peak}, {"bandwidth_share", r.bandwidth_share()}, {"peak_share", r.peak_share()},
          {"logits_hash", hash}};
}

void print_markdown(const Result& r) {
  std::printf("| %-28s | %7.2f MiB | %8.2f M | %-22s | %7d | %12s | %9.2f ± %.2f | %8.2f | %8.2f | %5.1f %% | %5.1f %% | %016llx |\n",
              (r.model + " " + r.types).c_str(), static_cast<double>(r.size) / 1048576, static_cast<double>(r.parameters) / 1e6,
              r.backends.c_str(), r.threads, r.test().c_str(), r.mean, r.deviation, r.bytes / 1e6, r.flops / 1e6,
              r.bandwidth_share() * 100, r.peak_share() * 100, static_cast<unsigned long long>(r.hash));
}

void print_csv(const nlohmann::ordered_json& row, bool head) {
  std::string line;
  if (head) {
    for (const auto& [key, value] : row.items()) line += (line.empty() ? "" : ",") + key;
    std::printf("%s\n", line.c_str());
    line.clear();
  }
  for (const auto& value : row) line += (line.empty() ? "" : ",") + value.dump();
  std::printf("%s\n", line.c_str());
}

void print(const BenchFlags& flags, const Result& r, bool first) {
  if (flags.output == "md") {
    if (first) {
      std::printf("| model | size | params | backend | threads | test | t/s | MB/token | MFLOP/token | bandwidth | peak | logits |\n"
                  "| --- | ---: | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |\n");
    }
    print_markdown(r);
  } else if (flags.output == "csv") {
    print_csv(json_of(r), first);
  } else if (flags.output == "jsonl") {
    std::printf("%s\n", json_of(r).dump().c_str());
  } else {
    std::printf("%s%s", first ? "[\n  " : ",\n  ", json_of(r).dump().c_str());
  }
  std::fflush(stdout);
}

int run(BenchFlags flags, const Environment& environment) {
  Interrupt interrupt;
  std::optional<Record> record;
  if (!flags.record.empty()) {
    refuse_model_file(flags.record, flags.model.path);
    record.emplace(flags.record);
  }
  bool first = true;
  for (int threads : flags.threads) {
    flags.model.threads = threads;
    const ModelPtr model = load_model(flags.model, environment, interrupt, first);
    Bench bench(flags, model.get(), interrupt);
    Result last;
    for (int depth : flags.depths) {
      const auto one = [&](int prompt, int predict) {
        if (prompt + predict == 0) return;
        const Result result = last = bench.measure(prompt, predict, depth);
        print(flags, result, first);
        if (record) record->append(json_of(result));
        first = false;
      };
      for (int prompt : flags.prompts) one(prompt, 0);
      for (int predict : flags.predicts) one(0, predict);
    }
    if (flags.output == "md" && last.bandwidth > 0) {
      std::printf("\nread: %.1f GB/s of memory in huge pages", last.bandwidth / 1e9);
      if (last.file_bandwidth > 0) std::printf(", %.1f in a pass through the model's file", last.file_bandwidth / 1e9);
      std::printf("\n");
    }
    print_gate_statistics(flags.model, model.get());
  }
  if (flags.output == "json") std::printf("%s]\n", first ? "[" : "\n");
  return 0;
}

}  // namespace

void add_bench(CLI::App& app, const Environment& environment, Action& action) {
  auto flags = std::make_shared<BenchFlags>();
  CLI::App* command = app.add_subcommand("bench", "Measure prompt and generation speed, with the machine's limits beside it");
  flags->model.add(*command, true, true);
  command->add_option("-t,--threads", flags->threads, "Threads, a list: 1,2")->delimiter(',')->check(number_from(0, 4096));
  command->add_option("-p,--n-prompt", flags->prompts, "Prompt tokens, a list; 0: no such test")->delimiter(',')->check(number_from(0));
  command->add_option("-n,--n-gen", flags->predicts, "Generated tokens, a list; 0: no such test")->delimiter(',')->check(number_from(0));
  command->add_option("-d,--n-depth", flags->depths, "Tokens in the context before, a list")->delimiter(',')->check(number_from(0));
  command->add_option("-r,--repetitions", flags->repetitions, "Runs of each test")->check(number_from(1))->capture_default_str();
  command->add_option("-o,--output", flags->output, "md, csv, json or jsonl")->check(CLI::IsMember({"md", "csv", "json", "jsonl"}))->capture_default_str();
  command->add_option("--record", flags->record, "Append each result to FILE as a line of JSON, with date, commit and CPU")->type_name("FILE");
  command->add_flag("--no-warmup", flags->no_warmup, "Do not run each test once before");
  command->callback([flags, &environment, &action] { action = [flags, &environment] { return run(*flags, environment); }; });
}

}  // namespace cli
