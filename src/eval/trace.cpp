#include "eval/trace.h"

#include <algorithm>
#include <bit>
#include <cmath>

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
      trace_.layers.push_back(
          {std::string(name.substr(0, name.size() - tail)), route->experts, static_cast<int>(node.cols), 0});
    } else if (const auto* experts = std::get_if<Experts>(&node.op)) {
      const int layer = layer_of_[static_cast<size_t>(node.inputs[1].node)];
      for (int e = 0; e < experts->bank->size(); ++e) {
        uint64_t& bytes = trace_.layers[static_cast<size_t>(layer)].expert_bytes;
        bytes = std::max(bytes, bytes_of(experts->bank->expert(e)));
      }
    }
  }
  if (trace_.layers.empty()) fail(Status::kUnsupported, "{}: a dense model has no routes to trace", model.name());
  scheduler_.set_observer([this](const Graph& seen, int32_t node, const Operand& output) {
    if (layer_of_[static_cast<size_t>(node)] >= 0) observe(node, output);
    if (also_) also_(seen, node, output);
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

// The step's rows, those of `text`, go to the trace and to the sink.
void Tracer::take(Tokens text, size_t domain, size_t begin, const RoutesSink& sink) {
  const size_t slots = trace_.slots(), values = text.size() * slots;
  trace_.domain.insert(trace_.domain.end(), text.size(), static_cast<int32_t>(domain));
  trace_.experts.insert(trace_.experts.end(), step_experts_.begin(),
                        step_experts_.begin() + static_cast<std::ptrdiff_t>(values));
  if (!sink) return;
  if (journal_)
    block_weights_.insert(block_weights_.end(), step_weights_.begin(),
                          step_weights_.begin() + static_cast<std::ptrdiff_t>(values));
  for (size_t row = 0; row < text.size(); ++row) {
    sink({domain, static_cast<int>(begin + row), text[row], std::span(step_experts_).subspan(row * slots, slots),
          std::span(step_weights_).subspan(row * slots, slots)});
  }
}

void Tracer::run_block(Tokens text, size_t domain, size_t begin, const RoutesSink& sink,
                       const std::function<void(size_t)>& done, const CancelToken* cancel) {
  const size_t slots = trace_.slots();
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
    take(text.subspan(at, rows), domain, begin + at, sink);
    at += rows;
    if (done) done(rows);
  }
}

// The trace's choices from `first` on, then their weights as the bits of a float: both are exact in a double.
std::vector<double> Tracer::packed(size_t first, bool weights) const {
  std::vector<double> piece(trace_.experts.begin() + static_cast<std::ptrdiff_t>(first), trace_.experts.end());
  if (!weights) return piece;
  for (float w : block_weights_) piece.push_back(std::bit_cast<uint32_t>(w));
  return piece;
}

void Tracer::unpack(const std::vector<double>& piece, size_t tokens, bool weights, const std::string& key) {
  const size_t values = tokens * trace_.slots();
  const auto whole = [](double v, double low, double high) { return v >= low && v <= high && v == std::floor(v); };
  bool right = piece.size() == (weights ? 2 : 1) * values;
  step_experts_.assign(values, -1);
  step_weights_.assign(values, 0);
  for (size_t i = 0, slot = 0; right && i < values; slot = 0) {
    for (size_t layer = 0; layer < trace_.layers.size(); ++layer) {
      for (int k = 0; k < trace_.layers[layer].top_k; ++k, ++slot, ++i) {
        right = right && whole(piece[i], -1, trace_.layers[layer].experts - 1);
        if (right) step_experts_[i] = static_cast<int32_t>(piece[i]);
        if (!right || !weights) continue;
        right = whole(piece[values + i], 0, UINT32_MAX);
        if (right) step_weights_[i] = std::bit_cast<float>(static_cast<uint32_t>(piece[values + i]));
      }
    }
  }
  if (!right) fail(Status::kFormat, "{}: {} is broken", journal_->name(), key);
}

void Tracer::run(std::span<const int32_t> ids, const std::string& domain, size_t block, const RoutesSink& sink,
                 const std::function<void(size_t)>& done, const CancelToken* cancel) {
  const auto known = std::ranges::find(trace_.domains, domain);
  const auto index = static_cast<size_t>(known - trace_.domains.begin());
  if (known == trace_.domains.end()) trace_.domains.push_back(domain);
  block = std::min(block, static_cast<size_t>(session_.capacity()));
  for (size_t begin = 0; begin < ids.size(); begin += block) {
    const auto text = ids.subspan(begin, std::min(block, ids.size() - begin));
    const std::string key = std::to_string(blocks_++);
    if (const std::vector<double>* kept = journal_ ? journal_->find(key) : nullptr) {
      unpack(*kept, text.size(), static_cast<bool>(sink), key);
      take(text, index, begin, sink);
      if (done) done(text.size());
      continue;
    }
    const size_t first = trace_.experts.size();
    block_weights_.clear();
    run_block(text, index, begin, sink, done, cancel);
    if (journal_) journal_->add(key, packed(first, static_cast<bool>(sink)));
  }
}

}  // namespace moiety::eval
