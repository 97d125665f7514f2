#include "eval/svg.h"

#include <algorithm>

#include "core/error.h"

namespace moiety::eval {
namespace {

std::string escaped(std::string_view text) {
  std::string out;
  for (char c : printable(text)) {
    if (c == '&') out += "&amp;";
    else if (c == '<') out += "&lt;";
    else if (c == '>') out += "&gt;";
    else if (c == '"') out += "&quot;";
    else out += c;
  }
  return out;
}

std::string with_title(std::string_view name, std::string_view title) {
  return title.empty() ? "/>\n" : fmt::format("><title>{}</title></{}>\n", escaped(title), name);
}

}  // namespace

void Svg::rectangle(double x, double y, double width, double height, std::string_view fill, std::string_view title) {
  body_ += fmt::format(R"(<rect x="{:.2f}" y="{:.2f}" width="{:.2f}" height="{:.2f}" fill="{}")", x, y, width, height, fill);
  body_ += with_title("rect", title);
}

void Svg::line(double x1, double y1, double x2, double y2, std::string_view stroke, double width) {
  body_ += fmt::format(R"(<line x1="{:.2f}" y1="{:.2f}" x2="{:.2f}" y2="{:.2f}" stroke="{}" stroke-width="{}"/>)", x1, y1,
                       x2, y2, stroke, width) + "\n";
}

void Svg::path(const std::vector<std::pair<double, double>>& points, std::string_view stroke) {
  std::string list;
  for (const auto& [x, y] : points) list += fmt::format("{:.2f},{:.2f} ", x, y);
  body_ += fmt::format(R"(<polyline points="{}" fill="none" stroke="{}" stroke-width="2"/>)", list, stroke) + "\n";
}

void Svg::circle(double x, double y, double radius, std::string_view fill, std::string_view title) {
  body_ += fmt::format(R"(<circle cx="{:.2f}" cy="{:.2f}" r="{}" fill="{}")", x, y, radius, fill);
  body_ += with_title("circle", title);
}

void Svg::text(double x, double y, std::string_view text, std::string_view anchor, double size) {
  body_ += fmt::format(R"(<text x="{:.2f}" y="{:.2f}" text-anchor="{}" font-size="{}">{}</text>)", x, y, anchor, size,
                       escaped(text)) + "\n";
}

std::string Svg::finish() const {
  return fmt::format("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{:.0f}\" height=\"{:.0f}\" "
                     "font-family=\"sans-serif\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n{}</svg>\n",
                     width_, height_, body_);
}

std::string shade(double share) {
  const double s = std::clamp(share, 0.0, 1.0);
  const auto mix = [&](double light, double dark) { return static_cast<int>(light + (dark - light) * s); };
  return fmt::format("#{:02x}{:02x}{:02x}", mix(247, 8), mix(251, 48), mix(255, 107));
}

}  // namespace moiety::eval
