// The settings of a fairseq language model as JSON: cfg.model of its checkpoints (arch transformer_lm and its kin), by
// fairseq's own names. The ones that a checkpoint's tensors would say are said here.
#pragma once

#include <string>
#include <string_view>

#include "models/config.h"

namespace moiety {

// True if the text is an object that has decoder_embed_dim, at the top or under "model" or "cfg.model".
bool is_fairseq_config(std::string_view json);

// `subject` names the file in errors. Throws Error kFormat, and kUnsupported for settings that the architecture lacks.
// vocab_size, which fairseq leaves to the dictionary, is 51200 where it is absent: the rows of the released models.
Config read_fairseq_config(std::string_view json, const std::string& subject);

}  // namespace moiety
