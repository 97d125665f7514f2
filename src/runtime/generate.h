// generate: runs a prompt and draws tokens until something stops it.
#pragma once

#include <functional>

#include "runtime/scheduler.h"

namespace moiety {

struct GenerateOptions {
  int max_tokens = -1;  // -1: until another reason stops it
  bool ignore_eos = false;
};

enum class StopReason : uint8_t { kEndOfSequence, kMaxTokens, kContextFull, kCallback, kCancelled };
const char* stop_reason_name(StopReason reason);

struct GenerateResult {
  StopReason reason = StopReason::kMaxTokens;
  int prompt_tokens = 0, generated = 0;  // generated: tokens given to the callback
  double prompt_seconds = 0, generate_seconds = 0;
};

// An empty prompt goes on from the session's logits. `on_token` gets each new token and says whether to go on; an end-of-sequence token is not passed (unless ignored).
// Throws Error: what submit() throws for the prompt (kContextFull if it does not fit), kNumeric. Cancelling is a
// reason, not an error; the session then holds the tokens that were run.
GenerateResult generate(Scheduler& scheduler, Session& session, std::span<const int32_t> prompt,
                        const GenerateOptions& options, const std::function<bool(int32_t)>& on_token,
                        const CancelToken* cancel = nullptr);

}  // namespace moiety
