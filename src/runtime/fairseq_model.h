// A fairseq language model, dense or Mixture-of-Experts, as its Trainer saves it: X.pt, or X-shared.pt and X-rank-N.pt,
// with dict.txt, encoder.json and vocab.bpe. Tensors are named as the checkpoint names them, with "model." for
// "decoder." and "lm_head" for "decoder.output_projection".
#pragma once

#include <filesystem>

#include "runtime/model.h"

namespace moiety {

// `vocabulary`: a folder with dict.txt, encoder.json and vocab.bpe; what it lacks is looked for beside the checkpoint.
// Without them the model runs on token ids. Throws Error kIo, kFormat, kUnsupported.
ModelSource read_fairseq_model(const std::filesystem::path& path, const std::filesystem::path& vocabulary = {});

// dict.txt, encoder.json and vocab.bpe of a model at `path` (a checkpoint, or a folder), found as above; none unless
// all three are there.
std::vector<std::filesystem::path> find_fairseq_vocabulary(const std::filesystem::path& path, const std::filesystem::path& vocabulary);

// The tokenizer of a folder with the three files, for `rows` ids; 0: as many as dict.txt has.
std::shared_ptr<const Tokenizer> read_fairseq_tokenizer(const std::filesystem::path& folder, int32_t rows = 0);
bool has_fairseq_tokenizer(const std::filesystem::path& folder);

}  // namespace moiety
