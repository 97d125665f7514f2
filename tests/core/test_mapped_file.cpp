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

TEST_CASE("bytes are read past the mapping") {
  char path[] = "/tmp/moiety-test-XXXXXX";
  const int fd = mkstemp(path);
  REQUIRE(write(fd, "0123456789", 10) == 10);
  close(fd);
  const MappedFile file(path);
  char out[4] = {};
  file.read(3, std::as_writable_bytes(std::span(out, 3)));
  CHECK(std::string(out) == "345");
  CHECK_THROWS_AS(file.read(8, std::as_writable_bytes(std::span(out, 3))), moiety::Error);
  file.release_pages();
  CHECK(static_cast<char>(file.bytes()[9]) == '9');
  std::filesystem::resize_file(path, 4);
  CHECK_THROWS_AS(file.read(3, std::as_writable_bytes(std::span(out, 3))), moiety::Error);
  std::filesystem::remove(path);
  CHECK_THROWS_AS(file.read(0, std::as_writable_bytes(std::span(out, 1))), moiety::Error);
}
