// The step lists of a tokenizer.json: normalizer, pre_tokenizer, decoder.
#pragma once

#include "text/json.h"
#include "text/pipeline.h"

namespace moiety::text {

void read_normalizer(const Json& json, std::vector<NormalizerStep>& steps);
void read_pretokenizer(const Json& json, std::vector<PretokenizerStep>& steps);
void read_decoder(const Json& json, Decoder& decoder);

}  // namespace moiety::text
