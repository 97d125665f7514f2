// The pickle machine by itself.
#include "tests/fuzz/read_formats.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace moiety;
  using namespace moiety::test;
  expect_error_only([&] {
    const Pickle pickle({{reinterpret_cast<const std::byte*>(data), size}, "input", 0});
    size_t budget = 1000;
    touch_pickle(pickle.root(), budget);
  });
  return 0;
}
