// moiety pack: a model of any format in the layout of the kernels.
#include "runtime/pack.h"

#include <cstdio>

#include "convert.h"
#include "progress.h"
#include "runtime.h"

namespace cli {
namespace {

struct PackFlags {
  std::string model, bpe, output;
  uint64_t shard_size = uint64_t{5} << 30;
  int threads = 0;
};

std::string listed(const std::map<std::string, uint64_t>& bytes) {
  std::string out;
  for (const auto& [type, count] : bytes) {
    char part[64];
    std::snprintf(part, sizeof part, "%s%s %.1f MiB", out.empty() ? "" : ", ", type.c_str(),
                  static_cast<double>(count) / (1 << 20));
    out += part;
  }
  return out.empty() ? "nothing" : out;
}

int run(const PackFlags& flags) {
  Interrupt interrupt;
  Progress progress("packing");
  moiety::PackOptions options;
  options.shard_bytes = flags.shard_size;
  options.threads = flags.threads;
  options.vocabulary = flags.bpe;
  options.progress = [&](double done) { progress.show(done); };
  options.cancel = cancel_token(interrupt);
  moiety::PackResult result;
  try {
    result = moiety::pack_model(flags.model, flags.output, options);
  } catch (const moiety::Error&) {
    progress.clear();
    throw;
  }
  progress.clear();
  for (const auto& file : result.files) std::printf("%s\n", file.c_str());
  for (const std::string& tensor : result.left_out)
    std::fprintf(stderr, "warning: left out, no weight that we know: %s\n", tensor.c_str());
  std::fprintf(stderr, "packed: %s; as it was: %s; %zu of %zu files were there already\n",
               listed(result.packed).c_str(), listed(result.plain).c_str(), result.kept, result.files.size());
  return 0;
}

}  // namespace

void add_pack(CLI::App& app, Action& action) {
  auto flags = std::make_shared<PackFlags>();
  CLI::App* command = app.add_subcommand(
      "pack", "A model of any format in the layout of the kernels: faster at small batches, every logit as before");
  command->add_option("-m,--model", flags->model, "Model folder or file")->required();
  command->add_option("--bpe", flags->bpe, "Folder with dict.txt, encoder.json and vocab.bpe of a fairseq model");
  command->add_option("-o,--output", flags->output, "A folder; run again, it goes on where it was stopped")->required();
  add_size(*command, "--shard-size", flags->shard_size, "Weights in one file, at most: 500M, 5G")->default_str("5G");
  command->add_option("-t,--threads", flags->threads, "Threads; 0: one a core")
      ->check(number_from(0, 4096))
      ->capture_default_str();
  command->callback([flags, &action] { action = [flags] { return run(*flags); }; });
}

}  // namespace cli
