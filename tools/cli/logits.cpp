#include <bit>
#include <cstdio>
#include <cstring>

#include "common.h"

namespace cli {
namespace {

static_assert(std::endian::native == std::endian::little);

struct LogitsFlags {
  ModelFlags model;
  std::string prompt, tokens, out;
};

// A .npy file of version 1.0 (numpy's format): f32 [rows, cols], written row by row.
class NpyWriter {
 public:
  NpyWriter(const std::string& path, size_t rows, size_t cols) : path_(path), file_(std::fopen(path.c_str(), "wb")) {
    if (!file_) throw Failure(MOIETY_IO, path + ": can't create it: " + std::strerror(errno));
    std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (" + std::to_string(rows) + ", " + std::to_string(cols) + "), }";
    header.resize((header.size() + 11 + 63) / 64 * 64 - 11, ' ');  // magic, version, length and '\n': a multiple of 64
    header += '\n';
    const auto size = static_cast<unsigned>(header.size());
    const char start[10] = {'\x93', 'N', 'U', 'M', 'P', 'Y', 1, 0, static_cast<char>(size & 255), static_cast<char>(size >> 8)};
    std::fwrite(start, 1, sizeof start, file_.get());
    std::fwrite(header.data(), 1, header.size(), file_.get());
  }
  void row(const float* values, size_t count) { std::fwrite(values, sizeof(float), count, file_.get()); }
  void close() {
    const bool failed = std::ferror(file_.get());
    if (std::fclose(file_.release()) != 0 || failed) throw Failure(MOIETY_IO, path_ + ": can't write it");
  }

 private:
  std::string path_;
  std::unique_ptr<FILE, Free<std::fclose>> file_;
};

int run(const LogitsFlags& flags, const Environment& environment) {
  std::vector<int32_t> ids;
  if (!flags.tokens.empty()) ids = parse_ids(flags.tokens);
  Interrupt interrupt;
  const ModelPtr model = load_model(flags.model, environment, interrupt);
  if (flags.tokens.empty()) ids = tokenize(tokenizer_of(model.get()).get(), flags.prompt, true, true);
  const SessionPtr session = make_session(model.get());
  NpyWriter npy(flags.out, ids.size(), static_cast<size_t>(model_info(model.get()).vocab));
  const moiety_eval_request request{session.get(), ids.data(), ids.size(), MOIETY_WANT_ALL,
                                    [](int32_t, const float* logits, size_t count, void* out) { static_cast<NpyWriter*>(out)->row(logits, count); },
                                    &npy};
  try {
    call([&](moiety_error* e) { return moiety_eval(&request, 1, interrupt.token(), e); });
    npy.close();
  } catch (...) {
    std::remove(flags.out.c_str());  // no half file
    throw;
  }
  return 0;
}

}  // namespace

void add_logits(CLI::App& app, const Environment& environment, Action& action) {
  auto flags = std::make_shared<LogitsFlags>();
  CLI::App* command = app.add_subcommand("logits", "Write the logits after each token of a prompt as .npy, f32 [T, V]");
  flags->model.add(*command);
  auto* input = command->add_option_group("input");
  input->add_option("-p,--prompt", flags->prompt, "The prompt");
  input->add_option("--tokens", flags->tokens, "The prompt as token ids: 1,2,3");
  input->require_option(1);
  command->add_option("-o,--output", flags->out, "The .npy file to write")->required();
  command->callback([flags, &environment, &action] { action = [flags, &environment] { return run(*flags, environment); }; });
}

}  // namespace cli
