#include "eval/compare.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "eval/svg.h"

namespace moiety::eval {

std::optional<double> cost_of_quality(std::span<const Point> family, double quality) {
  std::vector<Point> sorted(family.begin(), family.end());
  std::ranges::sort(sorted, [](const Point& a, const Point& b) { return a.quality != b.quality ? a.quality < b.quality : a.cost < b.cost; });
  for (const Point& p : sorted) {
    if (!(p.cost > 0) || !std::isfinite(p.cost) || !std::isfinite(p.quality)) {
      fail(Status::kInvalidArgument, "{}: cost {} and quality {}, expected finite numbers and a cost above 0", p.name, p.cost, p.quality);
    }
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
  std::vector<Point> dense;
  std::ranges::copy_if(points, std::back_inserter(dense), &Point::dense);
  const auto cost = cost_of_quality(dense, point.quality);
  return cost ? std::optional(*cost / point.cost) : std::nullopt;
}

std::string comparison_svg(std::span<const Point> points, const std::string& cost_name, const std::string& quality_name) {
  constexpr double kWidth = 720, kHeight = 440, kLeft = 80, kRight = 30, kTop = 40, kBottom = 60;
  double low = INFINITY, high = -INFINITY, bottom = INFINITY, top = -INFINITY;
  for (const Point& p : points) {
    low = std::min(low, std::log10(p.cost)), high = std::max(high, std::log10(p.cost));
    bottom = std::min(bottom, p.quality), top = std::max(top, p.quality);
  }
  const double x_room = std::max(0.05, 0.08 * (high - low)), y_room = std::max(1e-9, 0.08 * (top - bottom));
  low -= x_room, high += x_room, bottom -= y_room, top += y_room;
  const auto x = [&](double log_cost) { return kLeft + (log_cost - low) / (high - low) * (kWidth - kLeft - kRight); };
  const auto y = [&](double quality) { return kHeight - kBottom - (quality - bottom) / (top - bottom) * (kHeight - kTop - kBottom); };
  Svg picture(kWidth, kHeight);
  for (int i = 0; i <= 5; ++i) {
    const double q = bottom + (top - bottom) * i / 5, c = low + (high - low) * i / 5;
    picture.line(kLeft, y(q), kWidth - kRight, y(q), "#dddddd");
    picture.text(kLeft - 6, y(q) + 4, fmt::format("{:.4g}", q), "end", 11);
    picture.text(x(c), kHeight - kBottom + 18, fmt::format("{:.3g}", std::pow(10, c)), "middle", 11);
  }
  picture.line(kLeft, kTop, kLeft, kHeight - kBottom, "black");
  picture.line(kLeft, kHeight - kBottom, kWidth - kRight, kHeight - kBottom, "black");
  picture.text(kWidth / 2, kHeight - 14, cost_name, "middle");
  picture.text(12, 20, quality_name);
  for (bool dense : {true, false}) {
    std::vector<Point> family;
    std::ranges::copy_if(points, std::back_inserter(family), [&](const Point& p) { return p.dense == dense; });
    std::ranges::sort(family, {}, &Point::cost);
    std::vector<std::pair<double, double>> line;
    for (const Point& p : family) line.emplace_back(x(std::log10(p.cost)), y(p.quality));
    const char* colour = dense ? "#c0392b" : "#1f5fa8";
    picture.path(line, colour);
    for (size_t i = 0; i < family.size(); ++i) {
      picture.circle(line[i].first, line[i].second, 4, colour, fmt::format("{}: {:.4g}, {:.4g}", family[i].name, family[i].cost, family[i].quality));
      picture.text(line[i].first + 7, line[i].second - 6, family[i].name, "start", 11);
    }
    picture.text(kWidth - kRight - 130, dense ? 20 : 36, dense ? "red: dense" : "blue: with experts", "start");
  }
  return picture.finish();
}

}  // namespace moiety::eval
