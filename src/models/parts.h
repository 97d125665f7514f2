// Parts that several architectures share, so that a model file holds only what is its own.
#pragma once

#include <deque>
#include <functional>
#include <string_view>

#include "graph/builder.h"
#include "models/config.h"
#include "models/gate_options.h"

namespace moiety {

using Banks = std::deque<ExpertBank>;  // owns the banks that Experts nodes point to; addresses stay

// What a model file wires with: the graph's builder, the hyper-parameters, and a home for its expert banks.
struct Wiring {
  Builder& b;
  const Config& c;
  Banks& banks;
  int64_t context;  // the longest sequence that will be run: dynamic and LongRoPE choose their frequencies by it
  const GateOptions& gate;  // for models whose gates have capacities
};

// A tensor under `w`, its shape checked. Both throw Error kFormat naming it.
Tensor required(const Scope& w, std::string_view name, std::initializer_list<int64_t> shape);
Tensor required_bias(const Scope& w, std::string_view name, int64_t size = -1);  // -1: the op checks it

// The linear layer `name` under `w`: x[T,K] -> [T,rows].
Value project(const Wiring& m, const Scope& w, Value x, std::string_view name, int64_t rows, bool bias);

// Rotation frequencies (radians a position) and the magnitude of cos and sin, as transformers computes them: default,
// linear, dynamic NTK, YaRN (arXiv 2309.00071), LongRoPE (arXiv 2402.13753), Llama 3. dynamic and LongRoPE depend on
// the sequence's length; here one table serves the whole context, chosen by its size.
struct RopeTable {
  std::vector<float> frequencies;
  float magnitude = 1;
};
RopeTable rope_table(const RopeConfig& rope, int head_dim, int64_t model_context, int64_t context);

// Names of an expert's three matrices: h = act(gate x) * (up x), y = down h.
struct ExpertNames {
  std::string_view gate = "gate_proj", up = "up_proj", down = "down_proj";
  std::string_view fused_in = "gate_up_proj", fused_out = "down_proj";
};

// The bank under `w`, whichever way the file keeps it: one tensor an expert ("<id>.gate_proj", [F,D] and [D,F]), fused
// (fused_in [E,2F,D], fused_out [E,D,F]), or fused with gate and up apart ("gate_proj" [E,F,D]). One tensor an expert may
// have the default names too.
const ExpertBank* expert_bank(const Scope& w, const Wiring& m, ExpertNames names = {});

// The attention sub-layer of all the Llama-shaped models: x[T,D] is the normalised input, returns o_proj's output
// [T,D].
struct QkNorm {
  bool present = false;
  bool per_head = false;
};  // weight over the whole row, or [A] for each head
Value self_attention(const Wiring& m, const Scope& w, Value x, int layer, QkNorm norm = {});

// down(act(gate x) * up x) under `w`.
Value gated_ffn(const Wiring& m, const Scope& w, Value x);

// ids -> embedding -> block for each layer -> norm -> head: logits [N,V]. The last block calls wanted_rows() after its
// attention, so that its FFN and the head run only where logits are wanted.
using Block = Value (*)(const Wiring& m, const Scope& w, Value x, int layer);
Value decoder(const Wiring& m, const WeightStore& store, Block block);
template <Block kBlock>
Value decoder_of(const Wiring& m, const WeightStore& store) {
  return decoder(m, store, kBlock);
}

// x, or the wanted rows of x when `layer` is the last one.
Value wanted_if_last(const Wiring& m, Value x, int layer);

}  // namespace moiety
