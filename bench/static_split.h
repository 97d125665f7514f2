// A pool that splits each run in equal parts, one a worker, and never steals: what the others have to beat.
#pragma once

#include "core/threads.h"

namespace moiety::bench {

class StaticSplit final : public Threads {
 public:
  explicit StaticSplit(Threads& pool) : Threads(pool.size()), pool_(pool) {}
  const char* name() const override { return "static split"; }
  void enter() override { pool_.enter(); }
  void leave() override { pool_.leave(); }
  void run(int64_t count, int64_t, TaskRef task) override {
    const auto part = [&](int64_t w, int worker) {
      for (int64_t i = count * w / size(); i < count * (w + 1) / size(); ++i) task(i, worker);
    };
    pool_.run(size(), 1, part);
  }

 private:
  Threads& pool_;
};

}  // namespace moiety::bench
