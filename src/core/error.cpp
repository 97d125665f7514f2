#include "core/error.h"

namespace moiety {

const char* status_name(Status status) {
  switch (status) {
    case Status::kOk: return "ok";
    case Status::kInvalidArgument: return "invalid argument";
    case Status::kIo: return "input/output error";
    case Status::kFormat: return "broken file";
    case Status::kUnsupported: return "unsupported";
    case Status::kNumeric: return "not a number";
    case Status::kCancelled: return "cancelled";
    case Status::kContextFull: return "context full";
    case Status::kOutOfMemory: return "out of memory";
    case Status::kInternal: return "internal error";
  }
  return "unknown status";
}

namespace {

// Length of the valid UTF-8 sequence at the start of `s`, or 0.
size_t utf8_length(std::string_view s) {
  auto byte = [&](size_t i) { return i < s.size() ? static_cast<unsigned char>(s[i]) : 0u; };
  auto tail = [&](size_t i) { return (byte(i) & 0xC0) == 0x80; };
  const unsigned b = byte(0);
  if (b < 0x80) return 1;
  if (b >= 0xC2 && b < 0xE0 && tail(1)) return 2;
  if (b >= 0xE0 && b < 0xF0 && tail(1) && tail(2)) {
    const unsigned point = ((b & 0x0F) << 12) | ((byte(1) & 0x3F) << 6);
    return point >= 0x800 && (point < 0xD800 || point >= 0xE000) ? 3 : 0;
  }
  if (b >= 0xF0 && b < 0xF5 && tail(1) && tail(2) && tail(3)) {
    const unsigned point = ((b & 0x07) << 18) | ((byte(1) & 0x3F) << 12);
    return point >= 0x10000 && point < 0x110000 ? 4 : 0;
  }
  return 0;
}

}  // namespace

std::string printable(std::string_view name) {
  constexpr size_t kLimit = 128;
  std::string out;
  for (size_t i = 0; i < name.size();) {
    const auto byte = static_cast<unsigned char>(name[i]);
    const size_t n = utf8_length(name.substr(i));
    const std::string piece = (byte < 0x20 || byte == 0x7F || n == 0 || (n == 2 && byte == 0xC2 && (name[i + 1] & 0x60) == 0))
                                  ? fmt::format("\\x{:02x}", byte)
                                  : std::string(name.substr(i, n));
    if (out.size() + piece.size() > kLimit) return out + "...";
    out += piece;
    i += n && piece[0] != '\\' ? n : 1;
  }
  return out;
}

}  // namespace moiety
