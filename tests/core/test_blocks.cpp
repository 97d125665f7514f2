// The block codec against gguf-py's decoder, numpy's halves and llama.cpp's quantiser (fixtures: tools/make_golden.py
// blocks; their format is described in tools/golden/blocks.py).
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <limits>
#include <string>
#include <vector>

#include "core/blocks.h"
#include "core/error.h"

using namespace moiety;

namespace {

std::vector<char> fixture(const std::string& name) {
  std::ifstream file(std::string(MOIETY_SOURCE_DIR) + "/tests/core/fixtures/" + name, std::ios::binary);
  REQUIRE_MESSAGE(file.good(), "missing fixture ", name);
  return std::vector<char>(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
}

uint32_t hash(const float* values, size_t count) {
  uint32_t state = 2166136261u;
  for (size_t i = 0; i < count; ++i) {
    const uint32_t word = std::isnan(values[i]) ? 0x7fc00000u : __builtin_bit_cast(uint32_t, values[i]);
    state = (state ^ word) * 16777619u;
  }
  return state;
}

std::string lower(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

std::string file_of(const char* what, DType type) {
  return std::string(what) + "_" + lower(dtype_info(type).name) + ".bin";
}

const DType kQuantised[] = {DType::kQ8_0,   DType::kQ4_0,   DType::kQ4_1, DType::kQ5_0, DType::kQ5_1,
                            DType::kQ2_K,   DType::kQ3_K,   DType::kQ4_K, DType::kQ5_K, DType::kQ6_K,
                            DType::kIQ4_NL, DType::kIQ4_XS, DType::kMXFP4};

}  // namespace

TEST_CASE("fp16 to f32: all 65,536 values equal numpy's") {
  const std::vector<char> data = fixture("halves.bin");
  for (uint32_t high = 0; high < 256; ++high) {
    float values[256];
    for (uint32_t low = 0; low < 256; ++low) values[low] = f16_to_f32(static_cast<uint16_t>(high << 8 | low));
    CHECK(hash(values, 256) == load_u32(data.data() + 4 * high));
  }
}

TEST_CASE("fp16 and bf16 survive the way to f32 and back, NaN stays NaN") {
  for (uint32_t i = 0; i < 65536; ++i) {
    const auto bits = static_cast<uint16_t>(i);
    const float half = f16_to_f32(bits), brain = bf16_to_f32(bits);
    const bool half_ok = std::isnan(half) ? std::isnan(f16_to_f32(f32_to_f16(half))) : f32_to_f16(half) == bits;
    const bool brain_ok = std::isnan(brain) ? std::isnan(bf16_to_f32(f32_to_bf16(brain))) : f32_to_bf16(brain) == bits;
    REQUIRE_MESSAGE(half_ok, i);
    REQUIRE_MESSAGE(brain_ok, i);
  }
}

TEST_CASE("f32 to fp16 and bf16 rounds as numpy and gguf-py do") {
  const std::vector<char> data = fixture("halves.bin");
  const char* values = data.data() + 4 * 256;
  const char* halves = values + 4 * 2048;
  const char* brains = halves + 2 * 2048;
  REQUIRE(data.size() == 4 * 256 + 8 * 2048);
  for (size_t i = 0; i < 2048; ++i) {
    const float value = load_f32(values + 4 * i);
    if (std::isnan(value)) {
      CHECK(std::isnan(f16_to_f32(f32_to_f16(value))));
      CHECK(std::isnan(bf16_to_f32(f32_to_bf16(value))));
      continue;
    }
    CHECK_MESSAGE(f32_to_f16(value) == load_u16(halves + 2 * i), value);
    CHECK_MESSAGE(f32_to_bf16(value) == load_u16(brains + 2 * i), value);
  }
}

// Halfway between two neighbours goes to the even one, a little off to the nearer: for every pair of neighbours.
TEST_CASE("f32 to fp16: ties between all neighbours") {
  for (uint32_t i = 0; i < 0x7bff; ++i) {
    const float low = f16_to_f32(static_cast<uint16_t>(i)), high = f16_to_f32(static_cast<uint16_t>(i + 1));
    const float middle = low + (high - low) / 2;
    const uint32_t even = i & 1 ? i + 1 : i;
    REQUIRE(f32_to_f16(middle) == even);
    REQUIRE(f32_to_f16(std::nextafter(middle, 0.0f)) == i);
    REQUIRE(f32_to_f16(std::nextafter(middle, 1e30f)) == i + 1);
    REQUIRE(f32_to_f16(-middle) == (even | 0x8000));
  }
  CHECK(f32_to_f16(65519.996f) == 0x7bff);
  CHECK(f32_to_f16(65520.0f) == 0x7c00);
}

TEST_CASE("decoding equals gguf-py's, bit for bit, at any address") {
  for (DType type : kQuantised) {
    CAPTURE(std::string(dtype_info(type).name));
    const std::vector<char> data = fixture(file_of("decode", type));
    const uint32_t count = load_u32(data.data());
    const size_t bytes = dtype_info(type).bytes, values = dtype_info(type).block;
    REQUIRE(data.size() == 4 + count * (4 + bytes));
    const char* hashes = data.data() + 4;
    const char* blocks = hashes + 4 * count;
    std::vector<float> decoded(count * values, -1.0f);
    decode(type, blocks, decoded.data(), static_cast<int64_t>(decoded.size()));
    std::vector<char> shifted(count * bytes + 1);
    std::memcpy(shifted.data() + 1, blocks, count * bytes);
    std::vector<float> again(count * values);
    decode(type, shifted.data() + 1, again.data(), static_cast<int64_t>(again.size()));
    CHECK(std::memcmp(decoded.data(), again.data(), 4 * decoded.size()) == 0);
    for (uint32_t i = 0; i < count; ++i) CHECK(hash(&decoded[i * values], values) == load_u32(hashes + 4 * i));
  }
}

TEST_CASE("decoding under every fp16 scale") {
  const std::vector<char> data = fixture("decode_all_scales.bin");
  REQUIRE(data.size() == 4 * 256);
  std::vector<float> values(256 * 32);
  for (uint32_t high = 0; high < 256; ++high) {
    for (uint32_t low = 0; low < 256; ++low) {
      BlockQ4_0 block;
      store_u16(block.d, static_cast<uint16_t>(high << 8 | low));
      for (int i = 0; i < 16; ++i) block.q[i] = static_cast<uint8_t>(i | ((15 - i) << 4));
      decode(DType::kQ4_0, &block, &values[low * 32], 32);
    }
    CHECK(hash(values.data(), values.size()) == load_u32(data.data() + 4 * high));
  }
}

TEST_CASE("encoding writes the bytes of llama.cpp's quantiser") {
  const std::vector<char> raw = fixture("encode_values.bin");
  std::vector<float> values(raw.size() / 4);
  std::memcpy(values.data(), raw.data(), raw.size());
  for (DType type : {DType::kQ8_0, DType::kQ4_0, DType::kQ4_K, DType::kQ6_K}) {
    CAPTURE(std::string(dtype_info(type).name));
    const std::vector<char> expected = fixture(file_of("encode", type));
    REQUIRE(expected.size() == dtype_bytes(type, static_cast<int64_t>(values.size())));
    std::vector<char> encoded(expected.size(), 0x5a);
    encode(type, values.data(), encoded.data(), static_cast<int64_t>(values.size()));
    const size_t bytes = dtype_info(type).bytes;
    for (size_t at = 0; at < expected.size(); at += bytes) {
      CAPTURE(at / bytes);
      CHECK(std::memcmp(&encoded[at], &expected[at], bytes) == 0);
    }
  }
}

TEST_CASE("plain types: encode and decode") {
  const float values[4] = {1.5f, -0.25f, 1e-7f, 70000.0f};
  for (DType type : {DType::kF32, DType::kF16, DType::kBF16}) {
    CHECK(can_encode(type));
    char bytes[17];
    encode(type, values, bytes + 1, 4);
    float back[4];
    decode(type, bytes + 1, back, 4);
    CHECK(back[0] == 1.5f);
    CHECK(back[1] == -0.25f);
    CHECK(back[3] == (type == DType::kF16   ? std::numeric_limits<float>::infinity()
                      : type == DType::kF32 ? 70000.0f
                                            : bf16_to_f32(f32_to_bf16(70000.0f))));
  }
}

TEST_CASE("the codec refuses what it can't do") {
  float values[256] = {};
  char bytes[256];
  CHECK_THROWS_AS(decode(DType::kI32, bytes, values, 1), Error);
  CHECK_THROWS_AS(decode(DType::kQ4_0, bytes, values, 31), Error);
  CHECK_THROWS_AS(encode(DType::kQ8_0, values, bytes, -32), Error);
  for (DType type : kQuantised) {
    const bool can = can_encode(type);
    if (!can) CHECK_THROWS_AS(encode(type, values, bytes, 256), Error);
  }
  for (float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(), 1e20f}) {
    values[17] = bad;
    for (DType type : {DType::kQ8_0, DType::kQ4_0, DType::kQ4_K, DType::kQ6_K}) {
      std::vector<char> out(512);
      CHECK_THROWS_AS(encode(type, values, out.data(), 32 * (dtype_info(type).block / 32)), Error);
    }
  }
}

TEST_CASE("values too small for a scale encode as zero") {
  std::vector<float> values(256, 1e-40f);
  for (DType type : {DType::kQ8_0, DType::kQ4_0, DType::kQ4_K, DType::kQ6_K}) {
    std::vector<char> bytes(512);
    encode(type, values.data(), bytes.data(), 256);
    std::vector<float> back(256, 1.0f);
    decode(type, bytes.data(), back.data(), 256);
    for (float value : back) CHECK(value == 0.0f);
  }
}
