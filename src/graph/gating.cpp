#include "graph/gating.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/random.h"
#include "graph/routing.h"

namespace moiety {

int64_t gate_capacity(const Route& route, int64_t rows) noexcept {
  switch (route.capacity) {
    case Capacity::kTwiceMean: return 2 * ((rows + route.experts - 1) / route.experts);
    case Capacity::kFraction: {
      const double slots = std::ceil(route.capacity_factor * static_cast<double>(rows));
      return slots < static_cast<double>(rows) ? static_cast<int64_t>(slots) : rows;  // a row never takes two places
    }
    case Capacity::kNone:
    case Capacity::kFactor: break;
  }
  return std::numeric_limits<int64_t>::max();
}

RowRandom::RowRandom(const Route& route, const Batch& batch, int32_t row) noexcept
    : route_(route), batch_(batch), row_(row) {
  const auto after = std::upper_bound(batch.spans.begin(), batch.spans.end(), row,
                                      [](int32_t r, const Span& span) { return r < span.row; });
  if (after != batch.spans.begin()) session_ = (after - 1)->session;
}

double RowRandom::uniform() const noexcept {
  const auto row = static_cast<size_t>(row_);
  if (batch_.noise) return batch_.noise->uniform[row];
  return counter_uniform(route_.seed, session_, batch_.positions[row], route_.layer, 0);
}

double RowRandom::gumbel(int expert) const noexcept {
  const auto row = static_cast<size_t>(row_);
  if (batch_.noise) return batch_.noise->gumbel[row * static_cast<size_t>(route_.experts) + static_cast<size_t>(expert)];
  const double u = counter_uniform(route_.seed, session_, batch_.positions[row], route_.layer, 1 + expert);
  return -std::log(-std::log(u + 0x1p-54));  // never 0
}

namespace {

// Rows [first, first + rows) of the operand, all of one gating group.
struct Group {
  const Route& route;
  const Batch& batch;
  bool wanted;
  int64_t first, rows;
  int32_t* ids;
  float* weights;
  int32_t* locations;  // may be null
  int32_t* order;      // [rows]
  int32_t* taken;      // [E]

  int32_t* choices(int64_t row) const noexcept { return ids + (first + row) * route.top_k; }
  float* scores(int64_t row) const noexcept { return weights + (first + row) * route.top_k; }
  int32_t token(int64_t row) const noexcept { return token_row(batch, wanted, first + row); }
};

// Divides the weights of a row's choices by their sum.
void divide_by_sum(const Route& route, const int32_t* ids, float* weights) noexcept {
  double sum = 0;
  for (int j = 0; j < route.top_k; ++j) sum += ids[j] >= 0 ? static_cast<double>(weights[j]) : 0.0;
  sum = std::max(sum, static_cast<double>(std::numeric_limits<float>::epsilon()));
  for (int j = 0; j < route.top_k; ++j) weights[j] = static_cast<float>(static_cast<double>(weights[j]) / sum);
}

// The order in which rows queue. Scores are still raw.
void sort_rows(const Group& group) noexcept {
  for (int64_t row = 0; row < group.rows; ++row) group.order[row] = static_cast<int32_t>(row);
  if (group.route.drop != Drop::kBatchPrioritised) return;
  std::sort(group.order, group.order + group.rows, [&](int32_t a, int32_t b) {
    const float left = group.scores(a)[0], right = group.scores(b)[0];
    return left > right || (left == right && a < b);
  });
}

// Takes away the choices that do not queue: those of pads, and what chance takes.
void thin_out(const Group& group) noexcept {
  const Route& route = group.route;
  for (int64_t row = 0; row < group.rows; ++row) {
    int32_t* ids = group.choices(row);
    if (ids[0] < 0) continue;
    const int32_t token = group.token(row);
    if (!route.pads_choose && group.batch.positions[static_cast<size_t>(token)] == kPadPosition)
      std::fill(ids, ids + route.top_k, -1);
    else if (route.keep == Keep::kByChance &&
             !(2 * static_cast<double>(group.scores(row)[1]) > RowRandom(route, group.batch, token).uniform()))
      ids[1] = -1;
  }
}

// All first choices queue, then all second ones; who comes too late is dropped.
void queue(const Group& group) noexcept {
  const Route& route = group.route;
  const int64_t capacity = gate_capacity(route, group.rows);
  std::fill(group.taken, group.taken + route.experts, 0);
  for (int j = 0; j < route.top_k; ++j) {
    for (int64_t i = 0; i < group.rows; ++i) {
      const int64_t row = group.order[i];
      int32_t& id = group.choices(row)[j];
      const int32_t place = id < 0 ? -1 : group.taken[id]++;
      if (group.locations) group.locations[(group.first + row) * route.top_k + j] = place;
      if (place >= capacity) id = -1;
    }
  }
}

void settle(const Group& group) noexcept {
  const Route& route = group.route;
  const auto divide = [&](Renormalise when) {
    for (int64_t row = 0; row < group.rows && route.renormalise == when; ++row)
      divide_by_sum(route, group.choices(row), group.scores(row));
  };
  for (int64_t row = 0; row < group.rows; ++row) {
    if (group.choices(row)[0] < 0) std::fill(group.scores(row), group.scores(row) + route.top_k, 0.0f);
  }
  sort_rows(group);
  divide(Renormalise::kBeforeDrop);
  thin_out(group);
  queue(group);
  divide(Renormalise::kAfterDrop);
  for (int64_t i = 0; i < group.rows * route.top_k; ++i) group.scores(0)[i] *= route.weight_scale;
}

size_t order_bytes(int64_t rows) { return align_up(static_cast<size_t>(rows) * sizeof(int32_t), kAlignment); }

}  // namespace

size_t settle_bytes(const Route& route, int64_t rows) {
  return order_bytes(rows) + align_up(static_cast<size_t>(route.experts) * sizeof(int32_t), kAlignment);
}

void settle_choices(const Route& route, const Batch& batch, bool wanted, int64_t rows, int32_t* ids, float* weights,
                    std::byte* scratch, int32_t* locations) noexcept {
  auto* order = reinterpret_cast<int32_t*>(scratch);
  auto* taken = reinterpret_cast<int32_t*>(scratch + order_bytes(rows));
  if (wanted || batch.groups.empty()) {
    settle({route, batch, wanted, 0, rows, ids, weights, locations, order, taken});
    return;
  }
  for (const GatingGroup& group : batch.groups)
    settle({route, batch, wanted, group.row, group.count, ids, weights, locations, order, taken});
}

}  // namespace moiety
