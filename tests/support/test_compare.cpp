#include "support/compare.h"

#include <doctest/doctest.h>

using namespace moiety::test;

TEST_CASE("compare accepts what is within either bound") {
  CHECK(compare<double>({1.0f, 0.0f, -2.0f}, {1.0, 1e-8, -2.0}, {.absolute = 1e-7}) == "");
  CHECK(compare<double>({1.0001f}, {1.0}, {.relative = 2e-4}) == "");
  CHECK(compare<double>({}, {}, {}) == "");
}

TEST_CASE("compare rejects one wrong element, NaN, infinity, poison and a wrong length") {
  CHECK(compare<double>({1.0f, 0.01f}, {1.0, 0.0}, {.absolute = 1e-3}) != "");
  CHECK(compare<double>({NAN}, {1.0}, {.relative = 1e30, .absolute = 1e30}) != "");
  CHECK(compare<double>({1.0f}, {NAN}, {.relative = 1e30, .absolute = 1e30}) != "");
  CHECK(compare<double>({INFINITY}, {1.0}, {.absolute = 1e30}) != "");
  CHECK(compare<double>({INFINITY}, {INFINITY}, {.absolute = 1e30}) != "");
  CHECK(compare<double>(poisoned(1), {1.0}, {.absolute = 1e30}) == "element 0 was not written");
  CHECK(compare<double>({1.0f}, {1.0, 2.0}, {.absolute = 10}) != "");
}

TEST_CASE("compare bounds the mean square error too") {
  const std::vector<double> reference(4096, 1.0);
  std::vector<float> values(4096, 1.001f);
  CHECK(compare(values, reference, {.absolute = 0.01}) == "");
  CHECK(compare(values, reference, {.absolute = 0.01, .nmse = 1e-8}) != "");
}

TEST_CASE("same_bits tells signs of zero apart") {
  CHECK(same_bits({0.0f, 1.0f}, {0.0f, 1.0f}) == "");
  CHECK(same_bits({0.0f}, {-0.0f}) != "");
  CHECK(same_bits({0.0f}, {0.0f, 0.0f}) != "");
}
