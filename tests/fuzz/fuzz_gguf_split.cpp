// A GGUF model of three files, opened by its second: length, file, length, file, length, file.
#include "tests/fuzz/input_folder.h"
#include "tests/fuzz/read_formats.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace moiety;
  using namespace moiety::test;
  const InputFolder folder;
  std::span<const uint8_t> rest(data, size);
  for (uint32_t i = 0; i < 3; ++i) folder.put(gguf_shard_name("m", i, 3), next_piece(rest));
  expect_error_only([&] { read_gguf(folder.path() / gguf_shard_name("m", 1, 3)); });
  return 0;
}
