// Panels: every bit of every row comes back, whatever the shape.
#include <doctest/doctest.h>

#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "core/blocks.h"
#include "core/panels.h"

using namespace moiety;

TEST_CASE("panels give back every bit, and decode to the rows' values") {
  std::mt19937 rng(3);
  int types = 0;
  for (int i = 0; i < kDTypeCount; ++i) {
    const auto type = static_cast<DType>(i);
    if (!has_panels(type)) continue;
    ++types;
    CAPTURE(std::string(dtype_info(type).name));
    std::vector<int64_t> widths = {256, 768};
    if (dtype_info(type).block < 256) widths.insert(widths.end(), {32, 96, 288});
    if (dtype_info(type).block == 1) widths.insert(widths.end(), {1, 31, 33});
    for (int64_t k : widths) {
      CAPTURE(k);
      for (int64_t rows : {1, 16, 37}) {
        std::vector<std::byte> bytes(static_cast<size_t>(rows) * dtype_bytes(type, k));
        for (std::byte& byte : bytes) byte = static_cast<std::byte>(rng());
        const Tensor weight = make_tensor(bytes.data(), type, {rows, k});
        Tensor packed = make_panels(nullptr, type, rows, k);
        CHECK(packed.bytes() % (64 * kPanelRows / 16) == 0);
        std::vector<std::byte> panels(packed.bytes(), std::byte{0x5a});
        packed.data = panels.data();
        for (int64_t r = 0; r < rows; r += kPanelRows) pack_panel(weight, r, packed.row(r));
        std::vector<std::byte> row(dtype_bytes(type, k));
        std::vector<float> values(static_cast<size_t>(k)), expected(static_cast<size_t>(k));
        for (int64_t r = 0; r < rows; ++r) {
          panel_row(packed, r, row.data());
          CHECK(std::memcmp(row.data(), weight.row(r), row.size()) == 0);
          decode_row(packed, r, values.data());
          decode_row(weight, r, expected.data());
          CHECK(std::memcmp(values.data(), expected.data(), values.size() * 4) == 0);
        }
      }
    }
  }
  CHECK(types == 8);
}

TEST_CASE("panels are as large as the rows, or nearly") {
  for (int i = 0; i < kDTypeCount; ++i) {
    const auto type = static_cast<DType>(i);
    if (!has_panels(type)) continue;
    CAPTURE(std::string(dtype_info(type).name));
    const size_t rows = 16 * dtype_bytes(type, 2048);
    const auto panel = static_cast<size_t>(panel_parts(type, 2048).bytes);
    CHECK(panel >= rows);
    CHECK(panel <= rows * 103 / 100);
  }
}
