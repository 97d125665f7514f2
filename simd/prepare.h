// Inside the SIMD backend: one prepare() an op, so that a forgotten op does not compile.
#pragma once

#include "graph/backend.h"
#include "simd/matmul.h"

namespace moiety::simd {

struct Context {
  const Graph& graph;
  const Node& node;
  const PlanOptions& options;
  Matmul matmul;
};

Offer prepare(const Embedding& op, const Context& context);
Offer prepare(const RmsNorm& op, const Context& context);
Offer prepare(const LayerNorm& op, const Context& context);
Offer prepare(const Linear& op, const Context& context);
Offer prepare(const Clamp& op, const Context& context);
Offer prepare(const Scale& op, const Context& context);
Offer prepare(const Add& op, const Context& context);
Offer prepare(const Act& op, const Context& context);
Offer prepare(const Glu& op, const Context& context);
Offer prepare(const Rope& op, const Context& context);
Offer prepare(const AddSinusoid& op, const Context& context);
Offer prepare(const KvStore& op, const Context& context);
Offer prepare(const Attention& op, const Context& context);
Offer prepare(const Route& op, const Context& context);
Offer prepare(const Experts& op, const Context& context);
Offer prepare(const SelectRows& op, const Context& context);

}  // namespace moiety::simd
