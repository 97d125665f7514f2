// Quality against cost: the speed-up factor of arXiv 2112.10684. One family's cost of a quality is interpolated
// log-linearly between its two nearest models; the factor is the dense family's cost of a model's quality divided by
// the model's own.
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

// cost_of_quality(the dense points, point.quality) / point.cost. Throws alike.
std::optional<double> speed_up(std::span<const Point> points, const Point& point);

// Quality over cost (logarithmic), a line for each family.
struct Plot {
  std::vector<Point> points;
  std::string cost_name, quality_name;
};

// The plots one below the other.
std::string comparison_svg(std::span<const Plot> plots);

}  // namespace moiety::eval
