#include "runtime/diff.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace moiety {
namespace {

constexpr size_t kChunk = 32;  // rows whose outputs are kept at a time

// One node's output of the left model for the current chunk.
struct Kept {
  std::vector<float> rows;
  std::vector<int32_t> offsets, row, slot;
  std::vector<float> weight;
};

struct Sums {
  double worst = 0, largest = 0, error2 = 0, left2 = 0;
  bool finite = true;
};

void keep(const Operand& output, Kind kind, Kept& kept) {
  if (kind == Kind::kRows) {
    const Tensor& t = output.tensor;
    kept.rows.resize(static_cast<size_t>(t.elements()));
    if (!kept.rows.empty()) std::memcpy(kept.rows.data(), t.data, kept.rows.size() * sizeof(float));
  } else if (kind == Kind::kRouting) {
    const Routing& r = output.routing;
    const auto n = static_cast<size_t>(r.count());
    kept.offsets.assign(r.offsets, r.offsets + r.experts + 1);
    kept.row.assign(r.row, r.row + n);
    kept.slot.assign(r.slot, r.slot + n);
    kept.weight.assign(r.weight, r.weight + n);
  }
}

void restore(const Operand& output, Kind kind, const Kept& kept) {
  if (kind == Kind::kRows) {
    if (!kept.rows.empty()) std::memcpy(output.tensor.data, kept.rows.data(), kept.rows.size() * sizeof(float));
  } else if (kind == Kind::kRouting) {
    const Routing& r = output.routing;
    std::copy(kept.offsets.begin(), kept.offsets.end(), r.offsets);
    std::copy(kept.row.begin(), kept.row.end(), r.row);
    std::copy(kept.slot.begin(), kept.slot.end(), r.slot);
    std::copy(kept.weight.begin(), kept.weight.end(), r.weight);
  }
}

// Weight by expert of each row (a row's absent experts are 0).
struct RouteTable {
  std::vector<float> weight;
  std::vector<bool> chosen;
};
RouteTable table_of(const int32_t* offsets, const int32_t* row, const float* weight, int experts, int64_t rows) {
  RouteTable table;
  table.weight.assign(static_cast<size_t>(rows * experts), 0);
  table.chosen.assign(static_cast<size_t>(rows * experts), false);
  for (int e = 0; e < experts; ++e) {
    for (int32_t i = offsets[e]; i < offsets[e + 1]; ++i) {
      const auto at = static_cast<size_t>(static_cast<int64_t>(row[i]) * experts + e);
      table.weight[at] = weight[i];
      table.chosen[at] = true;
    }
  }
  return table;
}

class Comparison {
 public:
  Comparison(const Model& left, const Model& right, const DiffOptions& options, DiffReport& report)
      : left_(left),
        right_(right),
        options_(options),
        report_(report),
        kept_(left.graph().nodes().size()),
        sums_(kept_.size()),
        index_(kept_.size(), -1) {
    const auto& nodes = left.graph().nodes();
    const int64_t rows = std::min({static_cast<int64_t>(kChunk), left.max_rows(), right.max_rows()});
    const Plan& left_plan = left.plan(rows);
    const Plan& right_plan = right.plan(rows);
    for (size_t i = 0; i < nodes.size(); ++i) {
      if (nodes[i].kind == Kind::kKv) continue;
      index_[i] = static_cast<int>(report.nodes.size());
      NodeDiff& d = report.nodes.emplace_back();
      d.name = nodes[i].name, d.op = op_name(nodes[i].op);
      d.left = left_plan.nodes()[i].backend->name() + ": " + left_plan.nodes()[i].kernel->name();
      d.right = right_plan.nodes()[i].backend->name() + ": " + right_plan.nodes()[i].kernel->name();
    }
  }

  void set_position(int position) { position_ = position; }
  void left_node(int32_t node, const Operand& output) {
    keep(output, left_.graph().nodes()[static_cast<size_t>(node)].kind, kept_[static_cast<size_t>(node)]);
  }
  void right_node(int32_t node, const Operand& output) {
    const auto i = static_cast<size_t>(node);
    if (options_.tamper) options_.tamper(right_.graph(), node, output);
    const Node& n = right_.graph().nodes()[i];
    if (n.kind == Kind::kKv) return;
    NodeDiff& d = report_.nodes[static_cast<size_t>(index_[i])];
    if (n.kind == Kind::kRows) compare_rows(d, sums_[i], kept_[i].rows, output.tensor);
    if (n.kind == Kind::kRouting) compare_routes(d, sums_[i], n, kept_[i], output.routing);
    restore(output, n.kind, kept_[i]);
  }
  void finish() {
    for (size_t i = 0; i < kept_.size(); ++i) {
      if (index_[i] < 0) continue;
      NodeDiff& d = report_.nodes[static_cast<size_t>(index_[i])];
      const Sums& s = sums_[i];
      d.error = !s.finite ? NAN : s.worst == 0 ? 0 : s.worst / s.largest;
      d.nmse = !s.finite ? NAN : s.error2 == 0 ? 0 : s.error2 / s.left2;
      if (!(d.error <= report_.tolerance)) d.beyond = true;
      if (d.beyond && report_.first_divergence < 0) report_.first_divergence = index_[i];
    }
  }

 private:
  void element(NodeDiff& d, Sums& s, float left, float right, int64_t row, int64_t column) const {
    if (!std::isfinite(left) || !std::isfinite(right)) {
      // Both the same infinity or both NaN agree: a poisoned row is told elsewhere.
      if (left == right || (std::isnan(left) && std::isnan(right))) return;
      if (s.finite) d.position = position_ + row, d.column = column, d.left_value = left, d.right_value = right;
      s.finite = false;
      return;
    }
    const double error = std::abs(static_cast<double>(right) - static_cast<double>(left));
    if (s.finite && error > s.worst) {
      d.position = position_ + row, d.column = column, d.left_value = left, d.right_value = right;
    }
    s.worst = std::max(s.worst, error);
    s.largest = std::max(s.largest, std::abs(static_cast<double>(left)));
    s.error2 += error * error;
    s.left2 += static_cast<double>(left) * static_cast<double>(left);
  }

  void compare_rows(NodeDiff& d, Sums& s, const std::vector<float>& left, const Tensor& right) const {
    const int64_t cols = right.cols();
    for (int64_t row = 0; row < right.rows(); ++row) {
      const float* r = reinterpret_cast<const float*>(right.row(row));
      for (int64_t c = 0; c < cols; ++c) element(d, s, left[static_cast<size_t>(row * cols + c)], r[c], row, c);
    }
  }

  // Weights are compared where both sides chose the same experts; elsewhere the flip is told with its margin.
  void compare_routes(NodeDiff& d, Sums& s, const Node& node, const Kept& left, const Routing& right) {
    const std::vector<float>& logits = kept_[static_cast<size_t>(node.inputs[0].node)].rows;
    const int experts = right.experts;
    const auto rows = static_cast<int64_t>(logits.size()) / experts;
    const RouteTable l = table_of(left.offsets.data(), left.row.data(), left.weight.data(), experts, rows);
    const RouteTable r = table_of(right.offsets, right.row, right.weight, experts, rows);
    for (int64_t row = 0; row < rows; ++row) {
      const auto at = static_cast<size_t>(row * experts);
      RouteFlip flip;
      for (int e = 0; e < experts; ++e) {
        const size_t i = at + static_cast<size_t>(e);
        if (l.chosen[i] && !r.chosen[i]) flip.left.push_back(e);
        if (r.chosen[i] && !l.chosen[i]) flip.right.push_back(e);
      }
      if (flip.left.empty() && flip.right.empty()) {
        for (int e = 0; e < experts; ++e) {
          element(d, s, l.weight[at + static_cast<size_t>(e)], r.weight[at + static_cast<size_t>(e)], row, e);
        }
        continue;
      }
      flip.node = node.name;
      flip.position = position_ + static_cast<int>(row);
      flip.margin = margin_of(flip, std::span(logits).subspan(at, static_cast<size_t>(experts)));
      ++d.flips;
      if (!(flip.margin <= options_.route_margin)) d.beyond = true;
      report_.flips.push_back(std::move(flip));
    }
  }

  static double margin_of(const RouteFlip& flip, std::span<const float> logits) {
    if (flip.left.size() != flip.right.size()) return std::numeric_limits<double>::infinity();
    double largest = 0, gap = 0;
    for (float v : logits) largest = std::max(largest, std::abs(static_cast<double>(v)));
    for (int a : flip.left) {
      for (int b : flip.right) {
        gap = std::max(gap, std::abs(static_cast<double>(logits[static_cast<size_t>(a)]) -
                                     static_cast<double>(logits[static_cast<size_t>(b)])));
      }
    }
    return largest > 0 ? gap / largest : gap;
  }

  const Model& left_;
  const Model& right_;
  const DiffOptions& options_;
  DiffReport& report_;
  std::vector<Kept> kept_;
  std::vector<Sums> sums_;
  std::vector<int> index_;  // of a node in report_.nodes
  int position_ = 0;
};

void check_graphs(const Model& left, const Model& right) {
  const auto& a = left.graph().nodes();
  const auto& b = right.graph().nodes();
  bool same = a.size() == b.size();
  for (size_t i = 0; same && i < a.size(); ++i)
    same = a[i].name == b[i].name && a[i].cols == b[i].cols && a[i].kind == b[i].kind;
  if (!same) fail(Status::kInvalidArgument, "diff: '{}' and '{}' are not the same model", left.name(), right.name());
}

double log_sum(std::span<const float> logits) {
  const double best = static_cast<double>(*std::ranges::max_element(logits));
  double sum = 0;
  for (float v : logits) sum += std::exp(static_cast<double>(v) - best);
  return best + std::log(sum);
}

// The free run: both sides with their own values.
void compare_logits(std::span<const float> left, std::span<const float> right, DiffReport& report, double& largest,
                    double& worst) {
  const double l = log_sum(left), r = log_sum(right);
  double kl = 0;
  for (size_t i = 0; i < left.size(); ++i) {
    const double a = static_cast<double>(left[i]), b = static_cast<double>(right[i]);
    kl += std::exp(a - l) * ((a - l) - (b - r));
    largest = std::max(largest, std::abs(a));
    if (!(std::abs(a - b) <= worst)) worst = std::abs(a - b);  // NaN stays
  }
  report.mean_kl += kl;
  report.same_top += std::ranges::max_element(left) - left.begin() == std::ranges::max_element(right) - right.begin();
}

}  // namespace

DiffReport diff_models(const Model& left, const Model& right, std::span<const int32_t> tokens,
                       const DiffOptions& options, const CancelToken* cancel) {
  check_graphs(left, right);
  DiffReport report;
  const bool exact = left.plan_options().activations == ActivationPrecision::kF32 &&
                     right.plan_options().activations == ActivationPrecision::kF32;
  report.tolerance = options.tolerance > 0 ? options.tolerance : exact ? 1e-4 : 5e-2;
  Comparison comparison(left, right, options, report);
  Session left_session(left), right_session(right), free_session(right);
  Scheduler left_scheduler(left), right_scheduler(right), free_scheduler(right);
  left_scheduler.set_observer(
      [&](const Graph&, int32_t node, const Operand& output) { comparison.left_node(node, output); });
  right_scheduler.set_observer(
      [&](const Graph&, int32_t node, const Operand& output) { comparison.right_node(node, output); });
  const size_t chunk =
      left.whole_groups()
          ? std::max<size_t>(1, tokens.size())
          : std::min<size_t>({kChunk, static_cast<size_t>(left.max_rows()), static_cast<size_t>(right.max_rows())});
  double largest = 0, worst = 0;
  std::vector<float> left_logits;
  const auto run = [&](Scheduler& scheduler, Session& session, std::span<const int32_t> part, LogitsSink sink) {
    scheduler.submit(session, part, Want::kAll, std::move(sink));
    scheduler.run(cancel);
    if (session.status() != Status::kOk) fail(session.status(), "{}", session.message());
  };
  for (size_t at = 0; at < tokens.size(); at += chunk) {
    const auto part = tokens.subspan(at, std::min(chunk, tokens.size() - at));
    comparison.set_position(static_cast<int>(at));
    left_logits.clear();
    run(left_scheduler, left_session, part,
        [&](int, std::span<const float> row) { left_logits.insert(left_logits.end(), row.begin(), row.end()); });
    run(right_scheduler, right_session, part, {});
    size_t row_index = 0;
    run(free_scheduler, free_session, part, [&](int, std::span<const float> row) {
      compare_logits(std::span(left_logits).subspan(row_index++ * row.size(), row.size()), row, report, largest, worst);
    });
  }
  comparison.finish();
  if (!tokens.empty()) {
    report.mean_kl /= static_cast<double>(tokens.size());
    report.same_top /= static_cast<double>(tokens.size());
    report.logits_error = worst == 0 ? 0 : worst / largest;
  }
  return report;
}

}  // namespace moiety
