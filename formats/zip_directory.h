// The directory of a zip archive, checked before anything is used: every record lies inside the file, none overlaps
// another, and local headers say what the central directory says. Zero-copy: names and stored records are views into
// the mapping. Source: PKWARE's APPNOTE 6.3.10 (zip64 too). Every error is Error(kFormat) and names file and offset.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/mapped_file.h"
#include "formats/name_index.h"

namespace moiety {

struct ZipEntry {
  std::string_view name;
  uint16_t method = 0;              // kZipStored, kZipDeflated, or another that extract() refuses
  uint32_t crc = 0;                 // CRC-32 of the content, as the directory tells it
  uint64_t offset = 0;              // of the record's data in the file; any byte
  uint64_t packed = 0, bytes = 0;   // the record's length in the file, and of the content
};

inline constexpr uint16_t kZipStored = 0, kZipDeflated = 8;

// What a content may at most be: bytes, and bytes for each byte in the file.
struct ZipLimits {
  uint64_t bytes = uint64_t{256} << 20;
  uint64_t ratio = 200;
};

class ZipDirectory {
 public:
  // True if the file begins as an archive does.
  static bool looks_like(const MappedFile& file);
  explicit ZipDirectory(std::shared_ptr<const MappedFile> file);

  std::span<const ZipEntry> entries() const { return entries_; }  // in the directory's order; no name twice
  const ZipEntry* find(std::string_view name) const;              // nullptr if absent
  std::string where(const ZipEntry& entry) const;                 // "FILE @0xOFFSET: record 'NAME'"

  // A record's content, its CRC checked. Stored: a view into the mapping. Deflated: unpacked into `memory`.
  std::span<const std::byte> content(const ZipEntry& entry, std::vector<std::byte>& memory,
                                     const ZipLimits& limits = {}) const;

 private:
  std::shared_ptr<const MappedFile> file_;
  std::vector<ZipEntry> entries_;
  NameIndex index_;
};

}  // namespace moiety
