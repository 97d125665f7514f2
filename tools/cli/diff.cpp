#include <cstdio>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "backends/list.h"
#include "common.h"
#include "core/error.h"
#include "runtime/diff.h"
#include "runtime/load.h"
#include "text/tokenizer.h"

namespace cli {
namespace {

struct DiffFlags {
  ModelFlags model;
  std::string left = "reference", right = "simd", left_simd, right_simd, prompt, tokens;
  double tolerance = 0;
};

moiety::ModelOptions options_of(const DiffFlags& flags, const Environment& environment, const std::string& backends, const std::string& simd) {
  const auto type = [](const std::string& name) { return name.empty() ? std::nullopt : moiety::dtype_from_name(name); };
  moiety::ModelOptions options;
  if (flags.model.ram > 0) throw UsageError("--ram: diff holds two models at a time, a budget is for one");
  // A node that the named backend refuses is the reference's, on that side only.
  options.backends = moiety::parse_backends(backends == "reference" ? backends : backends + ",reference");
  options.simd = simd, options.vocabulary = flags.model.bpe;
  options.thread_pool = flags.model.pool, options.threads = flags.model.threads, options.context = flags.model.context;
  options.max_rows = std::min(flags.model.batch, flags.model.ubatch);
  options.activations = flags.model.activations == "f32" ? moiety::ActivationPrecision::kF32 : moiety::ActivationPrecision::kAuto;
  options.key_type = type(flags.model.key_type), options.value_type = type(flags.model.value_type);
  if (!flags.model.no_tune) options.tune_file = environment.tune_file;
  const GateFlags& gate = flags.model.gate;
  moiety::parse_gate(gate.capacity, options.gate);
  moiety::parse_second_expert(gate.second, options.gate);
  if (!gate.normalise.empty()) moiety::parse_normalise(gate.normalise, options.gate);
  options.gate.seed = gate.seed, options.gate.batch_prioritised = gate.priority, options.gate.pad_mask = gate.pad_mask;
  return options;
}

int report(const moiety::DiffReport& r) {
  fmt::print("{:<40} {:<12} {:>10} {:>10} {:>6}  {}\n", "node", "op", "error", "nmse", "flips", "kernels");
  for (const moiety::NodeDiff& n : r.nodes) {
    fmt::print("{:<40} {:<12} {:>10.2e} {:>10.2e} {:>6}  {} | {}{}\n", n.name, n.op, n.error, n.nmse, n.flips, n.left, n.right,
               n.beyond ? "  <- beyond" : "");
  }
  for (const moiety::RouteFlip& flip : r.flips) {
    fmt::print("route flip at {}, position {}: [{}] became [{}], margin {:.2e}\n", flip.node, flip.position, fmt::join(flip.left, ", "),
               fmt::join(flip.right, ", "), flip.margin);
  }
  fmt::print("end to end: logits error {:.2e}, mean KL {:.2e}, same top {:.2f} %\n", r.logits_error, r.mean_kl, r.same_top * 100);
  if (r.first_divergence < 0) {
    fmt::print("no node beyond the tolerance of {:.1e}\n", r.tolerance);
    return 0;
  }
  const moiety::NodeDiff& n = r.nodes[static_cast<size_t>(r.first_divergence)];
  fmt::print("first divergence: {} (position {}, column {}: {} against {})\n", n.name, n.position, n.column, n.left_value, n.right_value);
  return 1;
}

int run(const DiffFlags& flags, const Environment& environment) {
  const auto left = moiety::load_model(flags.model.path, options_of(flags, environment, flags.left, flags.left_simd));
  const auto right = moiety::load_model(flags.model.path, options_of(flags, environment, flags.right, flags.right_simd));
  std::fputs(("left  " + left->effective_configuration() + "right " + right->effective_configuration()).c_str(), stderr);
  std::vector<int32_t> ids;
  if (!flags.tokens.empty()) ids = parse_ids(flags.tokens);
  else if (left->tokenizer()) ids = left->tokenizer()->encode(flags.prompt, {true, true});
  else throw UsageError("the model has no tokenizer: give --tokens");
  moiety::DiffOptions options;
  options.tolerance = flags.tolerance;
  return report(moiety::diff_models(*left, *right, ids, options));
}

}  // namespace

void add_diff(CLI::App& app, const Environment& environment, Action& action) {
  auto flags = std::make_shared<DiffFlags>();
  CLI::App* command = app.add_subcommand("diff", "Compare two backends or SIMD targets node by node; exit code 1 beyond the tolerance");
  flags->model.add(*command);
  command->add_option("--left", flags->left, "Backends, the ones to trust")->capture_default_str();
  command->add_option("--right", flags->right, "Backends, the ones to check")->capture_default_str();
  command->add_option("--left-simd", flags->left_simd, "SIMD target of the left");
  command->add_option("--right-simd", flags->right_simd, "SIMD target of the right; default MOIETY_SIMD");
  command->add_option("--tolerance", flags->tolerance, "Largest error of a node, a share of its largest value; 0: by the types");
  auto* input = command->add_option_group("input");
  input->add_option("-p,--prompt", flags->prompt, "The prompt");
  input->add_option("--tokens", flags->tokens, "The prompt as token ids: 1,2,3");
  input->require_option(1);
  command->callback([flags, &environment, &action] {
    if (flags->right_simd.empty()) flags->right_simd = environment.simd;
    action = [flags, &environment] { return run(*flags, environment); };
  });
}

}  // namespace cli
