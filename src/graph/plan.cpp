#include "graph/plan.h"

#include <algorithm>

#include "core/error.h"

namespace moiety {
namespace {

size_t output_bytes(const Node& node, int64_t rows) {
  switch (node.kind) {
    case Kind::kRows: return static_cast<size_t>(rows * node.cols) * sizeof(float);
    case Kind::kRouting: {
      const Route& route = std::get<Route>(node.op);
      return Routing::bytes(rows, route.experts, route.top_k);
    }
    case Kind::kKv: return 0;
  }
  return 0;
}

// A free list of [offset, offset + size) holes, first fit; neighbours merge.
class Holes {
 public:
  size_t take(size_t size) {
    for (auto& hole : holes_) {
      if (hole.size < size) continue;
      const size_t offset = hole.offset;
      hole.offset += size;
      hole.size -= size;
      return offset;
    }
    const size_t offset = end_;
    end_ += size;
    return offset;
  }
  void give(size_t offset, size_t size) {
    holes_.push_back({offset, size});
    std::sort(holes_.begin(), holes_.end(), [](const Hole& a, const Hole& b) { return a.offset < b.offset; });
    std::vector<Hole> merged;
    for (const Hole& hole : holes_) {
      if (hole.size == 0) continue;
      if (!merged.empty() && merged.back().offset + merged.back().size == hole.offset) {
        merged.back().size += hole.size;
      } else {
        merged.push_back(hole);
      }
    }
    holes_ = std::move(merged);
  }
  size_t end() const { return end_; }

 private:
  struct Hole { size_t offset, size; };
  std::vector<Hole> holes_;
  size_t end_ = 0;
};

}  // namespace

Plan::Plan(const Graph& graph, const std::vector<const Backend*>& backends, const PlanOptions& options, int workers)
    : graph_(&graph), options_(options) {
  for (const Node& node : graph.nodes()) {
    PlannedNode planned;
    for (const Backend* backend : backends) {
      Offer offer = backend->prepare(graph, node, options);
      if (offer.kernel) {
        planned.backend = backend;
        planned.kernel = std::move(offer.kernel);
        break;
      }
      planned.refusals += (planned.refusals.empty() ? "" : "; ") + backend->name() + ": " + offer.reason;
    }
    if (!planned.kernel) {
      fail(Status::kUnsupported, "node {} ({}): no backend runs it: {}", node.name, op_name(node.op), planned.refusals);
    }
    nodes_.push_back(std::move(planned));
  }
  place_outputs(workers);
}

void Plan::place_outputs(int workers) {
  const auto& nodes = graph_->nodes();
  std::vector<size_t> last_use(nodes.size());
  for (size_t i = 0; i < nodes.size(); ++i) {
    last_use[i] = i;
    for (Value v : nodes[i].inputs) {
      if (v) last_use[static_cast<size_t>(v.node)] = i;
    }
  }
  if (graph_->output) last_use[static_cast<size_t>(graph_->output.node)] = nodes.size();

  Holes holes;
  std::vector<size_t> sizes(nodes.size());
  size_t scratch = 0;
  for (size_t i = 0; i < nodes.size(); ++i) {
    sizes[i] = align_up(output_bytes(nodes[i], options_.max_rows), kAlignment);
    nodes_[i].offset = sizes[i] ? holes.take(sizes[i]) : 0;
    scratch = std::max(scratch, nodes_[i].kernel->scratch_bytes(options_.max_rows, workers));
    for (size_t j = 0; j <= i; ++j) {
      if (last_use[j] == i && sizes[j]) holes.give(nodes_[j].offset, sizes[j]);
    }
  }
  scratch_offset_ = align_up(holes.end(), kAlignment);
  arena_bytes_ = scratch_offset_ + align_up(scratch, kAlignment);
}

}  // namespace moiety
