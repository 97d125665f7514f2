#include "runtime/gate_telemetry.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "graph/routing.h"

namespace moiety {
namespace {

bool is_plain(const Route& route) {
  return route.score == Score::kSoftmax && route.selection == Selection::kTopK && !route.selection_bias;
}

bool feeds_route(const Graph& graph, int32_t node) {
  return std::ranges::any_of(graph.nodes(), [&](const Node& n) {
    const Route* route = std::get_if<Route>(&n.op);
    return route && is_plain(*route) && n.inputs[0].node == node;
  });
}

std::vector<double> softmax(const float* logits, int count) {
  std::vector<double> gates(static_cast<size_t>(count));
  const double most = *std::max_element(logits, logits + count);
  double sum = 0;
  for (size_t e = 0; e < gates.size(); ++e) sum += gates[e] = std::exp(static_cast<double>(logits[e]) - most);
  for (double& gate : gates) gate /= sum;
  return gates;
}

// All rows of a step at one gate, made again from the logits.
struct Choices {
  std::vector<int32_t> expert, location;
  std::vector<double> gates;  // [rows, E]
};

Choices choose(const Route& route, const Batch& batch, bool wanted, int64_t rows, const float* logits) {
  Route raw = route;  // gives scores that settle_choices can work on
  raw.renormalise = Renormalise::kNo, raw.weight_scale = 1;
  const auto k = static_cast<size_t>(route.top_k), experts = static_cast<size_t>(route.experts);
  Choices c{std::vector<int32_t>(static_cast<size_t>(rows) * k, -1), {}, {}};
  c.location = c.expert;
  std::vector<float> weights(c.expert.size());
  std::vector<double> keys(experts);
  for (int64_t row = 0; row < rows; ++row) {
    const float* of_row = logits + row * route.experts;
    const auto at = static_cast<size_t>(row);
    const bool finite = all_finite(of_row, route.experts);
    const std::vector<double> gates = finite ? softmax(of_row, route.experts) : std::vector<double>(experts);
    c.gates.insert(c.gates.end(), gates.begin(), gates.end());
    if (!finite) continue;
    choose_experts(raw, nullptr, of_row, gates.data(), RowRandom(route, batch, token_row(batch, wanted, row)),
                   keys.data(), &c.expert[at * k], &weights[at * k]);
  }
  std::vector<int32_t> stay = c.expert;
  const Buffer scratch(settle_bytes(route, rows));
  settle_choices(route, batch, wanted, rows, stay.data(), weights.data(), scratch.data(), c.location.data());
  return c;
}

GateStatistics measure(const GateTrace& t, const double* gates) {
  GateStatistics s;
  const auto rows = static_cast<size_t>(t.rows), k = static_cast<size_t>(t.top_k), experts = static_cast<size_t>(t.experts);
  const size_t fifth = std::max<size_t>(1, (experts + 4) / 5);
  std::vector<double> first(experts), mean(experts);
  for (size_t j = 0; j < std::min<size_t>(k, 2); ++j) {
    std::vector<double> share(experts);  // of rows, in percent
    double considered = 0, dropped = 0;
    for (size_t row = 0; row < rows; ++row) {
      const size_t at = row * k + j;
      if (t.expert[at] < 0) continue;
      const auto e = static_cast<size_t>(t.expert[at]);
      share[e] += 100.0 / static_cast<double>(rows);
      if (t.location[at] < 0) continue;
      considered += 1, dropped += t.kept[at] ? 0 : 1;
      if (j == 0) first[e] += 1.0 / static_cast<double>(rows);
    }
    s.overflow[j] = considered > 0 ? 100 * dropped / considered : 0;
    s.unused[j] = static_cast<double>(std::ranges::count(share, 0.0));
    std::ranges::sort(share, std::greater());
    for (size_t i = 0; i < fifth; ++i) s.balance_top[j] += share[i], s.balance_bottom[j] += share[experts - 1 - i];
  }
  for (size_t i = 0; i < rows * experts; ++i) {
    mean[i % experts] += gates[i] / static_cast<double>(rows);
    if (gates[i] > 0) s.entropy -= gates[i] * std::log(gates[i]) / static_cast<double>(rows);
  }
  for (size_t e = 0; e < experts; ++e) s.gate_loss += mean[e] * first[e] * static_cast<double>(experts);
  return s;
}

// f(a's member, b's member) for each figure.
template <class F>
void each(GateStatistics& a, const GateStatistics& b, const F& f) {
  f(a.entropy, b.entropy), f(a.gate_loss, b.gate_loss);
  for (int j = 0; j < 2; ++j) {
    f(a.overflow[j], b.overflow[j]), f(a.unused[j], b.unused[j]);
    f(a.balance_top[j], b.balance_top[j]), f(a.balance_bottom[j], b.balance_bottom[j]);
  }
}

}  // namespace

Observer GateTelemetry::observer(const Batch& batch) {
  return [this, &batch](const Graph& graph, int32_t node, const Operand& output) { observe(graph, node, output, batch); };
}

void GateTelemetry::observe(const Graph& graph, int32_t index, const Operand& output, const Batch& batch) {
  const Node& node = graph.nodes()[static_cast<size_t>(index)];
  const Route* route = std::get_if<Route>(&node.op);
  if (node.kind == Kind::kRows && feeds_route(graph, index)) {
    logits_.resize(static_cast<size_t>(output.tensor.elements()));
    for (int64_t row = 0; row < output.tensor.rows(); ++row)
      std::copy_n(reinterpret_cast<const float*>(output.tensor.row(row)), node.cols, logits_.data() + row * node.cols);
    logits_node_ = index;
  }
  if (!route || !is_plain(*route) || node.inputs[0].node != logits_node_) return;
  if (first_route_ < 0) first_route_ = index;
  const bool wanted = node.extent == Extent::kWanted;
  const int64_t rows = batch.rows(wanted);
  const auto k = static_cast<size_t>(route->top_k);
  const Choices choices = choose(*route, batch, wanted, rows, logits_.data());
  std::vector<float> weight(choices.expert.size());
  std::vector<uint8_t> kept(choices.expert.size());
  const Routing& routing = output.routing;
  for (int32_t i = 0; i < routing.count(); ++i) {
    const size_t at = static_cast<size_t>(routing.row[i]) * k + static_cast<size_t>(routing.slot[i]);
    weight[at] = routing.weight[i], kept[at] = 1;
  }
  std::vector<GatingGroup> groups = batch.groups;
  if (wanted || groups.empty()) groups = {{0, static_cast<int32_t>(rows)}};
  for (const GatingGroup& group : groups) {
    if (group.count == 0) continue;
    const auto begin = static_cast<std::ptrdiff_t>(group.row) * route->top_k,
               end = begin + static_cast<std::ptrdiff_t>(group.count) * route->top_k;
    GateTrace t{node.name, group.count, route->experts, route->top_k, gate_capacity(*route, group.count),
                logits_.data() + static_cast<int64_t>(group.row) * route->experts,
                {choices.expert.begin() + begin, choices.expert.begin() + end},
                {choices.location.begin() + begin, choices.location.begin() + end},
                {weight.begin() + begin, weight.begin() + end},
                {kept.begin() + begin, kept.begin() + end},
                {}};
    t.statistics = measure(t, choices.gates.data() + static_cast<int64_t>(group.row) * route->experts);
    int64_t tokens = group.count;
    for (int32_t row = group.row; !wanted && row < group.row + group.count; ++row)
      tokens -= batch.positions[static_cast<size_t>(row)] == kPadPosition;
    add(t, tokens, index == first_route_);
    if (sink_) sink_(t);
  }
}

void GateTelemetry::add(const GateTrace& trace, int64_t tokens, bool first_gate) {
  each(sums_, trace.statistics, [](double& sum, double value) { sum += value; });
  loss_ += trace.statistics.gate_loss * static_cast<double>(tokens);
  ++traces_;
  if (first_gate) ++groups_, tokens_ += static_cast<double>(tokens);
}

GateStatistics GateTelemetry::mean() const {
  GateStatistics mean = sums_;
  each(mean, sums_, [&](double& value, double sum) { value = traces_ ? sum / static_cast<double>(traces_) : 0; });
  mean.gate_loss = tokens_ > 0 ? loss_ / tokens_ : 0;
  return mean;
}

}  // namespace moiety
