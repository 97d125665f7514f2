// A GGUF file as a model: its hyper-parameters, the names of its tensors, its tokenizer.
#include "runtime/gguf_model.h"
#include "tests/fuzz/input_folder.h"
#include "tests/fuzz/use_tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace moiety;
  using namespace moiety::test;
  const InputFolder folder;
  expect_error_only([&] {
    const ModelSource source = read_gguf_model(folder.put("m.gguf", {data, size}));
    if (source.tokenizer) use_tokenizer(source.tokenizer);
  });
  return 0;
}
