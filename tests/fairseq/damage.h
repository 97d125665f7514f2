// Copies of the data folder that are wrong in one place, and how an outcome is printed.
#pragma once

#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <doctest/doctest.h>
#include <fstream>
#include <functional>

#include "checks.h"
#include "data_folder.h"
#include "npz.h"
#include "tests/formats/zip_bytes.h"

namespace moiety::test {

namespace fs = std::filesystem;

inline void print(const char* what, const Outcome& out) {
  std::printf("%s: %d checked, %d for information, %zu wrong\n", what, out.checked, out.information, out.wrong.size());
  for (const std::string& note : out.notes) std::printf("  %s\n", note.c_str());
  for (size_t i = 0; i < std::min<size_t>(out.wrong.size(), 20); ++i) std::printf("  %s\n", out.wrong[i].c_str());
}

// A copy of part of the data, gone with this.
struct Copy {
  fs::path path;
  explicit Copy(const char* part)
      : path(fs::temp_directory_path() / fmt::format("moiety-fairseq-{}-{}", getpid(), part)) {
    fs::remove_all(path);
    fs::create_directories(path);
    fs::copy(data_folder / part, path / part, fs::copy_options::recursive);
  }
  ~Copy() {
    std::error_code code;
    fs::remove_all(path, code);
  }
};

// Changes one item of an array of an archive; its last `item` bytes are given to `change`.
inline void damage(const fs::path& file, const std::string& array, size_t item, const std::function<void(char*)>& change) {
  ZipBytes out;
  {
    const ZipDirectory zip(std::make_shared<const MappedFile>(file));
    for (const ZipEntry& entry : zip.entries()) {
      std::vector<std::byte> memory;
      const auto content = zip.content(entry, memory, {.bytes = uint64_t{1} << 30, .ratio = 2000});
      std::string data(reinterpret_cast<const char*>(content.data()), content.size());
      if (entry.name == array + ".npy") change(data.data() + data.size() - item);
      out.add(std::string(entry.name), std::move(data));
    }
  }
  const std::string bytes = out.bytes();
  std::ofstream(file, std::ios::binary | std::ios::trunc).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

template <class T>
std::function<void(char*)> plus(T step) {
  return [step](char* at) {
    T value;
    std::memcpy(&value, at, sizeof value);
    value += step;
    std::memcpy(at, &value, sizeof value);
  };
}

}  // namespace moiety::test
