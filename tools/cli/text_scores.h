// The texts that `eval ppl` and `eval compare` score: flags, files, a model's scores.
#pragma once

#include <functional>

#include "eval/perplexity.h"
#include "eval/text_set.h"
#include "runtime.h"

namespace cli {

struct TextFlags {
  std::vector<std::string> texts, in_domain, out_of_domain;
  moiety::eval::BlockOptions blocks;
  bool keep_empty = false;

  void add(CLI::App& command, const char* about_texts);
  bool empty() const { return texts.empty() && in_domain.empty() && out_of_domain.empty(); }
};

// Called after each piece of work with how many are done, of how many.
using PiecesDone = std::function<void(int64_t done, int64_t total)>;

class TextScores {
 public:
  // Reads the files. Throws Error kIo.
  explicit TextScores(const TextFlags& flags);

  bool empty() const { return files_.empty(); }
  void identify(moiety::eval::RunId& run) const;  // names and contents
  // One score a file, with the model's own tokenizer. Finished blocks are in the journal under
  // "<prefix><file>.<block>".
  std::vector<moiety::eval::TextScore> score(moiety::eval::Scorer& scorer, moiety::eval::Journal& journal,
                                             const std::string& prefix, const PiecesDone& done,
                                             const moiety::CancelToken* cancel) const;

 private:
  struct File {
    moiety::eval::TextFile file;
    std::string text;
  };
  TextFlags flags_;
  std::vector<File> files_;
};

}  // namespace cli
