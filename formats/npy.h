// .npy, version 1.0, little-endian, C order: f4, f8, i4; bools are read too. Source: numpy's format specification (NEP 1).
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "formats/output_file.h"

namespace moiety {

// Written atomically. values.size() must be the product of the shape. Throws Error kInvalidArgument or kIo.
void write_npy(const std::filesystem::path& path, std::span<const float> values, std::span<const int64_t> shape);
void write_npy(const std::filesystem::path& path, std::span<const double> values, std::span<const int64_t> shape);
void write_npy(const std::filesystem::path& path, std::span<const int32_t> values, std::span<const int64_t> shape);

// f4 written as a stream: nothing appears under the name before commit().
class NpyWriter {
 public:
  NpyWriter(const std::filesystem::path& path, std::span<const int64_t> shape);
  void write(std::span<const float> values);  // the next values, in C order
  void commit();  // throws Error kInvalidArgument if there are not as many as the shape says

 private:
  OutputFile file_;
  std::filesystem::path path_;
  uint64_t missing_ = 0;
};

struct NpyArray {
  char kind = 'f';          // 'f', 'i' or 'b'
  uint32_t item_bytes = 4;  // 4, 8 or 1
  std::vector<int64_t> shape;
  std::vector<double> values;  // exact: every f4, f8, i4 and bool is a double
};

NpyArray read_npy(const std::filesystem::path& path);  // throws Error kFormat, kIo
NpyArray read_npy(std::span<const std::byte> file, const std::string& name);  // the same; `name` is for errors

}  // namespace moiety
