#include <cmath>
#include <cstdio>

#include <nlohmann/json.hpp>

#include "eval.h"
#include "eval/scorer.h"
#include "formats/npy.h"
#include "progress.h"
#include "runtime.h"

namespace cli {
namespace {

struct KlFlags {
  ModelFlags model;
  std::string logits, prompt, tokens;
  bool json = false;
};

struct Sums {
  double kl = 0, worst_kl = 0, difference = 0, same_top = 0;
};

// KL of our distribution from the saved one, in nats, both in double.
void compare(std::span<const double> saved, std::span<const float> ours, Sums& sums) {
  double best = saved[0];
  size_t top = 0, our_top = 0;
  for (size_t i = 1; i < saved.size(); ++i) {
    if (saved[i] > best) best = saved[i], top = i;
    if (ours[i] > ours[our_top]) our_top = i;
  }
  double sum = 0, kl = 0;
  for (double v : saved) sum += std::exp(v - best);
  const double saved_norm = best + std::log(sum), our_norm = moiety::eval::log_sum_exp(ours);
  for (size_t i = 0; i < saved.size(); ++i) {
    const double p = saved[i] - saved_norm, q = static_cast<double>(ours[i]) - our_norm;
    kl += std::exp(p) * (p - q);
    sums.difference = std::max(sums.difference, std::abs(saved[i] - static_cast<double>(ours[i])));
  }
  if (!std::isfinite(kl)) moiety::fail(moiety::Status::kNumeric, "logits are not finite");
  sums.kl += kl, sums.worst_kl = std::max(sums.worst_kl, kl), sums.same_top += top == our_top;
}

int run(const KlFlags& flags, const Environment& environment) {
  const moiety::NpyArray saved = moiety::read_npy(flags.logits);
  Interrupt interrupt;
  const ModelPtr handle = load_model(flags.model, environment, interrupt);
  const moiety::Model& model = runtime_model(handle);
  const std::vector<int32_t> ids = flags.tokens.empty() ? runtime_tokenizer(model).encode(flags.prompt, {true, true}) : parse_ids(flags.tokens);
  const auto vocab = static_cast<int64_t>(model.config().vocab), count = static_cast<int64_t>(ids.size());
  if (saved.shape != std::vector<int64_t>{count, vocab}) {
    moiety::fail(moiety::Status::kInvalidArgument, "{}: shape [{}], expected [{}, {}]: a row a token, a column an id of the vocabulary",
                 moiety::printable(flags.logits), fmt::join(saved.shape, ", "), count, vocab);
  }
  moiety::Session session(model);
  moiety::Scheduler scheduler(model);
  watch_gates(handle, scheduler);
  Progress progress("comparing");
  Sums sums;
  scheduler.submit(session, ids, moiety::Want::kAll, [&](int position, std::span<const float> logits) {
    compare(std::span(saved.values).subspan(static_cast<size_t>(position) * logits.size(), logits.size()), logits, sums);
    progress.show(static_cast<double>(position + 1) / static_cast<double>(count));
  });
  scheduler.run(cancel_token(interrupt));
  if (session.status() != moiety::Status::kOk) moiety::fail(session.status(), "{}", session.message());
  progress.clear();
  const auto n = static_cast<double>(count);
  if (flags.json) {
    const nlohmann::ordered_json out{{"tokens", count}, {"mean_kl", sums.kl / n}, {"max_kl", sums.worst_kl}, {"same_top", sums.same_top / n}, {"max_difference", sums.difference}};
    std::printf("%s\n", out.dump(2).c_str());
  } else {
    std::printf("%lld tokens: mean KL %.3e nats, largest %.3e, same best token %.2f %%, largest difference of a logit %.3e\n",
                static_cast<long long>(count), sums.kl / n, sums.worst_kl, 100 * sums.same_top / n, sums.difference);
  }
  print_gate_statistics(flags.model, handle.get());
  return 0;
}

}  // namespace

void add_eval_kl(CLI::App& eval, const Environment& environment, Action& action) {
  auto flags = std::make_shared<KlFlags>();
  CLI::App* command = eval.add_subcommand("kl", "Distance of a model's distributions from saved logits (moiety logits -o)");
  flags->model.add(*command, true);
  command->add_option("--logits", flags->logits, "The .npy file, [T, V], of the same tokens")->required();
  auto* input = command->add_option_group("input");
  input->add_option("-p,--prompt", flags->prompt, "The prompt");
  input->add_option("--tokens", flags->tokens, "The prompt as token ids: 1,2,3");
  input->require_option(1);
  command->add_flag("--json", flags->json, "As JSON");
  command->callback([flags, &environment, &action] { action = [flags, &environment] { return run(*flags, environment); }; });
}

}  // namespace cli
