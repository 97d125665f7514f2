// Session: one conversation on a model: its cache, its tokens, its sampler. Used by one thread at a time.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "core/error.h"
#include "graph/batch.h"
#include "runtime/model.h"
#include "runtime/sampler.h"

namespace moiety {

class Session {
 public:
  // `model` must outlive the session. capacity 0: the model's context.
  explicit Session(const Model& model, const SamplerOptions& sampler = {}, int capacity = 0);

  const Model& model() const { return model_; }
  // Tells sessions apart where gates draw random numbers, from (seed, number, position); 0 unless set.
  void set_number(uint64_t number) { number_ = number; }
  uint64_t number() const { return number_; }
  KvCache& cache() { return cache_; }
  int position() const { return static_cast<int>(tokens_.size()); }  // tokens in the cache
  int capacity() const { return cache_.capacity(); }
  int room() const { return capacity() - position(); }
  std::span<const int32_t> tokens() const { return tokens_; }

  // Logits after the newest token that asked for them; empty before.
  std::span<const float> logits() const { return logits_; }
  // The next token, drawn from logits().
  int32_t sample();
  void set_sampler(const SamplerOptions& options) { sampler_ = Sampler(options); }

  // A session that failed (a router logit that is not finite) takes no tokens until it is rewound.
  Status status() const { return status_; }
  const std::string& message() const { return message_; }

  // Forgets all tokens from `position` on, and a failure. Throws kInvalidArgument unless 0 <= position <= position().
  void rewind(int position);

  // A file of all that it holds: tokens, cache, newest logits; the sampler is not in it. It appears under its name when
  // it is complete. Throws the session's own failure, kInvalidArgument if `path` is a file of the model, kIo.
  void save(const std::filesystem::path& path) const;
  // Holds then what the file says; unchanged after an error, which names file, offset and field: kFormat (broken),
  // kInvalidArgument (of another model, or another type of cache), kContextFull (longer than the capacity), kIo.
  void load(const std::filesystem::path& path);

 private:
  friend class Scheduler;
  void append(std::span<const int32_t> tokens) { tokens_.insert(tokens_.end(), tokens.begin(), tokens.end()); }
  void fail_with(Status status, std::string message) { status_ = status, message_ = std::move(message); }

  const Model& model_;
  KvCache cache_;
  Sampler sampler_;
  std::vector<int32_t> tokens_;  // without pads
  uint64_t number_ = 0;
  std::vector<float> logits_;
  Status status_ = Status::kOk;
  std::string message_;
};

}  // namespace moiety
