// The files of one fuzz input, in a folder in memory that goes away.
#pragma once

#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>

namespace moiety::test {

class InputFolder {
 public:
  InputFolder() {
    char memory[] = "/dev/shm/moiety-fuzz-XXXXXX", disk[] = "/tmp/moiety-fuzz-XXXXXX";
    if (mkdtemp(memory))
      path_ = memory;
    else if (mkdtemp(disk))
      path_ = disk;
    else
      std::abort();
  }
  ~InputFolder() {
    std::error_code code;
    std::filesystem::remove_all(path_, code);
  }
  InputFolder(const InputFolder&) = delete;
  InputFolder& operator=(const InputFolder&) = delete;

  std::filesystem::path put(const std::string& name, std::span<const uint8_t> bytes) const {
    std::ofstream(path_ / name, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    return path_ / name;
  }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

// Cuts an input into files: each piece follows its length, a little-endian u32; the last may be short.
inline std::span<const uint8_t> next_piece(std::span<const uint8_t>& rest) {
  size_t length = 0;
  for (size_t i = 0; i < 4 && i < rest.size(); ++i) length |= static_cast<size_t>(rest[i]) << (8 * i);
  rest = rest.subspan(std::min<size_t>(4, rest.size()));
  const auto piece = rest.first(std::min(length, rest.size()));
  rest = rest.subspan(piece.size());
  return piece;
}

}  // namespace moiety::test
