#include "core/error.h"
#include "graph/plan.h"

namespace moiety {
namespace {

Operand operand_at(const Node& node, std::byte* memory, int64_t rows) {
  Operand operand;
  if (node.kind == Kind::kRows) operand.tensor = make_tensor(memory, DType::kF32, {rows, node.cols});
  if (node.kind == Kind::kRouting) {
    const Route& route = std::get<Route>(node.op);
    operand.routing = Routing::at(memory, rows, route.experts, route.top_k);
  }
  return operand;
}

}  // namespace

Tensor Executor::run(const Plan& plan, Batch& batch, const CancelToken* cancel, const Observer* observer) {
  if (batch.tokens() > plan.options().max_rows) {
    fail(Status::kInternal, "a step of {} rows in a plan for {}", batch.tokens(), plan.options().max_rows);
  }
  if (arena_.size() < plan.arena_bytes()) arena_ = Buffer(plan.arena_bytes());
  batch.status.assign(batch.ids.size(), RowStatus{});

  const Graph& graph = plan.graph();
  const auto& nodes = graph.nodes();
  Operand output;
  for (size_t i = 0; i < nodes.size(); ++i) {
    if (cancel && cancel->cancelled()) fail(Status::kCancelled, "cancelled at node {}", nodes[i].name);
    const Node& node = nodes[i];
    Operand inputs[3];
    for (int j = 0; j < node.input_count(); ++j) {
      const Value v = node.inputs[static_cast<size_t>(j)];
      const Node& source = graph.node(v);
      inputs[j] = operand_at(source, arena_.data() + plan.nodes()[static_cast<size_t>(v.node)].offset,
                             batch.rows(source.extent == Extent::kWanted));
    }
    KernelCall call;
    call.batch = &batch;
    call.inputs = inputs;
    call.output = operand_at(node, arena_.data() + plan.nodes()[i].offset, batch.rows(node.extent == Extent::kWanted));
    call.scratch = arena_.data() + plan.scratch_offset();
    call.threads = &threads_;
    call.node = static_cast<int32_t>(i);
    plan.nodes()[i].kernel->run(call);
    if (observer) (*observer)(graph, static_cast<int32_t>(i), call.output);
    if (graph.output.node == static_cast<int32_t>(i)) output = call.output;
  }
  return output.tensor;
}

}  // namespace moiety
