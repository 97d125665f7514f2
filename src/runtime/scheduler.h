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

// Called with the position of a token and the logits [V] after it; the span is valid during the call.
using LogitsSink = std::function<void(int position, std::span<const float> logits)>;

class Scheduler {
 public:
  explicit Scheduler(const Model& model);

  // Queues tokens of a session, which must outlive their run (or be dropped). Logits of the last token go to
  // session.logits() as well. Throws, leaving nothing queued: kInvalidArgument (an id outside the vocabulary, no
  // tokens, another model's session), kContextFull (position + queued + new > capacity), or the session's own failure.
  void submit(Session& session, std::span<const int32_t> tokens, Want want = Want::kLast, LogitsSink sink = {});
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
  size_t arena_bytes() const { return executor_.arena_bytes(); }

 private:
  struct Entry {
    Session* session;
    std::vector<int32_t> tokens;
    size_t done;
    Want want;
    LogitsSink sink;
  };
  struct Part {
    size_t entry;
    size_t count;
  };  // the next `count` tokens of an entry
  std::vector<Part> choose() const;
  void fill(const std::vector<Part>& parts);
  void deliver(const std::vector<Part>& parts, const Tensor& logits);
  bool failed(const Entry& entry, const Span& span);

  const Model& model_;
  Executor executor_;
  Batch batch_;
  std::deque<Entry> entries_;
  Observer observer_;
};

}  // namespace moiety
