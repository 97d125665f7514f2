#include "runtime/session.h"

namespace moiety {
namespace {

int checked_capacity(const Model& model, int capacity) {
  if (capacity < 0 || capacity > model.context()) {
    fail(Status::kInvalidArgument, "session capacity is {}, expected 0 to {}", capacity, model.context());
  }
  return capacity > 0 ? capacity : model.context();
}

}  // namespace

Session::Session(const Model& model, const SamplerOptions& sampler, int capacity)
    : model_(model),
      cache_(model.graph().state.layers, model.graph().state.kv_heads, model.graph().state.head_dim,
             checked_capacity(model, capacity), model.plan_options().key_type, model.plan_options().value_type),
      sampler_(sampler) {}

int32_t Session::sample() {
  if (status_ != Status::kOk) fail(status_, "{}", message_);
  if (logits_.empty()) fail(Status::kInvalidArgument, "sample: no logits yet, run a prompt first");
  return sampler_.sample(logits_, tokens_, tokens_.size());
}

void Session::rewind(int position) {
  if (position < 0 || position > this->position()) {
    fail(Status::kInvalidArgument, "rewind to {}, expected 0 to {}", position, this->position());
  }
  tokens_.resize(static_cast<size_t>(position));
  logits_.clear();
  status_ = Status::kOk;
  message_.clear();
}

}  // namespace moiety
