// OutputFile: a file that appears under its name only when it is complete. It is written without a name in the same
// folder (or under a temporary one where the file system cannot do that), synced and renamed by commit(). Destroyed
// before that it leaves nothing, also when the process is killed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace moiety {

class OutputFile {
 public:
  explicit OutputFile(const std::filesystem::path& path);  // all members throw Error(kIo) where the system refuses
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  void write(std::span<const std::byte> bytes);
  void write(const void* data, size_t bytes) { write({static_cast<const std::byte*>(data), bytes}); }
  void write_zeros(uint64_t count);
  uint64_t position() const { return position_; }
  void commit();  // replaces what stood under the name

 private:
  void flush();
  [[noreturn]] void refuse(const char* action) const;

  std::filesystem::path path_, temporary_;  // temporary_ is empty while the file has no name
  int fd_ = -1;
  uint64_t position_ = 0;
  std::vector<std::byte> buffer_;
};

// True if both paths name one existing file (also by links): what a converter must refuse as output.
bool same_file(const std::filesystem::path& a, const std::filesystem::path& b);

}  // namespace moiety
