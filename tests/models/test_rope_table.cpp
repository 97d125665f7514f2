// Frequencies against figures computed from the papers' formulas in double.
#include <doctest/doctest.h>

#include <cmath>

#include "models/parts.h"

using namespace moiety;

namespace {
bool near(double a, double b) { return std::abs(a - b) <= 2e-6 * std::abs(b); }
}  // namespace

TEST_CASE("default, linear and partial frequencies") {
  RopeConfig rope;
  rope.theta = 500000;
  RopeTable table = rope_table(rope, 64, 4096, 4096);
  REQUIRE(table.frequencies.size() == 32);
  CHECK(table.magnitude == 1);
  for (int i = 0; i < 32; ++i)
    CHECK(near(table.frequencies[static_cast<size_t>(i)], std::pow(500000.0, -2.0 * i / 64)));
  rope.kind = RopeKind::kLinear, rope.factor = 4, rope.partial = 0.5;
  table = rope_table(rope, 64, 4096, 4096);
  REQUIRE(table.frequencies.size() == 16);
  CHECK(near(table.frequencies[3], std::pow(500000.0, -6.0 / 32) / 4));
}

TEST_CASE("dynamic frequencies change beyond the model's context alone") {
  RopeConfig rope;
  rope.kind = RopeKind::kDynamic, rope.factor = 2;
  const RopeTable plain = rope_table({}, 64, 2048, 2048);
  CHECK(rope_table(rope, 64, 2048, 2048).frequencies == plain.frequencies);
  const RopeTable longer = rope_table(rope, 64, 2048, 8192);
  const double theta = 10000 * std::pow(2.0 * 4 - 1, 64.0 / 62);
  CHECK(near(longer.frequencies[5], std::pow(theta, -10.0 / 64)));
}

TEST_CASE("llama3 keeps short wavelengths and divides long ones") {
  RopeConfig rope;
  rope.kind = RopeKind::kLlama3, rope.theta = 500000, rope.factor = 8, rope.original_context = 8192;
  const RopeTable table = rope_table(rope, 128, 131072, 131072);
  CHECK(table.frequencies[0] == 1);
  CHECK(near(table.frequencies[63], std::pow(500000.0, -126.0 / 128) / 8));
  // In between: wavelength 2 pi / f between 8192 / 4 and 8192.
  const double f = std::pow(500000.0, -2.0 * 32 / 128), wavelength = 2 * M_PI / f;
  REQUIRE(wavelength > 2048);
  REQUIRE(wavelength < 8192);
  const double smooth = (8192 / wavelength - 1) / 3;
  CHECK(near(table.frequencies[32], (1 - smooth) * f / 8 + smooth * f));
}

TEST_CASE("yarn interpolates slow dimensions and scales by its magnitude") {
  RopeConfig rope;
  rope.kind = RopeKind::kYarn, rope.theta = 10000, rope.factor = 4, rope.original_context = 4096;
  const RopeTable table = rope_table(rope, 128, 16384, 16384);
  CHECK(table.frequencies[0] == 1);
  CHECK(near(table.frequencies[63], std::pow(10000.0, -126.0 / 128) / 4));
  CHECK(near(table.magnitude, 0.1 * std::log(4.0) + 1));
  rope.attention_factor = 1.5;
  CHECK(rope_table(rope, 128, 16384, 16384).magnitude == 1.5f);
}

TEST_CASE("longrope chooses its factors by the context") {
  RopeConfig rope;
  rope.kind = RopeKind::kLongRope, rope.factor = 32, rope.original_context = 4096;
  rope.short_factor.assign(16, 1), rope.long_factor.assign(16, 8);
  const RopeTable short_table = rope_table(rope, 32, 131072, 4096), long_table = rope_table(rope, 32, 131072, 8192);
  CHECK(short_table.frequencies[0] == 1);
  CHECK(long_table.frequencies[0] == 0.125f);
  CHECK(near(short_table.magnitude, std::sqrt(1 + std::log(32.0) / std::log(4096.0))));
}
