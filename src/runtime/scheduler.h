// Scheduler: packs the pending tokens of any number of sessions into steps and runs them. The only caller of Executor.
// Not thread-safe itself; several schedulers may share one model, their steps take turns.
#pragma once

#include <deque>
#include <functional>
#include <span>
#include <vector>

#include "runtime/session.h"

namespace moiety {

enum class Want : uint8_t { kNone, kLast, kAll };  // for which of the submitted tokens logits are computed

// Called with the position of a token and the logits [V] after it; the span is valid during the call. It may use the model,
// but not this scheduler.
using LogitsSink = std::function<void(int position, std::span<const float> logits)>;

// Tokens of a session, which must outlive their run (or be dropped). Logits of the last one go to session.logits() as
// well. A pad (Config::pad_id) is run and has logits, and leaves nothing in the session; its position is kPadPosition.
struct Request {
  Session* session;
  std::span<const int32_t> tokens;
  Want want = Want::kLast;
  LogitsSink sink{};
};

class Scheduler {
 public:
  explicit Scheduler(const Model& model);

  // Queues tokens. Throws, leaving nothing queued: kInvalidArgument (an id outside the vocabulary, a pad before any
  // token, no tokens, another model's session, one named twice, more tokens than a step holds where model.whole_groups()),
  // kContextFull (position + queued + new > capacity), or the session's own failure. The requests of one call are a
  // gating group.
  void submit(std::span<const Request> group);
  void submit(Session& session, std::span<const int32_t> tokens, Want want = Want::kLast, LogitsSink sink = {}) {
    const Request request{&session, tokens, want, std::move(sink)};
    submit({&request, 1});
  }
  void drop(const Session& session);  // forgets what is queued for it

  // Runs one step of at most model.max_rows() rows: decoding sessions first, then prompts in order. False if nothing
  // was queued. Throws kCancelled with the queue as it was. A session whose row fails gets status kNumeric and loses
  // its queue; its neighbours are untouched.
  bool step(const CancelToken* cancel = nullptr);
  void run(const CancelToken* cancel = nullptr) {
    while (step(cancel)) {
    }
  }

  void set_observer(Observer observer) { observer_ = std::move(observer); }
  const Batch& batch() const { return batch_; }  // of the step that runs, for observers
  size_t arena_bytes() const { return executor_.arena_bytes(); }

 private:
  struct Entry {
    Session* session;
    std::vector<int32_t> tokens;
    size_t done;
    Want want;
    LogitsSink sink;
    uint64_t group;  // of those submitted together
  };
  struct Part {
    size_t entry;
    size_t count;
  };  // the next `count` tokens of an entry
  void check(const Request& request) const;
  bool is_pad(int32_t id) const { return id == model_.config().pad_id; }
  std::vector<Part> choose() const;
  std::vector<Part> choose_groups() const;
  void fill(const std::vector<Part>& parts);
  void add_rows(const Entry& entry, size_t count);
  void deliver(const std::vector<Part>& parts, const Tensor& logits);
  bool failed(const Entry& entry, size_t first, size_t count);

  const Model& model_;
  Executor executor_;
  Batch batch_;
  std::deque<Entry> entries_;
  uint64_t groups_ = 0;  // ever submitted
  Observer observer_;
};

}  // namespace moiety
