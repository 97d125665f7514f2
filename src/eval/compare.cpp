#include "eval/compare.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "eval/svg.h"

namespace moiety::eval {

namespace {

void check(const Point& p) {
  if (!(p.cost > 0) || !std::isfinite(p.cost) || !std::isfinite(p.quality)) {
    fail(Status::kInvalidArgument, "{}: cost {} and quality {}, expected finite numbers and a cost above 0", p.name,
         p.cost, p.quality);
  }
}

}  // namespace

std::optional<double> cost_of_quality(std::span<const Point> family, double quality) {
  std::ranges::for_each(family, check);
  std::vector<Point> sorted(family.begin(), family.end());
  std::ranges::sort(sorted, [](const Point& a, const Point& b) {
    return a.quality != b.quality ? a.quality < b.quality : a.cost < b.cost;
  });
  for (const Point& p : sorted) {
    if (p.quality == quality) return p.cost;
  }
  for (size_t i = 0; i + 1 < sorted.size(); ++i) {
    const Point &lo = sorted[i], &hi = sorted[i + 1];
    if (lo.quality > quality || quality > hi.quality) continue;
    const double r = (quality - lo.quality) / (hi.quality - lo.quality);
    return std::exp(std::log(lo.cost) + r * (std::log(hi.cost) - std::log(lo.cost)));
  }
  return std::nullopt;
}

std::optional<double> speed_up(std::span<const Point> points, const Point& point) {
  check(point);
  std::vector<Point> others;
  std::ranges::copy_if(points, std::back_inserter(others), [&](const Point& p) { return p.dense != point.dense; });
  const auto cost = cost_of_quality(others, point.quality);
  if (!cost) return std::nullopt;
  return point.dense ? point.cost / *cost : *cost / point.cost;
}

namespace {

constexpr double kWidth = 720, kHeight = 440;

// Where costs and qualities lie in a plot whose upper left corner is (0, top).
class Axes {
 public:
  Axes(std::span<const Point> points, double top) : top_(top) {
    for (const Point& p : points) {
      low_ = std::min(low_, std::log10(p.cost)), high_ = std::max(high_, std::log10(p.cost));
      worst_ = std::min(worst_, p.quality), best_ = std::max(best_, p.quality);
    }
    const double x_room = std::max(0.05, 0.08 * (high_ - low_)), y_room = std::max(1e-9, 0.08 * (best_ - worst_));
    low_ -= x_room, high_ += x_room, worst_ -= y_room, best_ += y_room;
  }
  double x(double log_cost) const { return kLeft + (log_cost - low_) / (high_ - low_) * (kWidth - kLeft - kRight); }
  double y(double quality) const {
    return top_ + kHeight - kBottom - (quality - worst_) / (best_ - worst_) * (kHeight - kTop - kBottom);
  }

  void draw(Svg& picture, const Plot& plot) const {
    const double floor = top_ + kHeight - kBottom;
    for (int i = 0; i <= 5; ++i) {
      const double q = worst_ + (best_ - worst_) * i / 5, c = low_ + (high_ - low_) * i / 5;
      picture.line(kLeft, y(q), kWidth - kRight, y(q), "#dddddd");
      picture.text(kLeft - 6, y(q) + 4, fmt::format("{:.4g}", q), "end", 11);
      picture.text(x(c), floor + 18, fmt::format("{:.3g}", std::pow(10, c)), "middle", 11);
    }
    picture.line(kLeft, top_ + kTop, kLeft, floor, "black");
    picture.line(kLeft, floor, kWidth - kRight, floor, "black");
    picture.text(kWidth / 2, top_ + kHeight - 14, plot.cost_name, "middle");
    picture.text(12, top_ + 20, plot.quality_name);
    picture.text(kWidth - kRight - 130, top_ + 20, "red: dense");
    picture.text(kWidth - kRight - 130, top_ + 36, "blue: with experts");
  }

 private:
  static constexpr double kLeft = 80, kRight = 30, kTop = 40, kBottom = 60;
  double top_, low_ = INFINITY, high_ = -INFINITY, worst_ = INFINITY, best_ = -INFINITY;
};

void draw_family(Svg& picture, const Axes& axes, std::span<const Point> points, bool dense) {
  std::vector<Point> family;
  std::ranges::copy_if(points, std::back_inserter(family), [&](const Point& p) { return p.dense == dense; });
  std::ranges::sort(family, {}, &Point::cost);
  std::vector<std::pair<double, double>> line;
  for (const Point& p : family) line.emplace_back(axes.x(std::log10(p.cost)), axes.y(p.quality));
  const char* colour = dense ? "#c0392b" : "#1f5fa8";
  picture.path(line, colour);
  for (size_t i = 0; i < family.size(); ++i) {
    picture.circle(line[i].first, line[i].second, 4, colour,
                   fmt::format("{}: {:.4g}, {:.4g}", family[i].name, family[i].cost, family[i].quality));
    picture.text(line[i].first + 7, line[i].second - 6, family[i].name, "start", 11);
  }
}

}  // namespace

std::string comparison_svg(std::span<const Plot> plots) {
  Svg picture(kWidth, kHeight * static_cast<double>(plots.size()));
  for (size_t i = 0; i < plots.size(); ++i) {
    const Axes axes(plots[i].points, kHeight * static_cast<double>(i));
    axes.draw(picture, plots[i]);
    for (bool dense : {true, false}) draw_family(picture, axes, plots[i].points, dense);
  }
  return picture.finish();
}

}  // namespace moiety::eval
