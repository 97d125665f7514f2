#include "record.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <ctime>

#include "commit.h"
#include "core/cpu_info.h"
#include "core/error.h"
#include "moiety.h"

namespace cli {
namespace {

nlohmann::ordered_json origin() {
  char date[32];
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  std::strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
  nlohmann::ordered_json out = {{"date", date}, {"version", moiety_version()}};
  if (kCommit[0]) out["commit"] = kCommit;
  out["cpu"] = moiety::cpu_info().model;
  return out;
}

// Others wait while one appends.
class Lock {
 public:
  explicit Lock(int fd) : fd_(fd) {
    while (flock(fd_, LOCK_EX) != 0 && errno == EINTR) {
    }
  }
  ~Lock() { flock(fd_, LOCK_UN); }
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;

 private:
  int fd_;
};

}  // namespace

Record::Record(const std::string& path) : path_(path) {
  fd_ = open(path.c_str(), O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
  if (fd_ < 0) refuse("open");
  struct stat info {};
  char first = '{';
  const bool readable = fstat(fd_, &info) == 0 && S_ISREG(info.st_mode) && pread(fd_, &first, 1, 0) >= 0;
  if (readable && first == '{') return;
  close(fd_);
  moiety::fail(moiety::Status::kInvalidArgument, "{}: is no file of JSON lines, nothing is appended to it",
               moiety::printable(path));
}

Record::~Record() { close(fd_); }

void Record::refuse(const char* action) const {
  moiety::fail(moiety::Status::kIo, "{}: can't {}: {}", moiety::printable(path_), action, std::strerror(errno));
}

void Record::append(const nlohmann::ordered_json& row) {
  nlohmann::ordered_json whole = origin();
  whole.update(row);
  std::string line = whole.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  const Lock lock(fd_);
  struct stat before {};
  char last = '\n';
  if (fstat(fd_, &before) != 0) refuse("read");
  if (before.st_size > 0 && pread(fd_, &last, 1, before.st_size - 1) != 1) refuse("read");
  if (last != '\n') line.insert(0, "\n");  // a line that was cut does not spoil this one
  for (size_t done = 0; done < line.size();) {
    const ssize_t wrote = write(fd_, line.data() + done, line.size() - done);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote > 0) {
      done += static_cast<size_t>(wrote);
      continue;
    }
    const int why = errno;
    if (ftruncate(fd_, before.st_size) != 0) refuse("write, and a part of a line stayed");
    errno = why;
    refuse("write");
  }
}

}  // namespace cli
