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
#include "runtime/fairseq_checkpoint.h"
#include "tests/formats/zip_bytes.h"

namespace moiety::test {

namespace fs = std::filesystem;

inline void print(const char* what, const Outcome& out) {
  std::printf("%s: %d checked, %d for information, %zu wrong\n", what, out.checked, out.information, out.wrong.size());
  for (const auto& [name, count] : out.rows) std::printf("  %s: %d\n", name.c_str(), count);
  for (const std::string& note : out.notes) std::printf("  %s\n", note.c_str());
  for (size_t i = 0; i < std::min<size_t>(out.wrong.size(), 20); ++i) std::printf("  %s\n", out.wrong[i].c_str());
}

// A copy of part of the data, gone with this.
struct Copy {
  fs::path path;
  explicit Copy(const fs::path& part)
      : path(fs::temp_directory_path() / fmt::format("moiety-fairseq-{}-{}", getpid(), part.filename().string())) {
    fs::remove_all(path);
    fs::create_directories((path / part).parent_path());
    fs::copy(data_folder / part, path / part, fs::copy_options::recursive);
    for (const auto& entry : fs::recursive_directory_iterator(path))  // the data may be read-only
      fs::permissions(entry.path(), fs::perms::owner_write, fs::perm_options::add);
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

// Turns the sign of the last value of a tensor of a checkpoint's file, f16 or f32.
inline void damage_weight(const fs::path& checkpoint, const std::string& tensor) {
  fs::path file;
  uint64_t at = 0;
  {
    const FairseqFiles files = find_fairseq_files(checkpoint);
    const FairseqCheckpoint read = read_fairseq_checkpoint(files);
    const FairseqTensor* found = read.find(tensor);
    REQUIRE(found != nullptr);
    const size_t shared = files.shared.size();
    file = (found->file < shared ? files.shared[found->file] : files.ranks[found->file - shared]).path;
    at = found->tensor.offset + found->tensor.elements() * found->tensor.item_bytes - 1;
  }
  std::fstream stream(file, std::ios::binary | std::ios::in | std::ios::out);
  char value = 0;
  stream.seekg(static_cast<std::streamoff>(at)).get(value);
  stream.seekp(static_cast<std::streamoff>(at)).put(static_cast<char>(value ^ 0x80));
  REQUIRE(stream.flush().good());
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
