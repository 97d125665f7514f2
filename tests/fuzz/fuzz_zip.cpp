// A zip archive: the directory, and every record's content.
#include "formats/zip_directory.h"
#include "tests/fuzz/input_folder.h"
#include "tests/fuzz/read_formats.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace moiety;
  using namespace moiety::test;
  const InputFolder folder;
  expect_error_only([&] {
    const ZipDirectory zip(std::make_shared<MappedFile>(folder.put("a.zip", {data, size})));
    for (const ZipEntry& entry : zip.entries()) {
      require(zip.find(entry.name) == &entry);
      expect_error_only([&] {
        std::vector<std::byte> memory;
        const auto content = zip.content(entry, memory, {.bytes = 1 << 20});
        sum(content.data(), content.size());
      });
    }
  });
  return 0;
}
