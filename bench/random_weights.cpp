#include "bench/random_weights.h"

#include <algorithm>
#include <cmath>

#include "core/blocks.h"
#include "core/error.h"

namespace moiety::bench {
namespace {

// Random bits with scales that give values of about that deviation: for types that core/blocks.h does not encode.
void random_blocks(DType type, float deviation, std::mt19937& rng, std::span<std::byte> blocks) {
  for (std::byte& byte : blocks) byte = static_cast<std::byte>(rng());
  const size_t bytes = dtype_info(type).bytes;
  for (size_t at = 0; at < blocks.size(); at += bytes) {
    std::byte* block = blocks.data() + at;
    const auto put = [&](size_t offset, float value) { encode(DType::kF16, &value, block + offset, 1); };
    switch (type) {
      case DType::kMXFP4:
        *block = static_cast<std::byte>(127 + std::lround(std::log2(deviation / 2.9f)));
        break;
      case DType::kQ5_0:
        put(0, deviation / 9.2f);
        break;
      case DType::kQ5_1:
        put(0, deviation / 9.2f), put(2, deviation / 9.2f * -15.5f);
        break;
      case DType::kQ5_K:
        put(0, deviation / 500), put(2, deviation / 500 * 15.5f);
        break;
      default:
        fail(Status::kInternal, "no random blocks of {}", dtype_info(type).name);
    }
  }
}

bool is_encoded(DType type) {
  return type != DType::kMXFP4 && type != DType::kQ5_0 && type != DType::kQ5_1 && type != DType::kQ5_K;
}

}  // namespace

void RandomWeights::write(DType type, Fill fill, int64_t count,
                          const std::function<void(std::span<const std::byte>)>& put) {
  if (fill == Fill::kOnes) {
    const std::vector<float> ones(static_cast<size_t>(count), 1.0f);
    std::vector<std::byte> bytes(dtype_bytes(type, count));
    encode(type, ones.data(), bytes.data(), count);
    return put(bytes);
  }
  auto& blocks = pool_[{type, fill}];
  if (blocks.empty()) {
    constexpr int64_t kValues = 1 << 21;
    const float deviation = fill == Fill::kEmbedding ? 4.0f : 0.02f;
    blocks.resize(dtype_bytes(type, kValues));
    if (is_encoded(type)) {
      std::normal_distribution<float> normal(0, deviation);
      std::vector<float> values(kValues);
      for (float& v : values) v = normal(rng_);
      encode(type, values.data(), blocks.data(), kValues);
    } else {
      random_blocks(type, deviation, rng_, blocks);
    }
  }
  // From a place that moves on.
  const size_t block = dtype_info(type).bytes;
  size_t at = rng_() % (blocks.size() / block) * block, left = dtype_bytes(type, count);
  while (left > 0) {
    const size_t piece = std::min(left, blocks.size() - at);
    put({blocks.data() + at, piece});
    left -= piece;
    at = 0;
  }
}

}  // namespace moiety::bench
