#include <cstdio>

#include "common.h"

namespace cli {
namespace {

struct TokenizeFlags {
  std::string model, bpe, prompt, file;
  bool has_prompt = false, json = false, add_special = false, parse_special = false;
};

int run(const TokenizeFlags& flags) {
  const std::string text = flags.has_prompt ? flags.prompt : read_file(flags.file);
  moiety_tokenizer* made = nullptr;
  call([&](moiety_error* e) { return moiety_tokenizer_load_with(flags.model.c_str(), flags.bpe.empty() ? nullptr : flags.bpe.c_str(), &made, e); });
  const TokenizerPtr tokenizer(made);
  const std::vector<int32_t> ids = tokenize(made, text, flags.add_special, flags.parse_special);
  std::string out;
  for (size_t i = 0; i < ids.size(); ++i) {
    if (i > 0) out += flags.json ? ", " : " ";
    out += std::to_string(ids[i]);
  }
  std::printf(flags.json ? "[%s]\n" : "%s\n", out.c_str());
  return 0;
}

}  // namespace

void add_tokenize(CLI::App& app, Action& action) {
  auto flags = std::make_shared<TokenizeFlags>();
  CLI::App* command = app.add_subcommand("tokenize", "Print the token ids of a text");
  command->add_option("-m,--model", flags->model, "Model folder or file; a folder with tokenizer.json alone is enough")->required();
  command->add_option("--bpe", flags->bpe, "Folder with dict.txt, encoder.json and vocab.bpe of a fairseq model");
  auto* input = command->add_option_group("input");
  auto* prompt = input->add_option("-p,--prompt", flags->prompt, "The text");
  input->add_option("-f,--file", flags->file, "A file with the text, every byte of it; -: standard input");
  input->require_option(1);
  command->add_flag("--json", flags->json, "As a JSON list");
  command->add_flag("--add-special", flags->add_special, "Add BOS and EOS as the model wants");
  command->add_flag("--parse-special", flags->parse_special, "Control tokens spelled in the text become themselves");
  command->callback([flags, prompt, &action] {
    flags->has_prompt = prompt->count() > 0;
    action = [flags] { return run(*flags); };
  });
}

}  // namespace cli
