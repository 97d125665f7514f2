#include "eval/trace.h"

#include <algorithm>

namespace moiety::eval {
namespace {

uint64_t bytes_of(const Expert& x) {
  uint64_t bytes = 0;
  for (const Tensor* t : {&x.gate, &x.up, &x.down, &x.gate_bias, &x.up_bias, &x.down_bias}) {
    if (*t) bytes += t->bytes();
  }
  return bytes;
}

}  // namespace

size_t Trace::slots() const {
  size_t slots = 0;
  for (const TracedLayer& layer : layers) slots += static_cast<size_t>(layer.top_k);
  return slots;
}

Tracer::Tracer(const Model& model) : model_(model), session_(model), scheduler_(model) {
  const Graph& graph = model.graph();
  layer_of_.assign(graph.nodes().size(), -1);
  for (size_t i = 0; i < graph.nodes().size(); ++i) {
    const Node& node = graph.nodes()[i];
    if (const auto* route = std::get_if<Route>(&node.op)) {
      layer_of_[i] = static_cast<int>(trace_.layers.size());
      first_slot_.push_back(trace_.slots());
      const std::string_view name = node.name;
      const size_t tail = name.ends_with(".route") ? 6 : 0;
      trace_.layers.push_back({std::string(name.substr(0, name.size() - tail)), route->experts, static_cast<int>(node.cols), 0});
    } else if (const auto* experts = std::get_if<Experts>(&node.op)) {
      const int layer = layer_of_[static_cast<size_t>(node.inputs[1].node)];
      for (int e = 0; e < experts->bank->size(); ++e) {
        uint64_t& bytes = trace_.layers[static_cast<size_t>(layer)].expert_bytes;
        bytes = std::max(bytes, bytes_of(experts->bank->expert(e)));
      }
    }
  }
  if (trace_.layers.empty()) fail(Status::kUnsupported, "{}: a dense model has no routes to trace", model.name());
  scheduler_.set_observer([this](const Graph&, int32_t node, const Operand& output) {
    if (layer_of_[static_cast<size_t>(node)] >= 0) observe(node, output);
  });
}

void Tracer::observe(int32_t node, const Operand& output) {
  const auto layer = static_cast<size_t>(layer_of_[static_cast<size_t>(node)]);
  const size_t slots = trace_.slots();
  const Routing& r = output.routing;
  for (int32_t e = 0; e < r.experts; ++e) {
    for (int32_t i = r.offsets[e]; i < r.offsets[e + 1]; ++i) {
      const size_t at = static_cast<size_t>(r.row[i]) * slots + first_slot_[layer] + static_cast<size_t>(r.slot[i]);
      step_experts_[at] = e;
      step_weights_[at] = r.weight[i];
    }
  }
}

void Tracer::run(std::span<const int32_t> ids, const std::string& domain, size_t block, const RoutesSink& sink,
                 const std::function<void(size_t)>& done, const CancelToken* cancel) {
  const auto known = std::ranges::find(trace_.domains, domain);
  const auto index = static_cast<size_t>(known - trace_.domains.begin());
  if (known == trace_.domains.end()) trace_.domains.push_back(domain);
  const size_t slots = trace_.slots();
  block = std::min(block, static_cast<size_t>(session_.capacity()));
  for (size_t begin = 0; begin < ids.size(); begin += block) {
    const auto text = ids.subspan(begin, std::min(block, ids.size() - begin));
    session_.rewind(0);
    // All logits are wanted: routers of the last layer see the wanted rows alone.
    scheduler_.submit(session_, text, Want::kAll);
    for (size_t at = 0; at < text.size();) {
      const size_t most = std::min(text.size() - at, static_cast<size_t>(model_.max_rows()));
      step_experts_.assign(most * slots, -1);
      step_weights_.assign(most * slots, 0);
      try {
        scheduler_.step(cancel);
      } catch (...) {
        scheduler_.drop(session_);
        throw;
      }
      if (session_.status() != Status::kOk) fail(session_.status(), "{}", session_.message());
      const size_t rows = static_cast<size_t>(session_.position()) - at;
      trace_.domain.insert(trace_.domain.end(), rows, static_cast<int32_t>(index));
      trace_.experts.insert(trace_.experts.end(), step_experts_.begin(),
                            step_experts_.begin() + static_cast<std::ptrdiff_t>(rows * slots));
      for (size_t row = 0; sink && row < rows; ++row) {
        sink({index, static_cast<int>(begin + at + row), text[at + row], std::span(step_experts_).subspan(row * slots, slots),
              std::span(step_weights_).subspan(row * slots, slots)});
      }
      at += rows;
      if (done) done(rows);
    }
  }
}

}  // namespace moiety::eval
