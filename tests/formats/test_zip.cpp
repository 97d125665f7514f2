#include "formats/zip_directory.h"
#include "tests/formats/zip_bytes.h"

using namespace moiety;
using namespace moiety::test;

namespace {

ZipDirectory open(const TempFolder& folder, const std::string& bytes) {
  return ZipDirectory(std::make_shared<MappedFile>(folder.put("a.zip", bytes)));
}

std::string error_of(const TempFolder& folder, const std::string& bytes) {
  return format_error([&] { open(folder, bytes); });
}

std::string content(const ZipDirectory& zip, std::string_view name, const ZipLimits& limits = {}) {
  std::vector<std::byte> memory;
  const auto bytes = zip.content(*zip.find(name), memory, limits);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// A number written over the bytes at `at`, counted from the end where negative.
template <class T>
std::string with(std::string bytes, int64_t at, T value) {
  const size_t place = at < 0 ? bytes.size() - static_cast<size_t>(-at) : static_cast<size_t>(at);
  std::memcpy(bytes.data() + place, &value, sizeof value);
  return bytes;
}

}  // namespace

TEST_CASE("an archive is read: stored, deflated, zip64, with descriptors and a comment") {
  const TempFolder folder;
  for (const bool zip64 : {false, true}) {
    for (const int flags : {0, 8, 8 | 1 << 11}) {
      ZipBytes make{{}, zip64, zip64 ? "" : "PK\x05\x06 comment"};
      make.add("top/a", "hello").add_deflated("top/b", std::string(1000, 'x') + "y").add("empty", "");
      for (auto& record : make.records) record.flags = static_cast<uint16_t>(flags);
      const ZipDirectory zip = open(folder, make.bytes());
      REQUIRE(zip.entries().size() == 3);
      CHECK(content(zip, "top/a") == "hello");
      CHECK(content(zip, "top/b") == std::string(1000, 'x') + "y");
      CHECK(content(zip, "empty").empty());
      CHECK(zip.find("top") == nullptr);
    }
  }
  CHECK(open(folder, ZipBytes().bytes()).entries().empty());
}

TEST_CASE("the end record must be there, whole, and agree with the zip64 one") {
  const TempFolder folder;
  const std::string plain = ZipBytes().add("a", "hello").bytes();
  CHECK(contains(error_of(folder, ""), "a.zip @0x0: a zip archive needs 22 bytes, the file has 0"));
  CHECK(contains(error_of(folder, plain.substr(0, plain.size() - 1)), "end record is missing"));
  CHECK(contains(error_of(folder, plain + "x"), "end record is missing"));
  CHECK(contains(error_of(folder, with<uint16_t>(plain, -12, 2)), "several disks"));
  CHECK(contains(error_of(folder, with<uint32_t>(plain, -14, 0x00020002)), "2 entries do not fit"));
  CHECK(contains(error_of(folder, with<uint32_t>(plain, -6, 1)), "does not end at"));
  CHECK(contains(error_of(folder, with<uint32_t>(plain, -6, UINT32_MAX)), "which is missing"));
  CHECK(contains(error_of(folder, with<uint32_t>(plain, -10, UINT32_MAX - 1)), "does not end at"));

  const std::string wide = ZipBytes{{}, true, ""}.add("a", "hello").bytes();
  const int64_t end64 = -(22 + 20 + 56), locator = -(22 + 20);
  CHECK(open(folder, wide).entries().size() == 1);
  CHECK(contains(error_of(folder, with<uint16_t>(wide, -14, 2)), "several disks"));
  CHECK(contains(error_of(folder, with<uint32_t>(wide, -14, 0x00030003)), "contradicts the end record"));
  CHECK(contains(error_of(folder, with<uint32_t>(wide, -10, 5)), "contradicts the end record"));
  CHECK(contains(error_of(folder, with<uint64_t>(wide, locator + 8, UINT64_MAX)), "no end record fits"));
  CHECK(contains(error_of(folder, with<uint32_t>(wide, locator + 16, 2)), "several disks"));
  CHECK(contains(error_of(folder, with<uint32_t>(wide, end64, 0)), "wrong signature"));
  CHECK(contains(error_of(folder, with<uint64_t>(wide, end64 + 4, UINT64_MAX)), "does not reach the locator"));
  CHECK(contains(error_of(folder, with<uint64_t>(wide, end64 + 32, 2)), "several disks"));
  CHECK(contains(error_of(folder, with<uint64_t>(with<uint64_t>(wide, end64 + 32, UINT64_MAX), end64 + 24, UINT64_MAX)),
                 "entries do not fit"));
  CHECK(contains(error_of(folder, with<uint64_t>(wide, end64 + 40, UINT64_MAX)), "does not end at"));
  CHECK(contains(error_of(folder, with<uint64_t>(wide, end64 + 48, uint64_t{1} << 63)), "does not end at"));
}

TEST_CASE("local headers say what the directory says, records do not overlap, nothing is encrypted") {
  const TempFolder folder;
  const auto broken = [&](const auto& change) {
    ZipBytes make;
    make.add("a", "hello").add("b", "worlds");
    change(make);
    return error_of(folder, make.bytes());
  };
  CHECK(contains(broken([](ZipBytes& m) { m.records[1].local_name = "c"; }), "zip header of 'b' contradicts"));
  CHECK(contains(broken([](ZipBytes& m) { m.records[1].local_header = 0; }), "zip header of 'b' contradicts"));
  CHECK(contains(broken([](ZipBytes& m) { m.records[1].local_header = 7; }), "'b' has a wrong signature"));
  CHECK(contains(broken([](ZipBytes& m) { m.records[1].local_header = 1 << 30; }), "outside the file's data"));
  CHECK(contains(broken([](ZipBytes& m) { m.records[0].name = "b", m.records[0].local_name = "b"; }), "stands twice"));
  CHECK(contains(broken([](ZipBytes& m) { m.records[0].flags = 1; }), "'a' is encrypted"));
  CHECK(contains(broken([](ZipBytes& m) { m.records[0].flags = 1 << 6; }), "'a' is encrypted"));
  CHECK(contains(broken([](ZipBytes& m) { m.records[0].bytes = 6; }), "'a' is stored but has two sizes, 5 and 6"));
  CHECK(contains(broken([](ZipBytes& m) { m.records[0].name.clear(); }), "entry 0 has no name"));
  // The second record is the whole of an archive's record inside the first.
  const std::string inner = ZipBytes().add("in", "12").bytes().substr(0, 30 + 2 + 2);
  ZipBytes nested;
  nested.add("out", inner + "tail").add("in", "12");
  nested.records[1].local_header = 30 + 3;
  CHECK(contains(error_of(folder, nested.bytes()), "zip record 'in' overlaps 'out'"));
  // A local header with other numbers: the crc of record a.
  const std::string good = ZipBytes().add("a", "hello").bytes();
  CHECK(contains(error_of(folder, with<uint32_t>(good, 14, 1)), "contradicts the directory"));
  CHECK(contains(error_of(folder, with<uint32_t>(good, 18, 4)), "contradicts the directory"));
}

TEST_CASE("contents: CRC, limits, bombs, unknown methods") {
  const TempFolder folder;
  ZipBytes make;
  make.add("a", "hello").add_deflated("bomb", std::string(10 << 20, '\0')).add("odd", "12345").add_deflated("short", "abc");
  make.records[0].crc = 1;
  make.records[2].method = 12;
  make.records[3].bytes = 2;
  const ZipDirectory zip = open(folder, make.bytes());
  CHECK(contains(format_error([&] { content(zip, "a"); }), "record 'a' has another CRC"));
  CHECK(contains(format_error([&] { content(zip, "bomb"); }), "limit 200 times"));
  CHECK(contains(format_error([&] { content(zip, "bomb", {.bytes = 1 << 20}); }), "has 10485760 bytes, limit 1048576"));
  CHECK(content(zip, "bomb", {.ratio = 2000}).size() == 10u << 20);
  CHECK(contains(format_error([&] { content(zip, "odd"); }), "packed by method 12"));
  CHECK(contains(format_error([&] { content(zip, "short"); }), "does not unpack to the 2 bytes"));
  // 10 MB that say they hold 10 GB.
  ZipBytes huge{{}, true, ""};
  huge.records.push_back({"h", std::string(10 << 20, 'x'), 8, 8, uint64_t{10} << 30, 1, {}, -1});
  const ZipDirectory wide = open(folder, huge.bytes());
  CHECK(contains(format_error([&] { content(wide, "h"); }), "limit 268435456"));
}
