// GGUF files built byte by byte, right or wrong.
#pragma once

#include <vector>

#include "formats/gguf.h"
#include "tests/formats/bytes.h"

namespace moiety::test {

// Numbers of the format, written out here so that the tests do not depend on the reader's tables.
enum : uint32_t {
  kTypeU32 = 4,
  kTypeF32 = 6,
  kTypeString = 8,
  kTypeArray = 9,
  kGgmlF32 = 0,
  kGgmlQ4_0 = 2,
  kGgmlQ6_K = 14
};

struct GgufBytes {
  uint32_t version = 3;
  Bytes metadata, infos, data;
  uint64_t keys = 0, tensors = 0, alignment = 32;

  Bytes& key(std::string_view name, uint32_t type) {
    ++keys;
    return metadata.string(name).u32(type);
  }
  GgufBytes& u32(std::string_view name, uint32_t value) {
    key(name, kTypeU32).u32(value);
    return *this;
  }
  GgufBytes& strings(std::string_view name, const std::vector<std::string>& values) {
    key(name, kTypeArray).u32(kTypeString).u64(values.size());
    for (const std::string& value : values) metadata.string(value);
    return *this;
  }
  // An info alone; ne as the file has it (innermost first).
  GgufBytes& info(std::string_view name, const std::vector<uint64_t>& ne, uint32_t type, uint64_t offset) {
    ++tensors;
    infos.string(name).u32(static_cast<uint32_t>(ne.size()));
    for (uint64_t n : ne) infos.u64(n);
    infos.u32(type).u64(offset);
    return *this;
  }
  // An F32 tensor with its data.
  GgufBytes& tensor(std::string_view name, const std::vector<uint64_t>& ne) {
    info(name, ne, kGgmlF32, data.data.size());
    uint64_t bytes = 4;
    for (uint64_t n : ne) bytes *= n;
    data.zeros(bytes).pad(alignment);
    return *this;
  }
  std::string build() const {
    Bytes out;
    out.raw("GGUF").u32(version).u64(tensors).u64(keys).raw(metadata.data).raw(infos.data);
    out.pad(alignment).raw(data.data);
    return out.data;
  }
};

}  // namespace moiety::test
