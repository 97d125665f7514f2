// config.json, and the same bytes as a generation_config.json. A configuration that is accepted gives finite rotary
// tables.
#include <algorithm>
#include <cmath>
#include <string_view>

#include "models/parts.h"
#include "runtime/hf_config.h"
#include "tests/fuzz/expect.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace moiety;
  using namespace moiety::test;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  expect_error_only([&] { read_generation_stops(text, "generation_config.json"); });
  expect_error_only([&] {
    const Config c = read_hf_config(text, "config.json").config;
    for (const int64_t context : {int64_t{1}, int64_t{c.context}, 2 * int64_t{c.context}}) {
      const RopeTable table = rope_table(c.rope, c.head_dim, c.context, context);
      require(std::ranges::all_of(table.frequencies, [](float f) { return std::isfinite(f); }));
    }
  });
  return 0;
}
