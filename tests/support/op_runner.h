// Runs one op on one backend, outside any model: inputs given, outputs poisoned first.
#pragma once

#include <algorithm>
#include <cmath>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/blocks.h"
#include "core/threads.h"
#include "graph/backend.h"
#include "support/compare.h"

namespace moiety::test {

struct Matrix {
  int64_t rows = 0, cols = 0;
  std::vector<float> values;
  float* row(int64_t i) { return values.data() + i * cols; }
  Tensor tensor() { return make_tensor(values.data(), DType::kF32, {rows, cols}); }
};

inline Matrix random_matrix(int64_t rows, int64_t cols, uint32_t seed, float deviation = 1) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, deviation);
  Matrix m{rows, cols, std::vector<float>(static_cast<size_t>(rows * cols))};
  for (float& v : m.values) v = normal(random);
  return m;
}

// A weight of any type that encode() writes, owning its bytes.
struct OwnedTensor {
  std::vector<std::byte> bytes;
  Tensor tensor;
};
inline OwnedTensor make_weight(DType type, int64_t rows, int64_t cols, uint32_t seed, float deviation = 1) {
  const Matrix values = random_matrix(rows, cols, seed, deviation);
  OwnedTensor owned{std::vector<std::byte>(dtype_bytes(type, rows * cols)), {}};
  encode(type, values.values.data(), owned.bytes.data(), rows * cols);
  owned.tensor = make_tensor(owned.bytes.data(), type, {rows, cols});
  return owned;
}
inline OwnedTensor make_vector(int64_t count, uint32_t seed, float deviation = 1) {
  OwnedTensor owned = make_weight(DType::kF32, 1, count, seed, deviation);
  owned.tensor = make_tensor(owned.bytes.data(), DType::kF32, {count});
  return owned;
}

// A batch of one session without a cache: positions first, first + 1, ..
inline Batch plain_batch(int64_t rows, int32_t first = 0) {
  Batch batch;
  for (int64_t i = 0; i < rows; ++i) {
    batch.ids.push_back(static_cast<int32_t>(i));
    batch.positions.push_back(first + static_cast<int32_t>(i));
  }
  batch.spans.push_back({nullptr, 0, static_cast<int32_t>(rows), first});
  batch.status.resize(batch.ids.size());
  return batch;
}

struct RoutingResult {
  std::vector<int32_t> offsets, row, slot;
  std::vector<float> weight;
};

class OpRunner {
 public:
  explicit OpRunner(const Backend& backend, Threads& threads) : backend_(backend), threads_(threads) {}
  StateShape state;
  Extent extent = Extent::kTokens;
  PlanOptions options;

  // Throws if the backend refuses.
  Matrix rows(const Op& op, std::vector<Matrix> inputs, int64_t cols, Batch& batch, const Routing* routing = nullptr) {
    const int64_t count = batch.rows(extent == Extent::kWanted);
    Matrix out{count, cols, poisoned(static_cast<size_t>(count * cols))};
    KernelCall call;
    call.output.tensor = out.tensor();
    run(op, inputs, Kind::kRows, cols, batch, call, routing);
    return out;
  }

  void keys_values(const KvStore& op, Matrix k, Matrix v, Batch& batch) {
    KernelCall call;
    run(op, {std::move(k), std::move(v)}, Kind::kKv, 0, batch, call, nullptr);
  }

  RoutingResult route(const Route& op, Matrix logits, Batch& batch) {
    const int64_t count = logits.rows;
    Buffer memory(Routing::bytes(count, op.experts, op.top_k));
    std::fill(memory.as<uint8_t>(), memory.as<uint8_t>() + memory.size(), uint8_t{0xcd});
    KernelCall call;
    call.output.routing = Routing::at(memory.data(), count, op.experts, op.top_k);
    run(op, {std::move(logits)}, Kind::kRouting, op.top_k, batch, call, nullptr);
    const Routing& r = call.output.routing;
    const auto n = static_cast<size_t>(r.count());
    return {{r.offsets, r.offsets + r.experts + 1}, {r.row, r.row + n}, {r.slot, r.slot + n}, {r.weight, r.weight + n}};
  }

 private:
  void run(const Op& op, std::vector<Matrix> inputs, Kind kind, int64_t cols, Batch& batch, KernelCall& call,
           const Routing* routing) {
    Graph graph;
    graph.state = state;
    Node node{op, {}, kind, extent, cols, "tested"};
    std::vector<Operand> operands;
    for (size_t i = 0; i < inputs.size(); ++i) {
      node.inputs[i] = graph.add({Embedding{}, {}, Kind::kRows, Extent::kTokens, inputs[i].cols, std::to_string(i)});
      operands.push_back({inputs[i].tensor(), {}});
    }
    if (routing) {
      node.inputs[inputs.size()] = graph.add({Route{}, {}, Kind::kRouting, Extent::kTokens, routing->top_k, "r"});
      operands.push_back({{}, *routing});
    }
    const Offer offer = backend_.prepare(graph, node, options);
    if (!offer.kernel) throw std::runtime_error(offer.reason);
    const int64_t rows = std::max<int64_t>(1, batch.tokens());
    Buffer scratch(offer.kernel->scratch_bytes(rows, threads_.size()) + 64);
    std::fill(scratch.as<uint8_t>(), scratch.as<uint8_t>() + scratch.size(), uint8_t{0xff});  // NaN as f32
    call.batch = &batch;
    call.inputs = operands.data();
    call.scratch = scratch.data();
    call.threads = &threads_;
    call.node = 7;
    offer.kernel->run(call);
  }

  const Backend& backend_;
  Threads& threads_;
};

}  // namespace moiety::test
