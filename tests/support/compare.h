// Comparisons that can fail: NaN never passes, every element is bounded, not only the mean.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include <fmt/format.h>

namespace moiety::test {

// What an output holds before a kernel runs: a NaN with a payload that no arithmetic makes.
inline constexpr uint32_t kPoison = 0x7fbadbad;

inline std::vector<float> poisoned(size_t count) {
  std::vector<float> values(count);
  for (float& value : values) std::memcpy(&value, &kPoison, sizeof value);
  return values;
}

inline bool is_poison(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits == kPoison;
}

// How far values may lie from the reference. An element passes if it is within `absolute` or within
// relative * |reference|; the whole passes if also its normalised mean square error is at most nmse.
struct Gate {
  double relative = 0, absolute = 0;
  double nmse = std::numeric_limits<double>::infinity();
};

// Empty if `values` pass, else what is wrong first. References may be f32 or double; both sides must be finite.
template <class T>
std::string compare(const std::vector<float>& values, const std::vector<T>& reference, const Gate& gate) {
  if (values.size() != reference.size()) return fmt::format("{} values, expected {}", values.size(), reference.size());
  double error = 0, power = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    const double got = values[i], want = reference[i];
    if (is_poison(values[i])) return fmt::format("element {} was not written", i);
    const double off = std::fabs(got - want);
    const bool close = off <= gate.absolute || off <= gate.relative * std::fabs(want);
    if (!close) return fmt::format("element {}: {:.9g}, expected {:.9g}, off by {:.3g}", i, got, want, off);
    error += off * off;
    power += want * want;
  }
  const bool small = error <= gate.nmse * power || error == 0;
  return small ? std::string() : fmt::format("NMSE {:.3g} exceeds {:.3g}", error / power, gate.nmse);
}

// Empty if both are the same bits.
inline std::string same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() != b.size()) return fmt::format("{} values, expected {}", a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i)
    if (std::memcmp(&a[i], &b[i], sizeof(float)) != 0) return fmt::format("element {}: {:a}, expected {:a}", i, a[i], b[i]);
  return {};
}

}  // namespace moiety::test
