// tokenizer.json and what stands beside it: length, tokenizer.json, length, tokenizer_config.json, the rest as
// generation_config.json. The whole input is tried as a tokenizer.json too.
#include "tests/fuzz/input_folder.h"
#include "tests/fuzz/use_tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace moiety;
  using namespace moiety::test;
  const auto text = [](std::span<const uint8_t> bytes) {
    return std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  };
  std::span<const uint8_t> rest(data, size);
  TokenizerFiles files;
  files.tokenizer_json = text(rest);
  expect_error_only([&] { use_tokenizer(Tokenizer::from_json(files)); });
  files.tokenizer_json = text(next_piece(rest));
  files.tokenizer_config_json = text(next_piece(rest));
  files.generation_config_json = text(rest);
  expect_error_only([&] { use_tokenizer(Tokenizer::from_json(files)); });
  return 0;
}
