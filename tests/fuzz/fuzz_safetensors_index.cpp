// An index and its two shards a.safetensors and b.safetensors: length, file, length, file, length, file.
#include "tests/fuzz/input_folder.h"
#include "tests/fuzz/read_formats.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace moiety::test;
  const InputFolder folder;
  std::span<const uint8_t> rest(data, size);
  for (const char* name : {"model.safetensors.index.json", "a.safetensors", "b.safetensors"})
    folder.put(name, next_piece(rest));
  expect_error_only([&] { read_safetensors(folder.path()); });
  return 0;
}
