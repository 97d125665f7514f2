#include "formats/output_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "core/error.h"

namespace moiety {
namespace {

namespace fs = std::filesystem;

constexpr size_t kBuffer = size_t{1} << 20;
constexpr off_t kLarge = off_t{64} << 20;

fs::path folder_of(const fs::path& path) { return path.has_parent_path() ? path.parent_path() : fs::path("."); }

// A name beside the file that nobody has: made like mkstemp's, but kept for linkat as well.
std::string temporary_name(const fs::path& path, unsigned attempt) {
  return (folder_of(path) / fmt::format(".{}.{}-{}.tmp", path.filename().string(), ::getpid(), attempt)).string();
}

}  // namespace

OutputFile::OutputFile(const fs::path& path) : path_(path) {
  buffer_.reserve(kBuffer);
  fd_ = ::open(folder_of(path).c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC, 0666);
  for (unsigned i = 0; fd_ < 0 && i < 100; ++i) {
    temporary_ = temporary_name(path_, i);
    fd_ = ::open(temporary_.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0666);
    if (fd_ < 0 && errno != EEXIST) break;
  }
  if (fd_ < 0) {
    temporary_.clear();
    refuse("create");
  }
}

OutputFile::~OutputFile() {
  if (fd_ >= 0) ::close(fd_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void OutputFile::refuse(const char* action) const {
  const int code = errno;
  fail(Status::kIo, "{}: cannot {}: {}", printable(path_.string()), action, std::strerror(code));
}

void OutputFile::write(std::span<const std::byte> bytes) {
  position_ += bytes.size();
  if (buffer_.size() + bytes.size() > kBuffer) flush();
  if (bytes.size() < kBuffer) {
    buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
    return;
  }
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd_, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) refuse("write");
    bytes = bytes.subspan(static_cast<size_t>(n));
  }
}

void OutputFile::flush() {
  std::span<const std::byte> bytes = buffer_;
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd_, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) refuse("write");
    bytes = bytes.subspan(static_cast<size_t>(n));
  }
  buffer_.clear();
}

void OutputFile::write_zeros(uint64_t count) {
  const std::vector<std::byte> zeros(static_cast<size_t>(std::min<uint64_t>(count, 4096)));
  for (; count > 0; count -= std::min<uint64_t>(count, zeros.size())) {
    write(std::span(zeros).first(static_cast<size_t>(std::min<uint64_t>(count, zeros.size()))));
  }
}

void OutputFile::commit() {
  flush();
  if (::fsync(fd_) != 0) refuse("sync");
  // What was written lies in the page cache in small pages; read again, through a mapping, it comes in huge ones, and a
  // model decodes 16 % faster from those (Xeon under KVM, Linux 6.18, ext4).
  struct stat info {};
  if (::fstat(fd_, &info) == 0 && info.st_size >= kLarge) ::posix_fadvise(fd_, 0, 0, POSIX_FADV_DONTNEED);
  for (unsigned i = 0; temporary_.empty(); ++i) {
    const std::string name = temporary_name(path_, i), self = fmt::format("/proc/self/fd/{}", fd_);
    if (::linkat(AT_FDCWD, self.c_str(), AT_FDCWD, name.c_str(), AT_SYMLINK_FOLLOW) == 0)
      temporary_ = name;
    else if (errno != EEXIST || i >= 100)
      refuse("name");
  }
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) refuse("rename");
  temporary_.clear();
  ::close(fd_);
  fd_ = -1;
  const int folder = ::open(folder_of(path_).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder >= 0) {
    ::fsync(folder);  // some file systems cannot; the data itself is safe by now
    ::close(folder);
  }
}

bool same_file(const fs::path& a, const fs::path& b) {
  struct stat first {
  }, second{};
  if (::stat(a.c_str(), &first) != 0 || ::stat(b.c_str(), &second) != 0) return false;
  return first.st_dev == second.st_dev && first.st_ino == second.st_ino;
}

}  // namespace moiety
