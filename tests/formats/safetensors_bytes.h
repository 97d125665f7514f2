// safetensors files built from the text of their header.
#pragma once

#include "tests/formats/bytes.h"

namespace moiety::test {

inline std::string safetensors_bytes(std::string_view header, size_t data_bytes) {
  return Bytes().u64(header.size()).raw(header).zeros(data_bytes).data;
}

// One F32 tensor "t" of two values whose shape is this JSON.
inline std::string with_shape(const std::string& shape, size_t data_bytes = 8) {
  return safetensors_bytes(
      "{\"t\":{\"dtype\":\"F32\",\"shape\":" + shape + ",\"data_offsets\":[0," + std::to_string(data_bytes) + "]}}",
      data_bytes);
}

// A member of the header: F32, one dim.
inline std::string f32_entry(const std::string& name, size_t begin, size_t end) {
  return "\"" + name + "\":{\"dtype\":\"F32\",\"shape\":[" + std::to_string((end - begin) / 4) +
         "],\"data_offsets\":[" + std::to_string(begin) + "," + std::to_string(end) + "]}";
}

}  // namespace moiety::test
