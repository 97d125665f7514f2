// A fairseq checkpoint: length, x.pt; or length, x-shared.pt, length, x-rank-0.pt, length, x-rank-1.pt.
#include "runtime/load.h"
#include "tests/fuzz/expect.h"
#include "tests/fuzz/input_folder.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace moiety;
  using namespace moiety::test;
  const InputFolder folder;
  std::span<const uint8_t> rest(data, size);
  const auto first = next_piece(rest);
  folder.put(rest.empty() ? "x.pt" : "x-shared.pt", first);
  for (int rank = 0; rank < 2 && !rest.empty(); ++rank) folder.put("x-rank-" + std::to_string(rank) + ".pt", next_piece(rest));
  expect_error_only([&] { load_model(folder.path() / "x.pt", {.backends = {"reference"}, .threads = 1, .max_rows = 8}); });
  return 0;
}
