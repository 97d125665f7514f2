// SafetensorsWriter: writes one safetensors file as a stream. Say the tensors first, then give their bytes in that
// order, then commit(). Nothing appears under the name before. Throws Error(kInvalidArgument) on misuse, kIo where the
// system refuses.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/dtype.h"
#include "formats/output_file.h"

namespace moiety {

class SafetensorsWriter {
 public:
  explicit SafetensorsWriter(const std::filesystem::path& path) : file_(path) {}

  void set_metadata(std::string_view key, std::string_view value) { metadata_.emplace_back(key, value); }
  void add_tensor(std::string_view name, DType dtype, std::span<const int64_t> shape);  // F32, F16, BF16, I32
  void write(std::span<const std::byte> bytes);                                         // in pieces of any length
  void commit();                                                                        // every tensor must be complete

 private:
  void write_header();

  OutputFile file_;
  std::vector<std::pair<std::string, std::string>> metadata_;
  std::vector<std::string> names_, parts_;  // parts_: the tensors' members of the header
  uint64_t bytes_ = 0, written_ = 0;        // of the data in all
  bool header_written_ = false;
};

// model.safetensors.index.json for shards that were written: {tensor name, shard file name}, and their bytes in all.
void write_safetensors_index(const std::filesystem::path& path,
                             std::span<const std::pair<std::string, std::string>> weights, uint64_t total_bytes);

}  // namespace moiety
