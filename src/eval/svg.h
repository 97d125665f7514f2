// Small pictures as SVG text: what the commands write for people, without a library.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace moiety::eval {

// A picture of fixed size; text is escaped, coordinates are pixels from the top left.
class Svg {
 public:
  Svg(double width, double height) : width_(width), height_(height) {}
  void rectangle(double x, double y, double width, double height, std::string_view fill, std::string_view title = {});
  void line(double x1, double y1, double x2, double y2, std::string_view stroke, double width = 1);
  void path(const std::vector<std::pair<double, double>>& points, std::string_view stroke);
  void circle(double x, double y, double radius, std::string_view fill, std::string_view title = {});
  // anchor: "start", "middle" or "end".
  void text(double x, double y, std::string_view text, std::string_view anchor = "start", double size = 12);
  std::string finish() const;

 private:
  double width_, height_;
  std::string body_;
};

// A colour of a scale from white (0) to dark blue (1).
std::string shade(double share);

}  // namespace moiety::eval
