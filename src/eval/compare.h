// Quality against cost: the speed-up factor of arXiv 2112.10684, c_dense(t) / c_moe(t) at a quality t. A family's cost of
// a quality is interpolated log-linearly between its two nearest models.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

namespace moiety::eval {

struct Point {
  std::string name;
  bool dense = false;
  double cost = 0;     // > 0, any unit
  double quality = 0;  // perplexity, accuracy: either direction
};

// c(t): log c = log c_lo + r (log c_hi - log c_lo), r = (t - t_lo) / (t_hi - t_lo), between the neighbours around t in
// the order of quality. Nothing if t lies outside the points. Throws Error kInvalidArgument naming a point whose cost
// or quality is no such number.
std::optional<double> cost_of_quality(std::span<const Point> family, double quality);

// The factor at the point's quality: one cost is the point's own, the other that of the other family. Nothing where the
// quality lies outside that family's. Throws alike.
std::optional<double> speed_up(std::span<const Point> points, const Point& point);

// Quality over cost (logarithmic), a line for each family.
struct Plot {
  std::vector<Point> points;
  std::string cost_name, quality_name;
};

// The plots one below the other.
std::string comparison_svg(std::span<const Plot> plots);

}  // namespace moiety::eval
