// A safetensors file. The header's length is put in front of inputs, so that mutations need not keep it right; the
// first byte says how much of the input is header.
#include <vector>

#include "tests/fuzz/input_folder.h"
#include "tests/fuzz/read_formats.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace moiety::test;
  if (size == 0) return 0;
  const size_t data_bytes = std::min<size_t>(data[0], size - 1);
  const uint64_t header = size - 1 - data_bytes;
  std::vector<uint8_t> file;
  for (int i = 0; i < 8; ++i) file.push_back(static_cast<uint8_t>(header >> (8 * i)));
  file.insert(file.end(), data + 1, data + size);
  const InputFolder folder;
  expect_error_only([&] { read_safetensors(folder.put("whole.safetensors", {data, size})); });
  expect_error_only([&] { read_safetensors(folder.put("header.safetensors", file)); });
  return 0;
}
