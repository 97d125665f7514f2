// The one error type of the library. An error says its subject (a file, a tensor, a request), what was expected and
// what was found. It is thrown inside the library and becomes a status and a message at the C API.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>

namespace moiety {

enum class Status {
  kOk = 0,
  kInvalidArgument,  // the caller's fault: a bad flag, a token id out of range
  kIo,               // the system refused: missing file, permission, full disk
  kFormat,           // a file is broken or hostile
  kUnsupported,      // a valid wish that is not built
  kNumeric,          // NaN or infinity where a number must be
  kCancelled,        // the cancel token was set
  kContextFull,      // the session's context has no room left
  kOutOfMemory,
  kInternal,         // our own mistake
};

const char* status_name(Status status);

class Error : public std::runtime_error {
 public:
  Error(Status status, const std::string& message) : std::runtime_error(message), status_(status) {}
  Status status() const { return status_; }

 private:
  Status status_;
};

// Throws Error with a formatted message: fail(Status::kFormat, "{} @{:#x}: {}", file, offset, what).
template <class... Args>
[[noreturn]] void fail(Status status, fmt::format_string<Args...> format, Args&&... args) {
  throw Error(status, fmt::format(format, std::forward<Args>(args)...));
}

// A name from a file or a user as an error may show it: control bytes and invalid UTF-8 escaped, cut at 128 bytes.
std::string printable(std::string_view name);

}  // namespace moiety
