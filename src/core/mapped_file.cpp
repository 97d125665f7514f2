#include "core/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "core/error.h"

namespace moiety {

MappedFile::MappedFile(const std::filesystem::path& path) : path_(path) {
  // O_NONBLOCK: opening a FIFO must not wait for a writer.
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) fail(Status::kIo, "{}: {}", printable(path.string()), std::strerror(errno));
  struct stat info {};
  const int stat_result = ::fstat(fd, &info);
  const int stat_error = errno;
  if (stat_result != 0 || !S_ISREG(info.st_mode)) {
    ::close(fd);
    fail(Status::kIo, "{}: {}", printable(path.string()),
         stat_result != 0 ? std::strerror(stat_error) : "expected a regular file");
  }
  size_ = static_cast<size_t>(info.st_size);
  if (size_ > 0) {
    void* map = ::mmap(nullptr, size_, PROT_READ, MAP_SHARED, fd, 0);
    const int map_error = errno;
    ::close(fd);
    if (map == MAP_FAILED)
      fail(Status::kIo, "{}: cannot map {} bytes: {}", printable(path.string()), size_, std::strerror(map_error));
    data_ = static_cast<std::byte*>(map);
    // A hint: what is read from disk now comes in huge pages where the file system has them. Decoding walks through
    // gigabytes, and page walks took 15 % of its time (Zen 4 under KVM, ext4).
    ::madvise(map, size_, MADV_HUGEPAGE);
  } else {
    ::close(fd);
  }
}

MappedFile::~MappedFile() {
  if (data_) ::munmap(data_, size_);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)), data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

}  // namespace moiety
