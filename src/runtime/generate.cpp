#include "runtime/generate.h"

#include <algorithm>
#include <chrono>

namespace moiety {
namespace {

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Runs what is queued; false if it was cancelled.
bool run_queue(Scheduler& scheduler, Session& session, const CancelToken* cancel) {
  try {
    scheduler.run(cancel);
  } catch (const Error& error) {
    scheduler.drop(session);
    if (error.status() != Status::kCancelled) throw;
    return false;
  }
  if (session.status() != Status::kOk) fail(session.status(), "{}", session.message());
  return true;
}

}  // namespace

const char* stop_reason_name(StopReason reason) {
  switch (reason) {
    case StopReason::kEndOfSequence:
      return "end of sequence";
    case StopReason::kMaxTokens:
      return "token limit";
    case StopReason::kContextFull:
      return "context is full";
    case StopReason::kCallback:
      return "stopped by the caller";
    case StopReason::kCancelled:
      return "cancelled";
  }
  return "?";
}

GenerateResult generate(Scheduler& scheduler, Session& session, std::span<const int32_t> prompt,
                        const GenerateOptions& options, const std::function<bool(int32_t)>& on_token,
                        const CancelToken* cancel) {
  GenerateResult result;
  result.prompt_tokens = static_cast<int>(prompt.size());
  auto start = std::chrono::steady_clock::now();
  const auto stop = [&](StopReason reason) {
    result.generate_seconds = seconds_since(start);
    result.reason = reason;
    return result;
  };
  // Nothing to add to what the session holds: its newest logits are where to go on.
  if (!prompt.empty() || session.logits().empty()) scheduler.submit(session, prompt);
  const bool ran = run_queue(scheduler, session, cancel);
  result.prompt_seconds = seconds_since(start);
  start = std::chrono::steady_clock::now();
  if (!ran) return stop(StopReason::kCancelled);

  const std::vector<int32_t>& stops = session.model().stop_ids();
  while (options.max_tokens < 0 || result.generated < options.max_tokens) {
    if (cancel && cancel->cancelled()) return stop(StopReason::kCancelled);
    const int32_t token = session.sample();
    if (!options.ignore_eos && std::ranges::find(stops, token) != stops.end()) return stop(StopReason::kEndOfSequence);
    ++result.generated;
    if (!on_token(token)) return stop(StopReason::kCallback);
    if (options.max_tokens >= 0 && result.generated >= options.max_tokens) break;
    if (session.room() == 0) return stop(StopReason::kContextFull);
    scheduler.submit(session, {&token, 1});
    if (!run_queue(scheduler, session, cancel)) return stop(StopReason::kCancelled);
  }
  return stop(StopReason::kMaxTokens);
}

}  // namespace moiety
