// Zip archives built byte by byte, right or wrong in one place.
#pragma once

#include <zlib.h>

#include <vector>

#include "tests/formats/bytes.h"

namespace moiety::test {

inline std::string deflated(std::string_view content) {
  std::string out(compressBound(content.size()) + 16, '\0');
  z_stream stream{};
  REQUIRE(deflateInit2(&stream, 9, Z_DEFLATED, -MAX_WBITS, 9, Z_DEFAULT_STRATEGY) == Z_OK);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(content.data()));
  stream.avail_in = static_cast<uInt>(content.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  REQUIRE(deflate(&stream, Z_FINISH) == Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

inline uint32_t crc_of(std::string_view text) {
  return static_cast<uint32_t>(crc32(0, reinterpret_cast<const Bytef*>(text.data()), static_cast<uInt>(text.size())));
}

// One record; numbers that are not set follow from the content.
struct ZipRecord {
  std::string name, data;  // data as it stands in the file
  uint16_t method = 0, flags = 0;
  uint64_t bytes = UINT64_MAX;  // of the content
  uint32_t crc = 0;             // 0: of the data
  std::string local_name;       // empty: name
  int64_t local_header = -1;    // -1: where it is
};

struct ZipBytes {
  std::vector<ZipRecord> records;
  bool zip64 = false;
  std::string comment;

  ZipBytes& add(std::string name, std::string data) {
    records.push_back({std::move(name), std::move(data), 0, 0, UINT64_MAX, 0, {}, -1});
    return *this;
  }
  ZipBytes& add_deflated(std::string name, const std::string& content) {
    records.push_back({std::move(name), deflated(content), 8, 0, content.size(), crc_of(content), {}, -1});
    return *this;
  }

  static Bytes& u16(Bytes& to, uint64_t v) { return to.number(static_cast<uint16_t>(v)); }
  static Bytes& u32(Bytes& to, uint64_t v) { return to.number(static_cast<uint32_t>(v)); }

  std::string bytes() const {
    Bytes out, directory;
    for (const ZipRecord& r : records) {
      const uint64_t at = r.local_header < 0 ? out.data.size() : static_cast<uint64_t>(r.local_header);
      const uint64_t size = r.bytes == UINT64_MAX ? r.data.size() : r.bytes;
      const uint32_t crc = r.crc ? r.crc : crc_of(r.data);
      const std::string& local = r.local_name.empty() ? r.name : r.local_name;
      const bool later = r.flags & 8;  // crc and sizes stand behind the data
      u32(out, 0x04034b50), u16(out, 20), u16(out, r.flags), u16(out, r.method), u32(out, 0);
      u32(out, later ? 0 : crc), u32(out, later ? 0 : r.data.size()), u32(out, later ? 0 : size);
      u16(out, local.size()), u16(out, 0), out.raw(local).raw(r.data);
      if (later) u32(out, 0x08074b50), u32(out, crc), u32(out, r.data.size()), u32(out, size);
      u32(directory, 0x02014b50), u16(directory, 20), u16(directory, 20), u16(directory, r.flags);
      u16(directory, r.method), u32(directory, 0), u32(directory, crc);
      u32(directory, zip64 ? UINT32_MAX : r.data.size()), u32(directory, zip64 ? UINT32_MAX : size);
      u16(directory, r.name.size()), u16(directory, zip64 ? 28 : 0), u16(directory, 0), u16(directory, 0);
      u16(directory, 0), u32(directory, 0), u32(directory, zip64 ? UINT32_MAX : at);
      directory.raw(r.name);
      if (zip64) u16(directory, 1), u16(directory, 24), directory.u64(size).u64(r.data.size()).u64(at);
    }
    const uint64_t begin = out.data.size(), length = directory.data.size(), count = records.size();
    out.raw(directory.data);
    if (zip64) {
      const uint64_t end = out.data.size();
      u32(out, 0x06064b50), out.u64(44), u16(out, 45), u16(out, 45), u32(out, 0), u32(out, 0);
      out.u64(count).u64(count).u64(length).u64(begin);
      u32(out, 0x07064b50), u32(out, 0), out.u64(end), u32(out, 1);
    }
    u32(out, 0x06054b50), u16(out, 0), u16(out, 0), u16(out, zip64 ? UINT16_MAX : count);
    u16(out, zip64 ? UINT16_MAX : count), u32(out, zip64 ? UINT32_MAX : length);
    u32(out, zip64 ? UINT32_MAX : begin), u16(out, comment.size()), out.raw(comment);
    return out.data;
  }
};

}  // namespace moiety::test
