// Helpers of the format tests: a folder that goes away, files built byte by byte, and errors looked at closely.
#pragma once

#include <doctest/doctest.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include "core/error.h"

namespace moiety::test {

struct TempFolder {
  TempFolder() {
    // In memory if there is such a place: a disk takes minutes for the tens of thousands of broken files.
    char memory[] = "/dev/shm/moiety-test-XXXXXX", disk[] = "/tmp/moiety-test-XXXXXX";
    const char* folder = mkdtemp(memory);
    if (!folder) folder = mkdtemp(disk);
    REQUIRE(folder != nullptr);
    path = folder;
  }
  ~TempFolder() { std::filesystem::remove_all(path); }
  std::filesystem::path put(const std::string& name, std::string_view bytes) const {
    std::ofstream(path / name, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    return path / name;
  }
  std::filesystem::path path;
};

inline std::string slurp(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// Little-endian numbers and strings one after the other.
struct Bytes {
  std::string data;
  template <class T>
  Bytes& number(T value) {
    data.append(reinterpret_cast<const char*>(&value), sizeof value);
    return *this;
  }
  Bytes& u8(uint8_t v) { return number(v); }
  Bytes& u32(uint32_t v) { return number(v); }
  Bytes& u64(uint64_t v) { return number(v); }
  Bytes& raw(std::string_view text) {
    data += text;
    return *this;
  }
  Bytes& string(std::string_view text) { return u64(text.size()).raw(text); }
  Bytes& pad(size_t alignment) {
    data.resize((data.size() + alignment - 1) / alignment * alignment);
    return *this;
  }
  Bytes& zeros(size_t count) {
    data.resize(data.size() + count);
    return *this;
  }
};

// The message of the Error(kFormat) that `action` throws; fails the test if it throws anything else or nothing.
template <class Action>
std::string format_error(const Action& action) {
  try {
    action();
  } catch (const Error& error) {
    CHECK(error.status() == Status::kFormat);
    return error.what();
  }
  FAIL_CHECK("no error was thrown");
  return "";
}

// How much longer a limit on time is in this build: sanitizers multiply the time of memory accesses.
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define MOIETY_SLOW_BUILD 8
#elif __has_feature(address_sanitizer)
#define MOIETY_SLOW_BUILD 4
#endif
#endif
#ifndef MOIETY_SLOW_BUILD
#define MOIETY_SLOW_BUILD 1
#endif

// CPU seconds that `action` takes: wall time would measure the other programs of the machine too.
template <class Action>
double cpu_seconds(const Action& action) {
  const std::clock_t begin = std::clock();
  action();
  return static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC / MOIETY_SLOW_BUILD;
}

inline bool contains(const std::string& text, std::string_view part) {
  if (text.find(part) != std::string::npos) return true;
  MESSAGE("got: ", text);
  return false;
}

}  // namespace moiety::test
