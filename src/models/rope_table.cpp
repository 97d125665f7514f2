// Rope frequencies. Arithmetic is in float where transformers' is (the table's values), in double where it uses Python
// numbers (bases, ramps' ends), so that tables agree to the last bits.
#include <cmath>
#include <numbers>

#include "models/parts.h"

namespace moiety {
namespace {

float power(double base, int64_t i, int64_t dim) {
  const float exponent = static_cast<float>(2 * i) / static_cast<float>(dim);
  return static_cast<float>(std::pow(base, static_cast<double>(exponent)));
}

double magnitude_of(double scale, double mscale) { return scale <= 1 ? 1 : 0.1 * mscale * std::log(scale) + 1; }

// YaRN: dimensions that turn often keep their frequency, those that turn rarely are interpolated, a ramp between.
RopeTable yarn(const RopeConfig& r, int64_t dim, int64_t original) {
  const auto correction_dim = [&](double rotations) {
    return static_cast<double>(dim) * std::log(static_cast<double>(original) / (rotations * 2 * std::numbers::pi)) /
           (2 * std::log(r.theta));
  };
  double low = correction_dim(r.beta_fast), high = correction_dim(r.beta_slow);
  if (r.truncate) low = std::floor(low), high = std::ceil(high);
  low = std::max(low, 0.0), high = std::min(high, static_cast<double>(dim - 1));
  if (low == high) high += 0.001;
  RopeTable table;
  for (int64_t i = 0; i < dim / 2; ++i) {
    const float p = power(r.theta, i, dim);
    const float ramp =
        std::clamp((static_cast<float>(i) - static_cast<float>(low)) / static_cast<float>(high - low), 0.0f, 1.0f);
    const float keep = 1 - ramp;
    table.frequencies.push_back(1 / (static_cast<float>(r.factor) * p) * (1 - keep) + 1 / p * keep);
  }
  double magnitude = magnitude_of(r.factor, 1);
  if (r.mscale != 0 && r.mscale_all_dim != 0)
    magnitude = magnitude_of(r.factor, r.mscale) / magnitude_of(r.factor, r.mscale_all_dim);
  table.magnitude = static_cast<float>(r.attention_factor.value_or(magnitude));
  return table;
}

RopeTable longrope(const RopeConfig& r, int64_t dim, int64_t original, int64_t context) {
  const std::vector<float>& divisors = context > original ? r.long_factor : r.short_factor;
  RopeTable table;
  for (int64_t i = 0; i < dim / 2; ++i) {
    table.frequencies.push_back(1 / (divisors[static_cast<size_t>(i)] * power(r.theta, i, dim)));
  }

  const double magnitude =
      r.factor <= 1 ? 1 : std::sqrt(1 + std::log(r.factor) / std::log(static_cast<double>(original)));
  table.magnitude = static_cast<float>(r.attention_factor.value_or(magnitude));
  return table;
}

// Llama 3: long wavelengths are divided by the factor, short ones kept, a smooth step between.
float llama3(const RopeConfig& r, float frequency, int64_t original) {
  const auto context = static_cast<double>(original);
  const double wavelength = 2 * std::numbers::pi / static_cast<double>(frequency);
  if (wavelength < context / r.high_freq_factor) return frequency;
  if (wavelength > context / r.low_freq_factor) return frequency / static_cast<float>(r.factor);
  const auto smooth =
      static_cast<float>((context / wavelength - r.low_freq_factor) / (r.high_freq_factor - r.low_freq_factor));
  return (1 - smooth) * frequency / static_cast<float>(r.factor) + smooth * frequency;
}

}  // namespace

RopeTable rope_table(const RopeConfig& r, int head_dim, int64_t model_context, int64_t context) {
  const auto dim = static_cast<int64_t>(head_dim * r.partial);
  const int64_t original = r.original_context > 0 ? r.original_context : model_context;
  if (r.kind == RopeKind::kYarn) return yarn(r, dim, original);
  if (r.kind == RopeKind::kLongRope) return longrope(r, dim, original, context);
  double theta = r.theta;
  if (r.kind == RopeKind::kDynamic && context > model_context && dim > 2) {
    const double stretch =
        r.factor * static_cast<double>(context) / static_cast<double>(model_context) - (r.factor - 1);
    theta *= std::pow(stretch, static_cast<double>(dim) / static_cast<double>(dim - 2));
  }
  RopeTable table;
  for (int64_t i = 0; i < dim / 2; ++i) {
    float frequency = 1 / power(theta, i, dim);
    if (r.kind == RopeKind::kLinear) frequency /= static_cast<float>(r.factor);
    if (r.kind == RopeKind::kLlama3) frequency = llama3(r, frequency, original);
    if (!r.divisors.empty()) frequency /= r.divisors[static_cast<size_t>(i)];
    table.frequencies.push_back(frequency);
  }
  table.magnitude = static_cast<float>(r.attention_factor.value_or(1));
  return table;
}

}  // namespace moiety
