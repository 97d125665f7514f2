#include "core/mapped_file.h"

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "core/error.h"

using moiety::MappedFile;

TEST_CASE("a regular file is mapped, anything else is refused") {
  char folder[] = "/tmp/moiety-test-XXXXXX";
  REQUIRE(mkdtemp(folder) != nullptr);
  const std::filesystem::path dir = folder;
  std::ofstream(dir / "file") << "hello";
  std::ofstream(dir / "empty").flush();
  REQUIRE(mkfifo((dir / "fifo").c_str(), 0600) == 0);

  MappedFile file(dir / "file");
  CHECK(file.size() == 5);
  CHECK(static_cast<char>(file.bytes()[4]) == 'o');
  CHECK(MappedFile(dir / "empty").size() == 0);
  CHECK_THROWS_AS(MappedFile(dir / "missing"), moiety::Error);
  CHECK_THROWS_AS(MappedFile(dir / "fifo"), moiety::Error);
  CHECK_THROWS_AS(MappedFile{dir}, moiety::Error);
  std::filesystem::remove_all(dir);
}
