// MappedFile: a file mapped read-only. Opening refuses anything that is not a regular file. Any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

namespace moiety {

class MappedFile {
 public:
  explicit MappedFile(const std::filesystem::path& path);  // throws Error kIo
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  // Bytes [offset, offset + out.size()), read past the mapping: no page of it becomes resident. Throws Error kIo, also
  // where the file is no longer the one that was mapped, or shorter than it was.
  void read(uint64_t offset, std::span<std::byte> out) const;
  // Gives back the memory of all pages; they are read again where they are touched.
  void release_pages() const;
  uint64_t size() const { return size_; }
  const std::filesystem::path& path() const { return path_; }
  std::string name() const { return path_.filename().string(); }

 private:
  std::filesystem::path path_;
  std::byte* data_ = nullptr;
  size_t size_ = 0;
  uint64_t device_ = 0, inode_ = 0;
};

}  // namespace moiety
