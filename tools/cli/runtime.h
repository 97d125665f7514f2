// What lies under the handles of moiety.h, for the commands that look inside a model while it runs: eval, trace.
#pragma once

#include "api/guard.h"
#include "common.h"

namespace cli {

inline moiety::Model& runtime_model(const ModelPtr& model) { return *model->model; }
inline const moiety::CancelToken* cancel_token(const Interrupt& interrupt) { return &interrupt.token()->token; }
inline const moiety::Tokenizer& runtime_tokenizer(const moiety::Model& model) {
  if (!model.tokenizer()) moiety::fail(moiety::Status::kUnsupported, "{}: the model has no tokenizer", model.name());
  return *model.tokenizer();
}
// For --gate-stats: the model's gates are counted while the scheduler runs; both must outlive it.
inline void watch_gates(const ModelPtr& model, moiety::Scheduler& scheduler) {
  if (model->gates) scheduler.set_observer(model->gates->observer(scheduler.batch()));
}

}  // namespace cli
