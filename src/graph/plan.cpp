#include "graph/plan.h"

#include <algorithm>
#include <cstdint>

#include "core/error.h"

namespace moiety {

size_t value_bytes(const Node& node, int64_t rows) {
  switch (node.kind) {
    case Kind::kRows:
      return static_cast<size_t>(rows * node.cols) * sizeof(float);
    case Kind::kRouting: {
      const Route& route = std::get<Route>(node.op);
      return Routing::bytes(rows, route.experts, route.top_k);
    }
    case Kind::kKv:
      return 0;
  }
  return 0;
}

namespace {

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
  struct Hole {
    size_t offset, size;
  };
  std::vector<Hole> holes_;
  size_t end_ = 0;
};

// Where each value lies: in the memory of its writer, and in those it is transferred to.
class Places {
 public:
  struct Place {
    int32_t node;
    int memory;
    size_t size, first, last;  // bytes; the nodes between which it is alive
    size_t offset = 0;
  };
  struct Move {
    size_t from, to, at;  // places, and the node before which it happens
  };

  void write(int32_t node, int memory, size_t size, size_t at) { add(node, memory, size, at); }

  // The place of a value that node `at` reads in `memory`; a transfer goes through the host's memory.
  size_t read(int32_t node, int memory, size_t at) {
    if (const size_t known = find(node, memory); known != kNone) return use(known, at);
    const size_t written = find_first(node);
    const size_t source = memory != 0 && places_[written].memory != 0 ? read(node, 0, at) : use(written, at);
    add(node, memory, places_[source].size, at);
    moves_.push_back({source, places_.size() - 1, at});
    return places_.size() - 1;
  }

  // Gives every place its offset; returns the bytes of each memory.
  std::vector<size_t> place(size_t nodes, size_t memories) {
    std::vector<Holes> holes(memories);
    for (size_t at = 0; at <= nodes; ++at) {
      for (Place& p : places_) {
        if (p.first == at && p.size) p.offset = holes[static_cast<size_t>(p.memory)].take(p.size);
      }
      for (Place& p : places_) {
        if (p.last == at && p.size) holes[static_cast<size_t>(p.memory)].give(p.offset, p.size);
      }
    }
    std::vector<size_t> ends;
    for (const Holes& h : holes) ends.push_back(h.end());
    return ends;
  }

  const Place& operator[](size_t i) const { return places_[i]; }
  const std::vector<Move>& moves() const { return moves_; }

 private:
  static constexpr size_t kNone = SIZE_MAX;
  void add(int32_t node, int memory, size_t size, size_t at) { places_.push_back({node, memory, size, at, at}); }
  size_t use(size_t place, size_t at) {
    places_[place].last = std::max(places_[place].last, at);
    return place;
  }
  size_t find(int32_t node, int memory) const {
    for (size_t i = 0; i < places_.size(); ++i) {
      if (places_[i].node == node && places_[i].memory == memory) return i;
    }
    return kNone;
  }
  size_t find_first(int32_t node) const {
    size_t i = 0;
    while (places_[i].node != node) ++i;
    return i;
  }
  std::vector<Place> places_;
  std::vector<Move> moves_;
};

}  // namespace

Plan::Plan(const Graph& graph, const std::vector<const Backend*>& backends, const PlanOptions& options, int workers)
    : graph_(&graph), options_(options), arenas_(1) {
  for (const Node& node : graph.nodes()) {
    PlannedNode planned;
    for (const Backend* backend : backends) {
      Offer offer = backend->prepare(graph, node, options);
      if (offer.kernel) {
        planned.backend = backend;
        planned.kernel = std::move(offer.kernel);
        planned.memory = memory_index(backend->memory());
        break;
      }
      planned.refusals += (planned.refusals.empty() ? "" : "; ") + backend->name() + ": " + offer.reason;
    }
    if (!planned.kernel) {
      fail(Status::kUnsupported, "node {} ({}): no backend runs it: {}", node.name, op_name(node.op), planned.refusals);
    }
    nodes_.push_back(std::move(planned));
  }
  place(workers);
}

int Plan::memory_index(Memory* memory) {
  for (size_t i = 0; i < arenas_.size(); ++i) {
    if (arenas_[i].memory == memory) return static_cast<int>(i);
  }
  arenas_.push_back({memory, 0, 0});
  return static_cast<int>(arenas_.size() - 1);
}

size_t Plan::arena_bytes() const {
  size_t bytes = 0;
  for (const Arena& arena : arenas_) bytes += arena.bytes;
  return bytes;
}

void Plan::place(int workers) {
  const auto& nodes = graph_->nodes();
  Places places;
  std::vector<std::array<size_t, 4>> used(nodes.size());  // the places of inputs and output
  std::vector<size_t> scratch(arenas_.size());
  for (size_t i = 0; i < nodes.size(); ++i) {
    const int memory = nodes_[i].memory;
    for (size_t j = 0; j < static_cast<size_t>(nodes[i].input_count()); ++j) {
      used[i][j] = places.read(nodes[i].inputs[j].node, memory, i);
    }
    const auto node = static_cast<int32_t>(i);
    places.write(node, memory, align_up(value_bytes(nodes[i], options_.max_rows), kAlignment), i);
    used[i][3] = places.read(node, memory, i);
    size_t& most = scratch[static_cast<size_t>(memory)];
    most = std::max(most, nodes_[i].kernel->scratch_bytes(options_.max_rows, workers));
  }
  const size_t logits = graph_->output ? places.read(graph_->output.node, 0, nodes.size()) : 0;
  const std::vector<size_t> ends = places.place(nodes.size(), arenas_.size());

  for (size_t i = 0; i < nodes.size(); ++i) {
    for (size_t j = 0; j < static_cast<size_t>(nodes[i].input_count()); ++j) {
      nodes_[i].input_offsets[j] = places[used[i][j]].offset;
    }
    nodes_[i].offset = places[used[i][3]].offset;
  }
  for (const Places::Move& move : places.moves()) {
    const auto &from = places[move.from], &to = places[move.to];
    auto& transfers = move.at < nodes.size() ? nodes_[move.at].transfers : last_transfers_;
    if (from.size) transfers.push_back({from.node, from.memory, to.memory, from.offset, to.offset});
  }
  if (graph_->output) logits_offset_ = places[logits].offset;
  for (size_t m = 0; m < arenas_.size(); ++m) {
    arenas_[m].scratch_offset = align_up(ends[m], kAlignment);
    arenas_[m].bytes = arenas_[m].scratch_offset + align_up(scratch[m], kAlignment);
  }
}

}  // namespace moiety
