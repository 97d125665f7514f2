// GgufWriter: writes a GGUF file of version 3 as a stream. Say metadata and tensors first, then give the tensors' bytes
// in that order, then commit(). Nothing appears under the name before. For a split model write one file a shard, named
// by gguf_shard_name(), each with set_split(). Throws Error(kInvalidArgument) on misuse, kIo where the system refuses.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/dtype.h"
#include "core/tensor.h"
#include "formats/gguf.h"
#include "formats/output_file.h"

namespace moiety {

class GgufWriter {
 public:
  explicit GgufWriter(const std::filesystem::path& path) : file_(path) {}

  void set_alignment(uint32_t alignment);  // a power of two of at most 64 KiB, 32 unless set; also writes its key
  void set_split(uint16_t number, uint16_t count, int32_t tensors_in_all);  // number from 0

  void set_u8(std::string_view key, uint8_t value) { scalar(key, GgufType::kU8, &value, sizeof value); }
  void set_i8(std::string_view key, int8_t value) { scalar(key, GgufType::kI8, &value, sizeof value); }
  void set_u16(std::string_view key, uint16_t value) { scalar(key, GgufType::kU16, &value, sizeof value); }
  void set_i16(std::string_view key, int16_t value) { scalar(key, GgufType::kI16, &value, sizeof value); }
  void set_u32(std::string_view key, uint32_t value) { scalar(key, GgufType::kU32, &value, sizeof value); }
  void set_i32(std::string_view key, int32_t value) { scalar(key, GgufType::kI32, &value, sizeof value); }
  void set_u64(std::string_view key, uint64_t value) { scalar(key, GgufType::kU64, &value, sizeof value); }
  void set_i64(std::string_view key, int64_t value) { scalar(key, GgufType::kI64, &value, sizeof value); }
  void set_f32(std::string_view key, float value) { scalar(key, GgufType::kF32, &value, sizeof value); }
  void set_f64(std::string_view key, double value) { scalar(key, GgufType::kF64, &value, sizeof value); }
  void set_bool(std::string_view key, bool value) { set_raw(key, GgufType::kBool, value); }
  void set_string(std::string_view key, std::string_view value);
  void set_strings(std::string_view key, std::span<const std::string_view> values);
  void set_floats(std::string_view key, std::span<const float> values) {
    array(key, GgufType::kF32, values.data(), values.size());
  }
  void set_i32s(std::string_view key, std::span<const int32_t> values) {
    array(key, GgufType::kI32, values.data(), values.size());
  }
  void set_u32s(std::string_view key, std::span<const uint32_t> values) {
    array(key, GgufType::kU32, values.data(), values.size());
  }
  void copy(const GgufValue& value);  // an entry of another file, whatever its type

  // shape: outermost first, 1 to 4 dims, 2 for panels. Names have up to 64 bytes, as llama.cpp takes them, or 128 in a
  // file with panels, which only we read.
  void add_tensor(std::string_view name, DType dtype, std::span<const int64_t> shape, Layout layout = Layout::kRows);
  void allow_panels() { longest_name_ = 128; }
  // A hash of the header, known when the first byte has been written: that of the file up to the first tensor.
  uint64_t header_hash() const { return header_hash_; }

  // Bytes of the tensors in the order they were added, in pieces of any length; padding is put in between.
  void write(std::span<const std::byte> bytes);
  void commit();  // every tensor must be complete

 private:
  struct Entry {
    std::string name;
    uint64_t bytes;
  };
  void set_raw(std::string_view key, GgufType type, bool value) {
    const uint8_t byte = value;
    scalar(key, type, &byte, 1);
  }
  void scalar(std::string_view key, GgufType type, const void* data, size_t bytes);
  void array(std::string_view key, GgufType type, const void* data, size_t count);
  void begin_value(std::string_view key);
  void put(std::string& out, const void* data, size_t bytes) { out.append(static_cast<const char*>(data), bytes); }
  void put_string(std::string& out, std::string_view text);
  void write_header();
  void pad();

  OutputFile file_;
  uint32_t alignment_ = 32;
  size_t longest_name_ = 64;
  uint64_t header_hash_ = 0;
  uint64_t keys_ = 0, offset_ = 0;  // offset_: where the next added tensor begins in the data
  std::string metadata_, infos_;    // as they will stand in the file
  std::vector<std::string> names_;  // of keys
  std::vector<Entry> tensors_;
  bool header_written_ = false;
  size_t current_ = 0;    // the tensor being written
  uint64_t written_ = 0;  // bytes of it
};

}  // namespace moiety
