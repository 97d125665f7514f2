// What a route does with its choices once they are made: chance, places in the experts' queues, drops, weights. Shared
// by the backends, which differ only in how they compute scores, and by those who tell what a gate did.
#pragma once

#include <cstddef>
#include <cstdint>

#include "graph/batch.h"
#include "graph/ops.h"

namespace moiety {

// True if a row's choices depend on other rows: its gating group has to be routed in one step.
inline bool needs_whole_groups(const Route& route) { return route.capacity != Capacity::kNone; }

// True if choices may be dropped: choose_experts then leaves raw scores, and settle_choices makes the weights.
inline bool may_drop(const Route& route) {
  return route.capacity != Capacity::kNone || route.keep != Keep::kAll || !route.pads_choose;
}

// Choices that each expert takes of a gating group of `rows` rows; INT64_MAX: all.
int64_t gate_capacity(const Route& route, int64_t rows) noexcept;

// The random numbers of one row: those given with the batch, or drawn from (seed, session, position, layer).
class RowRandom {
 public:
  RowRandom(const Route& route, const Batch& batch, int32_t row) noexcept;
  double uniform() const noexcept;
  double gumbel(int expert) const noexcept;

 private:
  const Route& route_;
  const Batch& batch_;
  int32_t row_;
  uint64_t session_ = 0;
};

size_t settle_bytes(const Route& route, int64_t rows);  // of settle_choices' scratch

// ids[rows, top_k], best first (-1: a row that failed), and their scores in `weights`, become the choices that stay
// (-1: dropped) and their weights. Rows are those of the batch, or its wanted ones, which can't have capacities.
// locations[rows, top_k], unless null, becomes each choice's place in its expert's queue (-1: it has none).
void settle_choices(const Route& route, const Batch& batch, bool wanted, int64_t rows, int32_t* ids, float* weights,
                    std::byte* scratch, int32_t* locations = nullptr) noexcept;

}  // namespace moiety
