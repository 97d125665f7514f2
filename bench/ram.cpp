// bench_ram: what a memory budget costs. Each budget runs in a process of its own, after one without a budget: its peak
// resident memory, the experts that were in memory when they were needed, its speed. Fails where a peak passes its
// budget, or the tokens are not those of the run without one.
#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "moiety.h"

namespace {

struct Options {
  std::string model, bpe;
  std::vector<double> shares{0.25, 0.5};
  int threads = 0, context = 512, prompt = 64, predict = 64;
};

struct Result {
  moiety_error error{};
  moiety_model_info info{};
  moiety_expert_statistics experts{};
  moiety_generate_result generated{};
  int32_t ids[1024]{};
};

struct Child {
  Result result;
  uint64_t peak = 0;  // bytes
};

bool collect(int32_t id, void* at) {
  *(*static_cast<int32_t**>(at))++ = id;
  return true;
}

// Loads, runs a prompt of seeded ids, generates greedily.
moiety_status measure(const Options& o, uint64_t ram, Result& r) {
  moiety_model_params params;
  moiety_model_params_defaults(&params, sizeof params);
  params.threads = o.threads, params.context = o.context, params.ram_bytes = ram;
  params.vocabulary = o.bpe.empty() ? nullptr : o.bpe.c_str();
  moiety_model* model = nullptr;
  moiety_session* session = nullptr;
  moiety_sampling greedy;
  moiety_sampling_defaults(&greedy, sizeof greedy);
  greedy.temperature = 0;
  moiety_status status = moiety_model_load(o.model.c_str(), &params, &model, &r.error);
  r.info.struct_size = sizeof r.info, r.experts.struct_size = sizeof r.experts, r.generated.struct_size = sizeof r.generated;
  if (!status) status = moiety_model_get_info(model, &r.info, &r.error);
  if (!status) status = moiety_session_create(model, &greedy, 0, &session, &r.error);
  if (!status) {
    std::mt19937 random(1);
    std::vector<int32_t> prompt(static_cast<size_t>(o.prompt));
    std::uniform_int_distribution<int32_t> any(4, r.info.vocab - 1);
    for (int32_t& id : prompt) id = any(random);
    moiety_generate_params generate;
    moiety_generate_params_defaults(&generate, sizeof generate);
    int32_t* next = r.ids;
    generate.max_tokens = o.predict, generate.ignore_eos = true, generate.on_token = collect, generate.user_data = &next;
    status = moiety_generate(session, prompt.data(), prompt.size(), &generate, &r.generated, &r.error);
  }
  if (!status) status = moiety_model_expert_statistics(model, &r.experts, &r.error);
  moiety_session_free(session);
  moiety_model_free(model);
  return status;
}

Child run(const Options& o, uint64_t ram) {
  Child child;
  int ends[2];
  if (pipe(ends) != 0) throw std::runtime_error("no pipe");
  const pid_t pid = fork();
  if (pid == 0) {
    Result& r = child.result;
    r.error.status = measure(o, ram, r);
    const auto* at = reinterpret_cast<const char*>(&r);
    for (size_t done = 0; done < sizeof r;) {
      const ssize_t wrote = write(ends[1], at + done, sizeof r - done);
      if (wrote <= 0) _exit(1);
      done += static_cast<size_t>(wrote);
    }
    _exit(0);
  }
  close(ends[1]);
  auto* at = reinterpret_cast<char*>(&child.result);
  size_t done = 0;
  for (ssize_t got = 0; done < sizeof(Result) && (got = read(ends[0], at + done, sizeof(Result) - done)) > 0;) done += static_cast<size_t>(got);
  close(ends[0]);
  int status = 0;
  rusage usage{};
  wait4(pid, &status, 0, &usage);
  if (done < sizeof(Result)) throw std::runtime_error("the measuring process ended early");
  if (child.result.error.status) throw std::runtime_error(child.result.error.message);
  child.peak = static_cast<uint64_t>(usage.ru_maxrss) * 1024;
  return child;
}

double rate(int32_t tokens, double seconds) { return seconds > 0 ? tokens / seconds : 0; }

int compare(const Options& o) {
  const Child free = run(o, 0);
  const uint64_t file = free.result.info.mapped_bytes + free.result.info.copied_bytes;
  std::vector<uint64_t> budgets;
  for (const double share : o.shares) budgets.push_back(static_cast<uint64_t>(share * static_cast<double>(file)));
  fmt::print("{}: {:.0f} MiB of weights, prompt {}, {} tokens generated, {} threads\n\n", o.model, static_cast<double>(file) / (1 << 20),
             o.prompt, o.predict, free.result.info.threads);
  fmt::print("| budget, MiB | of the weights | peak Rss, MiB | experts held | in memory when needed | read, MiB | prompt t/s | generation t/s | same tokens |\n");
  fmt::print("| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |\n");
  bool good = true;
  const auto row = [&](uint64_t budget, const Child& c) {
    const Result& r = c.result;
    const bool same = std::ranges::equal(r.ids, free.result.ids), below = budget == 0 || c.peak < budget;
    good = good && same && below;
    const auto mib = [](auto bytes) { return static_cast<double>(bytes) / (1 << 20); };
    const double uses = static_cast<double>(std::max<int64_t>(r.experts.uses, 1));
    fmt::print("| {} | {} | {:.0f}{} | {} | {} | {:.0f} | {:.1f} | {:.1f} | {} |\n",
               budget ? fmt::format("{:.0f}", mib(budget)) : "none", budget ? fmt::format("{:.0f} %", 100 * mib(budget) / mib(file)) : "",
               mib(c.peak), below ? "" : " (too much)", budget ? fmt::format("{} of {}", r.experts.slots, r.experts.experts) : "all",
               budget ? fmt::format("{:.1f} %", 100 * static_cast<double>(r.experts.uses - r.experts.reads) / uses) : "",
               mib(r.experts.read_bytes), rate(r.generated.prompt_tokens, r.generated.prompt_seconds),
               rate(r.generated.generated_tokens - 1, r.generated.generate_seconds), same ? "yes" : "NO");
  };
  row(0, free);
  for (const uint64_t budget : budgets) row(budget, run(o, budget));
  return good ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  Options o;
  CLI::App app("What a memory budget (moiety run --ram) costs, and that it holds");
  app.add_option("-m,--model", o.model, "A model")->required();
  app.add_option("--bpe", o.bpe, "The vocabulary's folder of a fairseq model");
  app.add_option("--share", o.shares, "Budgets as shares of the bytes of all weights")->delimiter(',')->capture_default_str();
  app.add_option("-t,--threads", o.threads, "Threads; 0: all");
  app.add_option("-c,--ctx-size", o.context, "Context")->capture_default_str();
  app.add_option("-p,--prompt", o.prompt, "Tokens of the prompt")->check(CLI::Range(1, 1 << 20))->capture_default_str();
  app.add_option("-n,--predict", o.predict, "Tokens to generate")->check(CLI::Range(1, 1024))->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  try {
    return compare(o);
  } catch (const std::exception& error) {
    fmt::print(stderr, "error: {}\n", error.what());
    return 1;
  }
}
