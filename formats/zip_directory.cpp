#include "formats/zip_directory.h"

#include <zlib.h>

#include <algorithm>
#include <cstring>

#include "core/checked.h"
#include "core/error.h"

namespace moiety {
namespace {

constexpr uint32_t kLocal = 0x04034b50, kCentral = 0x02014b50, kEnd = 0x06054b50, kEnd64 = 0x06064b50,
                   kLocator64 = 0x07064b50;
constexpr uint64_t kLocalBytes = 30, kCentralBytes = 46, kEndBytes = 22, kEnd64Bytes = 56, kLocatorBytes = 20;
constexpr uint16_t kEncrypted = 1 << 0, kDescriptor = 1 << 3, kStrongEncryption = 1 << 6, kMasked = 1 << 13;
constexpr uint16_t kZip64Extra = 1;
constexpr uint32_t kNone32 = UINT32_MAX;
constexpr uint16_t kNone16 = UINT16_MAX;

// Where the central directory lies and how many entries it says it has.
struct End {
  uint64_t entries = 0, bytes = 0, offset = 0, limit = 0;  // limit: where the directory must end
};

struct Record {
  ZipEntry entry;
  uint16_t flags = 0;
  uint64_t header = 0;  // of the local header
};

class Reader {
 public:
  explicit Reader(const MappedFile& file) : file_(file), bytes_(file.bytes()) {}

  std::vector<ZipEntry> read() {
    const End end = find_end();
    std::vector<Record> records = read_central(end);
    for (Record& record : records) check_local(record, end.offset);
    check_overlap(records);
    std::vector<ZipEntry> entries;
    entries.reserve(records.size());
    for (const Record& record : records) entries.push_back(record.entry);
    return entries;
  }

  template <class... Args>
  [[noreturn]] void error(uint64_t offset, fmt::format_string<Args...> format, Args&&... args) const {
    fail(Status::kFormat, "{} @{:#x}: {}", printable(file_.name()), offset,
         fmt::format(format, std::forward<Args>(args)...));
  }

 private:
  template <class T>
  T number(uint64_t offset) const {  // the caller has checked the range
    T value;
    std::memcpy(&value, bytes_.data() + offset, sizeof value);
    return value;
  }
  std::string_view text(uint64_t offset, uint64_t size) const {
    return {reinterpret_cast<const char*>(bytes_.data()) + offset, size};
  }

  // The end record closes the file, behind it only its own comment.
  uint64_t find_end_record() const {
    const uint64_t size = bytes_.size();
    if (size < kEndBytes) error(0, "a zip archive needs {} bytes, the file has {}", kEndBytes, size);
    const uint64_t first = size - std::min<uint64_t>(size, kEndBytes + UINT16_MAX);
    for (uint64_t at = size - kEndBytes + 1; at-- > first;) {
      if (number<uint32_t>(at) == kEnd && number<uint16_t>(at + 20) == size - kEndBytes - at) return at;
    }
    error(size, "the zip archive's end record is missing: the file is cut or no archive");
  }

  End find_end() const {
    const uint64_t at = find_end_record();
    const auto disk = number<uint16_t>(at + 4), directory_disk = number<uint16_t>(at + 6);
    const auto here = number<uint16_t>(at + 8), all = number<uint16_t>(at + 10);
    if (disk != directory_disk || here != all || (disk != 0 && disk != kNone16))
      error(at, "zip end record: an archive of several disks is not supported");
    End end{all, number<uint32_t>(at + 12), number<uint32_t>(at + 16), at};
    if (at >= kLocatorBytes && number<uint32_t>(at - kLocatorBytes) == kLocator64) {
      merge_end64(end, at - kLocatorBytes);
    } else if (all == kNone16 || end.bytes == kNone32 || end.offset == kNone32 || disk == kNone16) {
      error(at, "zip end record: it points to a zip64 record, which is missing");
    }
    if (!in_range(end.offset, end.bytes, end.limit) || end.offset + end.bytes != end.limit) {
      error(at, "zip end record: the directory [{}, {} bytes) does not end at {:#x}", end.offset, end.bytes, end.limit);
    }
    if (end.entries > end.bytes / kCentralBytes)
      error(at, "zip end record: {} entries do not fit {} bytes", end.entries, end.bytes);
    return end;
  }

  void merge_end64(End& end, uint64_t locator) const {
    if (number<uint32_t>(locator + 4) != 0 || number<uint32_t>(locator + 16) != 1)
      error(locator, "zip64 locator: an archive of several disks is not supported");
    const auto at = number<uint64_t>(locator + 8);
    if (!in_range(at, kEnd64Bytes, locator)) error(locator, "zip64 locator: no end record fits at {}", at);
    if (number<uint32_t>(at) != kEnd64) error(at, "zip64 end record: wrong signature");
    const auto size = number<uint64_t>(at + 4);
    if (size != locator - at - 12) error(at, "zip64 end record: its size {} does not reach the locator", size);
    if (number<uint32_t>(at + 16) != 0 || number<uint32_t>(at + 20) != 0 ||
        number<uint64_t>(at + 24) != number<uint64_t>(at + 32))
      error(at, "zip64 end record: an archive of several disks is not supported");
    const End wide{number<uint64_t>(at + 32), number<uint64_t>(at + 40), number<uint64_t>(at + 48), at};
    const auto agree = [](uint64_t narrow, uint64_t value, uint64_t none) { return narrow == none || narrow == value; };
    if (!agree(end.entries, wide.entries, kNone16) || !agree(end.bytes, wide.bytes, kNone32) ||
        !agree(end.offset, wide.offset, kNone32))
      error(at, "zip64 end record: it contradicts the end record");
    end = wide;
  }

  // Reads what the 32-bit fields could not hold; `values` in the order of APPNOTE 4.5.3.
  void read_zip64(uint64_t extra, uint64_t size, uint64_t header, std::initializer_list<uint64_t*> values) const {
    uint64_t at = extra;
    const uint64_t end = extra + size;
    while (end - at >= 4) {
      const auto id = number<uint16_t>(at), bytes = number<uint16_t>(at + 2);
      at += 4;
      if (bytes > end - at) error(header, "zip header: an extra field is cut");
      if (id == kZip64Extra) {
        uint64_t field = at, left = bytes;
        for (uint64_t* value : values) {
          if (*value != kNone32) continue;
          if (left < 8) error(header, "zip header: the zip64 field is too short");
          *value = number<uint64_t>(field);
          field += 8, left -= 8;
        }
        return;
      }
      at += bytes;
    }
  }

  std::vector<Record> read_central(const End& end) const {
    std::vector<Record> records;
    records.reserve(end.entries);
    uint64_t at = end.offset;
    for (uint64_t i = 0; i < end.entries; ++i) {
      if (!in_range(at, kCentralBytes, end.limit)) error(at, "zip directory: entry {} is cut", i);
      if (number<uint32_t>(at) != kCentral) error(at, "zip directory: entry {} has a wrong signature", i);
      Record record;
      record.flags = number<uint16_t>(at + 8);
      record.entry.method = number<uint16_t>(at + 10);
      record.entry.crc = number<uint32_t>(at + 16);
      record.entry.packed = number<uint32_t>(at + 20);
      record.entry.bytes = number<uint32_t>(at + 24);
      record.header = number<uint32_t>(at + 42);
      const uint64_t name = number<uint16_t>(at + 28), extra = number<uint16_t>(at + 30);
      const uint64_t length = kCentralBytes + name + extra + number<uint16_t>(at + 32);
      if (!in_range(at, length, end.limit)) error(at, "zip directory: entry {} is cut", i);
      record.entry.name = text(at + kCentralBytes, name);
      if (name == 0) error(at, "zip directory: entry {} has no name", i);
      if (number<uint16_t>(at + 34) != 0) error(at, "zip directory: '{}' is on another disk", shown(record));
      read_zip64(at + kCentralBytes + name, extra, at, {&record.entry.bytes, &record.entry.packed, &record.header});
      if (record.flags & (kEncrypted | kStrongEncryption | kMasked))
        error(at, "zip directory: '{}' is encrypted", shown(record));
      if (record.entry.method == kZipStored && record.entry.packed != record.entry.bytes)
        error(at, "zip directory: '{}' is stored but has two sizes, {} and {}", shown(record), record.entry.packed,
              record.entry.bytes);
      records.push_back(record);
      at += length;
    }
    if (at != end.limit) error(at, "zip directory: {} bytes stand behind its {} entries", end.limit - at, end.entries);
    return records;
  }

  // The local header repeats what the directory says; with a descriptor behind the data its numbers may be zero.
  void check_local(Record& record, uint64_t limit) const {
    ZipEntry& entry = record.entry;
    const uint64_t at = record.header;
    if (!in_range(at, kLocalBytes, limit)) error(at, "zip header of '{}' lies outside the file's data", shown(record));
    if (number<uint32_t>(at) != kLocal) error(at, "zip header of '{}' has a wrong signature", shown(record));
    const uint64_t name = number<uint16_t>(at + 26), extra = number<uint16_t>(at + 28);
    if (!in_range(at, kLocalBytes + name + extra, limit)) error(at, "zip header of '{}' is cut", shown(record));
    uint64_t packed = number<uint32_t>(at + 18), bytes = number<uint32_t>(at + 22);
    read_zip64(at + kLocalBytes + name, extra, at, {&bytes, &packed});
    const auto flags = number<uint16_t>(at + 6);
    const bool zero = flags & kDescriptor;
    const auto same = [zero](uint64_t local, uint64_t central) { return local == central || (zero && local == 0); };
    if (flags != record.flags || number<uint16_t>(at + 8) != entry.method ||
        text(at + kLocalBytes, name) != entry.name || !same(number<uint32_t>(at + 14), entry.crc) ||
        !same(packed, entry.packed) || !same(bytes, entry.bytes))
      error(at, "zip header of '{}' contradicts the directory", shown(record));
    entry.offset = at + kLocalBytes + name + extra;
    if (!in_range(entry.offset, entry.packed, limit))
      error(at, "zip record '{}': {} bytes do not fit before {:#x}", shown(record), entry.packed, limit);
  }

  void check_overlap(const std::vector<Record>& records) const {
    std::vector<const Record*> order;
    for (const Record& record : records) order.push_back(&record);
    std::sort(order.begin(), order.end(), [](const Record* a, const Record* b) { return a->header < b->header; });
    for (size_t i = 1; i < order.size(); ++i) {
      const ZipEntry& before = order[i - 1]->entry;
      if (order[i]->header < before.offset + before.packed)
        error(order[i]->header, "zip record '{}' overlaps '{}'", shown(*order[i]), printable(before.name));
    }
  }

  static std::string shown(const Record& record) { return printable(record.entry.name); }

  const MappedFile& file_;
  std::span<const std::byte> bytes_;
};

// Raw deflate of a whole record; false unless it is exactly `out.size()` bytes long.
bool unpack(std::span<const std::byte> in, std::span<std::byte> out) {
  z_stream stream{};
  if (inflateInit2(&stream, -MAX_WBITS) != Z_OK) fail(Status::kOutOfMemory, "no memory to unpack a zip record");
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(in.data()));
  stream.avail_in = static_cast<uInt>(in.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  const int code = inflate(&stream, Z_FINISH);
  const bool whole = code == Z_STREAM_END && stream.avail_in == 0 && stream.avail_out == 0;
  inflateEnd(&stream);
  return whole;
}

uint32_t crc_of(std::span<const std::byte> bytes) {
  return static_cast<uint32_t>(crc32_z(0, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
}

}  // namespace

bool ZipDirectory::looks_like(const MappedFile& file) {
  constexpr uint32_t kEmptyArchive = kEnd;
  uint32_t first = 0;
  if (file.size() < sizeof first) return false;
  std::memcpy(&first, file.bytes().data(), sizeof first);
  return first == kLocal || first == kEmptyArchive;
}

ZipDirectory::ZipDirectory(std::shared_ptr<const MappedFile> file)
    : file_(std::move(file)), entries_(Reader(*file_).read()) {
  index_ = NameIndex(entries_.size(), [this](size_t i) { return entries_[i].name; });
  if (const auto twice = index_.duplicate())
    fail(Status::kFormat, "{}: it stands twice in the zip directory", where(entries_[twice->second]));
}

const ZipEntry* ZipDirectory::find(std::string_view name) const {
  const auto at = index_.find(name, [this](size_t i) { return entries_[i].name; });
  return at ? &entries_[*at] : nullptr;
}

std::string ZipDirectory::where(const ZipEntry& entry) const {
  return fmt::format("{} @{:#x}: record '{}'", printable(file_->name()), entry.offset, printable(entry.name));
}

std::span<const std::byte> ZipDirectory::content(const ZipEntry& entry, std::vector<std::byte>& memory,
                                                 const ZipLimits& limits) const {
  const auto packed = file_->bytes().subspan(entry.offset, entry.packed);
  if (entry.bytes > limits.bytes || packed.size() > UINT32_MAX)
    fail(Status::kFormat, "{} has {} bytes, limit {}", where(entry), entry.bytes, limits.bytes);
  std::span<const std::byte> content = packed;
  if (entry.method == kZipDeflated) {
    if (entry.bytes / limits.ratio > packed.size())
      fail(Status::kFormat, "{} unpacks from {} to {} bytes, limit {} times", where(entry), packed.size(), entry.bytes,
           limits.ratio);
    memory.resize(entry.bytes);
    if (!unpack(packed, memory)) fail(Status::kFormat, "{} does not unpack to the {} bytes it says", where(entry), entry.bytes);
    content = memory;
  } else if (entry.method != kZipStored) {
    fail(Status::kFormat, "{} is packed by method {}, which is not supported", where(entry), entry.method);
  }
  if (crc_of(content) != entry.crc) fail(Status::kFormat, "{} has another CRC than the zip directory says", where(entry));
  return content;
}

}  // namespace moiety
