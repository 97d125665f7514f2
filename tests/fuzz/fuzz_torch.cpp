// A .pt file, either container.
#include "tests/fuzz/input_folder.h"
#include "tests/fuzz/read_formats.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace moiety::test;
  const InputFolder folder;
  expect_error_only([&] { read_torch(folder.put("m.pt", {data, size})); });
  return 0;
}
