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
  // not run again, except where gates look at whole groups: there the sequence is a group, filled up with pads to
  // `padded` tokens that are run (fewer: no pads). Throws Error kInvalidArgument, kContextFull, kNumeric, kCancelled.
  std::vector<double> score(std::span<const int32_t> sequence, size_t first, size_t padded = 0,
                            const CancelToken* cancel = nullptr);

  Scheduler& scheduler() { return scheduler_; }

 private:
  void submit(std::span<const int32_t> input, size_t first, size_t padded, const LogitsSink& sink);

  const Model& model_;
  Session session_;
  Scheduler scheduler_;
};

// log(sum(exp(logits))) in double; not finite if a logit is not.
double log_sum_exp(std::span<const float> logits);

}  // namespace moiety::eval
