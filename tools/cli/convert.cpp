// moiety convert: a fairseq checkpoint becomes a hub-style folder or GGUF.
#include "runtime/convert.h"

#include <cstdio>

#include "convert.h"
#include "progress.h"
#include "runtime.h"
#include "runtime/fairseq_model.h"
#include "runtime/load.h"

namespace cli {
namespace {

struct ConvertFlags {
  std::string model, bpe, output, shard_size = "5G";
};

int run(const ConvertFlags& flags) {
  Interrupt interrupt;
  Progress progress("converting");
  moiety::ConvertOptions options;
  options.shard_bytes = parse_size(flags.shard_size);
  options.progress = [&](double done) { progress.show(done); };
  options.cancel = cancel_token(interrupt);
  const moiety::ModelSource source = moiety::read_model(flags.model, flags.bpe);
  options.vocabulary = moiety::find_fairseq_vocabulary(flags.model, flags.bpe);
  for (const std::string& warning : source.warnings) std::fprintf(stderr, "warning: %s\n", warning.c_str());
  moiety::ConvertResult result;
  try {
    result = moiety::convert_model(source, flags.output, options);
  } catch (const moiety::Error&) {
    progress.clear();
    throw;
  }
  progress.clear();
  for (const auto& file : result.files) std::printf("%s\n", file.c_str());
  std::fprintf(stderr, "%zu files, %.1f MiB of weights; %zu were there already\n", result.files.size(),
               static_cast<double>(result.bytes) / (1 << 20), result.kept);
  return 0;
}

}  // namespace

void add_convert(CLI::App& app, Action& action) {
  auto flags = std::make_shared<ConvertFlags>();
  CLI::App* command = app.add_subcommand("convert", "A fairseq checkpoint as a hub-style folder (safetensors) or as GGUF");
  command->add_option("-m,--model", flags->model, "fairseq checkpoint X.pt, or what was converted from one")->required();
  command->add_option("--bpe", flags->bpe, "Folder with dict.txt, encoder.json and vocab.bpe");
  command->add_option("-o,--output", flags->output, "NAME.gguf, or a folder; run again, it goes on where it was stopped")->required();
  command->add_option("--shard-size", flags->shard_size, "Weights in one file, at most: 500M, 5G")->capture_default_str();
  command->callback([flags, &action] { action = [flags] { return run(*flags); }; });
}

}  // namespace cli
