#include "graph/batch.h"

#include <algorithm>
#include <cstring>
#include <fstream>
#include <string>
#include <tuple>
#include <vector>

#include <doctest/doctest.h>

#include "core/error.h"

using namespace moiety;

namespace {

long resident_kib() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.rfind("RssAnon:", 0) == 0) return std::stol(line.substr(8));
  return -1;
}

}  // namespace

TEST_CASE("KvCache rows do not overlap and keep what is written") {
  const KvCache cache(2, 3, 8, 1300, DType::kF16, DType::kF32);
  CHECK(cache.key_row_bytes() == 16);
  CHECK(cache.value_row_bytes() == 32);
  CHECK(cache.bytes() == 2 * 3 * 1300 * (16 + 32));
  REQUIRE(cache.segments() == 3);
  for (const auto& [segment, begin, end] : {std::tuple(0, 0, 512), std::tuple(1, 512, 1024), std::tuple(2, 1024, 1300)}) {
    CHECK(cache.segment_begin(segment) == begin);
    CHECK(cache.segment_end(segment) == end);
    CHECK(KvCache::segment_of(begin) == segment);
    CHECK(KvCache::segment_of(end - 1) == segment);
    CHECK(cache.keys(1, 2, end - 1) == cache.keys(1, 2, begin) + static_cast<size_t>(end - 1 - begin) * cache.key_row_bytes());
  }
  CHECK(cache.values(1, 2, 1299) + 32 == cache.keys(0, 0, 0) + cache.bytes());
  CHECK(KvCache(1, 1, 8, 512, DType::kF16, DType::kF16).segments() == 1);
  uint8_t mark = 1;
  const auto each = [&](auto&& body) {
    mark = 1;
    for (int layer = 0; layer < 2; ++layer)
      for (int head = 0; head < 3; ++head)
        for (int64_t p : {0, 1, 511, 512, 1023, 1024, 1299}) {
          body(cache.keys(layer, head, p), cache.key_row_bytes());
          body(cache.values(layer, head, p), cache.value_row_bytes());
        }
  };
  each([&](std::byte* row, size_t size) { std::memset(row, mark++, size); });
  each([&](std::byte* row, size_t size) {
    for (size_t i = 0; i < size; ++i) CHECK(row[i] == std::byte{mark});
    ++mark;
  });
}

TEST_CASE("untouched pages of a KvCache cost nothing") {
  const long before = resident_kib();
  REQUIRE(before >= 0);
  const KvCache cache(16, 16, 128, 32768, DType::kF16, DType::kF16);  // 4 GiB reserved
  std::memset(cache.keys(3, 2, 0), 1, 4096);
  CHECK(resident_kib() - before < 16 * 1024);
}

TEST_CASE("KvCache refuses what it can't hold") {
  CHECK_THROWS_AS(KvCache(1, 1, 8, 4, DType::kQ8_0, DType::kF16), Error);
  CHECK_THROWS_AS(KvCache(1, 1, 8, 4, DType::kF16, DType::kBF16), Error);
  CHECK_THROWS_AS(KvCache(1, 1, 8, 0, DType::kF16, DType::kF16), Error);
  CHECK_THROWS_AS(KvCache(1 << 30, 1 << 30, 1 << 30, 1 << 30, DType::kF32, DType::kF32), Error);
}

TEST_CASE("Routing::at keeps its arrays apart and inside bytes()") {
  for (const int64_t rows : {0, 1, 7, 512}) {
    const int experts = 13, top_k = 3;
    Buffer memory(Routing::bytes(rows, experts, top_k));
    const Routing routing = Routing::at(memory.data(), rows, experts, top_k);
    const auto n = rows * top_k;
    std::fill(routing.offsets, routing.offsets + experts + 1, 1);
    std::fill(routing.row, routing.row + n, 2);
    std::fill(routing.slot, routing.slot + n, 3);
    std::fill(routing.weight, routing.weight + n, 4.0f);
    CHECK(std::count(routing.offsets, routing.offsets + experts + 1, 1) == experts + 1);
    CHECK(std::count(routing.row, routing.row + n, 2) == n);
    CHECK(std::count(routing.slot, routing.slot + n, 3) == n);
    CHECK(reinterpret_cast<std::byte*>(routing.weight + n) <= memory.data() + memory.size());
  }
}
