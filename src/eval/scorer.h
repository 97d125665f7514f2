// Scorer: natural log-probabilities of the tokens of a sequence, each after all before it. What perplexity and the
// choices tasks are made of. One thread at a time.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "runtime/scheduler.h"

namespace moiety::eval {

class Scorer {
 public:
  explicit Scorer(const Model& model);  // the model must outlive it

  const Model& model() const { return model_; }
  // Tokens that one sequence may have: the last one is only predicted, never run.
  size_t longest() const { return static_cast<size_t>(session_.capacity()) + 1; }

  // Log-probability of sequence[i] for i in [first, size), first >= 1. What the sequence shares with the one before is
  // not run again. Throws Error kInvalidArgument, kContextFull, kNumeric, kCancelled.
  std::vector<double> score(std::span<const int32_t> sequence, size_t first, const CancelToken* cancel = nullptr);

  // Sees every row of logits that score() computes; `position` is that of the token before.
  void set_logits_sink(LogitsSink sink) { sink_ = std::move(sink); }
  Scheduler& scheduler() { return scheduler_; }
  Session& session() { return session_; }

 private:
  const Model& model_;
  Session session_;
  Scheduler scheduler_;
  LogitsSink sink_;
};

// log(sum(exp(logits))) in double; not finite if a logit is not.
double log_sum_exp(std::span<const float> logits);

}  // namespace moiety::eval
