#include <array>
#include <limits>

#include "formats/gguf.h"
#include "formats/gguf_writer.h"
#include "tests/formats/gguf_bytes.h"

using namespace moiety;
using namespace moiety::test;

namespace {

std::string error_of(const TempFolder& folder, std::string_view bytes) {
  return format_error([&] { open_gguf(folder.put("m.gguf", bytes)); });
}

}  // namespace

TEST_CASE("a file of version 2 or 3 is read: values, shapes, data") {
  const TempFolder folder;
  for (uint32_t version : {2u, 3u}) {
    GgufBytes bytes;
    bytes.version = version;
    bytes.u32("a.count", 7).strings("words", {"one", "", "three"});
    bytes.key("neg", 5).number<int32_t>(-2);
    bytes.tensor("x", {5, 3, 2}).tensor("y", {4});
    const GgufFile file = open_gguf(folder.put("m.gguf", bytes.build()));
    CHECK(file.version == version);
    CHECK(file.metadata.require_u32("a.count") == 7);
    CHECK(file.metadata.get_i64("neg") == -2);
    CHECK(file.metadata.require_strings("words") == std::vector<std::string_view>{"one", "", "three"});
    REQUIRE(file.tensors.size() == 2);
    const GgufTensor* x = file.find("x");
    REQUIRE(x != nullptr);
    CHECK(x->shape == std::array<int64_t, 4>{2, 3, 5, 0});
    CHECK(x->bytes == 120);
    CHECK(x->offset % 32 == 0);
    CHECK(shape_string(file.view(*x)) == "[2, 3, 5] f32");
    CHECK(file.find("z") == nullptr);
  }
}

TEST_CASE("typed access: other widths are fine, other kinds and ranges are errors that name key and offset") {
  const TempFolder folder;
  GgufBytes bytes;
  bytes.key("u64", 10).u64(1ull << 40);
  bytes.key("small", 0).u8(5);
  bytes.key("neg", 1).number<int8_t>(-1);
  bytes.key("nan", kTypeF32).number<float>(std::numeric_limits<float>::quiet_NaN());
  bytes.key("double", 12).number<double>(0.25);
  bytes.key("yes", 7).u8(1);
  bytes.key("text", kTypeString).string("hi");
  bytes.key("list", kTypeArray).u32(3).u64(2).number<int16_t>(-3).number<int16_t>(9);
  const GgufFile file = open_gguf(folder.put("m.gguf", bytes.build()));
  const GgufMetadata& m = file.metadata;
  CHECK(m.get_u32("small") == 5u);
  CHECK(m.get_u64("u64") == 1ull << 40);
  CHECK(m.get_f32("double") == 0.25f);
  CHECK(m.get_bool("yes") == true);
  CHECK(m.get_string("text") == "hi");
  CHECK(m.get_integers("list") == std::vector<int64_t>{-3, 9});
  CHECK(!m.get_u32("absent"));
  CHECK(format_error([&] { m.get_u32("u64"); }) ==
        "m.gguf @0x20: key 'u64': expected at most 4294967295, got 1099511627776");
  CHECK(contains(format_error([&] { m.get_u32("neg"); }), "key 'neg': expected an unsigned number, got -1"));
  CHECK(contains(format_error([&] { m.get_f32("nan"); }), "key 'nan': expected a finite number"));
  CHECK(contains(format_error([&] { m.get_f32("text"); }), "key 'text': expected f32, got string"));
  CHECK(contains(format_error([&] { m.get_string("list"); }), "expected string, got an array of i16"));
  CHECK(contains(format_error([&] { m.get_strings("list"); }), "expected an array of strings"));
  CHECK(contains(format_error([&] { m.get_bool("small"); }), "expected bool, got u8"));
  CHECK(contains(format_error([&] { m.require_u32("absent"); }), "m.gguf @0x18: key 'absent': is missing"));
  CHECK(contains(format_error([&] { m.require_u32("small", 6, 9); }), "expected 6 to 9, got 5"));
}

TEST_CASE("counts are checked against the bytes that remain") {
  const TempFolder folder;
  const auto header = [](uint64_t tensors, uint64_t keys) {
    return Bytes().raw("GGUF").u32(3).u64(tensors).u64(keys).data;
  };
  for (uint64_t count : {UINT64_MAX, uint64_t{1} << 63, uint64_t{1}}) {
    CHECK(contains(error_of(folder, header(0, count)), "m.gguf @0x10: metadata count is"));
    CHECK(contains(error_of(folder, header(count, 0)), "m.gguf @0x8: tensor count is"));
  }
}

TEST_CASE("dimensions are multiplied with care") {
  const TempFolder folder;
  const auto with = [&](const std::vector<uint64_t>& ne, uint32_t type = kGgmlF32) {
    return error_of(folder, GgufBytes().info("t", ne, type, 0).build());
  };
  CHECK(contains(with({1ull << 32, 1ull << 32}), "dim 1 is 4294967296: the number of elements exceeds 2^63"));
  CHECK(contains(with({(1ull << 63) - 1, 2}), "tensor 't' dim 1 is 2: the number of elements exceeds 2^63"));
  CHECK(contains(with({1ull << 62, 4}), "exceeds 2^63"));
  CHECK(contains(with({UINT64_MAX}), "dim 0 is 18446744073709551615"));
  CHECK(contains(with({1ull << 62}), "its size in bytes exceeds 2^64"));
  CHECK(contains(with({1, 0}), "tensor 't' dim 1 is 0"));
  CHECK(contains(with({}), "has 0 dimensions, expected 1 to 4"));
  CHECK(contains(with({1, 1, 1, 1, 1}), "has 5 dimensions"));
  CHECK(contains(with({1, 1, 1, 1, 1, 1, 1, 1, 1}), "has 9 dimensions"));
  GgufBytes huge;
  huge.tensors = 1;
  huge.infos.string("t").u32(UINT32_MAX).zeros(64);
  CHECK(contains(error_of(folder, huge.build()), "has 4294967295 dimensions"));
}

TEST_CASE("strings and arrays end inside the file and inside their limits") {
  const TempFolder folder;
  GgufBytes bytes;
  bytes.keys = 1;
  bytes.metadata.u64(1ull << 63).zeros(32);
  CHECK(contains(error_of(folder, bytes.build()), "@0x18: key has length 9223372036854775808, limit 65535"));
  bytes = {};
  bytes.key("k", kTypeString).u64(1ull << 63).zeros(16);
  CHECK(contains(error_of(folder, bytes.build()), "string value has length 9223372036854775808, limit 67108864"));
  bytes = {};
  bytes.key("k", kTypeString).u64(100);
  CHECK(contains(error_of(folder, bytes.build()), "string value has length 100, but"));
  bytes = {};
  bytes.key("k", kTypeArray).u32(kTypeString).u64(1ull << 30).zeros(40);
  CHECK(contains(error_of(folder, bytes.build()), "an array of 1073741824 string values, but"));
  bytes = {};
  bytes.key("k", kTypeArray).u32(kTypeU32).u64(UINT64_MAX / 4 + 2).zeros(40);
  CHECK(contains(error_of(folder, bytes.build()), "u32 values, but"));
  bytes = {};
  bytes.key(std::string(65536, 'k'), kTypeU32).u32(1);
  CHECK(contains(error_of(folder, bytes.build()), "limit 65535"));
  CHECK(contains(error_of(folder, GgufBytes().tensor(std::string(129, 'n'), {1}).build()),
                 "tensor name has length 129, limit 128"));
  open_gguf(folder.put("m.gguf", GgufBytes().tensor(std::string(128, 'n'), {1}).build()));
  // 64 MiB and one byte, mapped but never touched.
  bytes = {};
  bytes.key("k", kTypeString).u64((64u << 20) + 1);
  std::filesystem::resize_file(folder.put("m.gguf", bytes.build()), 65u << 20);
  CHECK(contains(format_error([&] { open_gguf(folder.path / "m.gguf"); }), "has length 67108865, limit 67108864"));
}

TEST_CASE("arrays of arrays, unknown value types and bools other than 0 and 1 are refused") {
  const TempFolder folder;
  GgufBytes bytes;
  bytes.key("k", kTypeArray).u32(kTypeArray).u64(0).zeros(16);
  CHECK(contains(error_of(folder, bytes.build()), "key 'k': arrays of arrays are not supported"));
  for (uint32_t type : {13u, 0x80000000u, UINT32_MAX}) {
    bytes = {};
    bytes.key("k", type).zeros(16);
    CHECK(contains(error_of(folder, bytes.build()), "key 'k' has the unknown value type"));
    bytes = {};
    bytes.key("k", kTypeArray).u32(type).zeros(16);
    CHECK(contains(error_of(folder, bytes.build()), "key 'k' has the unknown value type"));
  }
  bytes = {};
  bytes.key("k", 7).u8(2);
  CHECK(contains(error_of(folder, bytes.build()), "expected a bool of 0 or 1, got 2"));
}

TEST_CASE("general.alignment is a u32, a power of two, at most 64 KiB") {
  const TempFolder folder;
  for (uint32_t alignment : {0u, 13u, 1u << 30, 1u << 17}) {
    CHECK(contains(error_of(folder, GgufBytes().u32("general.alignment", alignment).build()),
                   "key 'general.alignment': expected a power of two"));
  }
  GgufBytes bytes;
  bytes.key("general.alignment", 10).u64(32);
  CHECK(contains(error_of(folder, bytes.build()), "key 'general.alignment': expected a u32, got u64"));
  bytes = {};
  bytes.key("general.alignment", kTypeArray).u32(kTypeU32).u64(1).u32(32);
  CHECK(contains(error_of(folder, bytes.build()), "got an array of u32"));
  for (uint32_t alignment : {1u, 8u, 65536u}) {
    bytes = {};
    bytes.alignment = alignment;
    bytes.u32("general.alignment", alignment).tensor("t", {3});
    CHECK(open_gguf(folder.put("m.gguf", bytes.build())).tensors[0].offset % alignment == 0);
  }
}

TEST_CASE("nothing stands twice, and finding that out is fast") {
  const TempFolder folder;
  CHECK(contains(error_of(folder, GgufBytes().u32("k", 1).u32("k", 1).build()), "m.gguf @0x31: key 'k' stands twice"));
  GgufBytes twice;
  twice.tensor("t", {1}).tensor("t", {1});
  CHECK(contains(error_of(folder, twice.build()), "tensor 't' stands twice"));
  GgufBytes same, unique;
  for (int i = 0; i < 1'000'000; ++i) {
    same.u32("general.name", 1);
    unique.u32("key." + std::to_string(i), 1);
  }
  const auto same_path = folder.put("same.gguf", same.build()), unique_path = folder.put("unique.gguf", unique.build());
  CHECK(cpu_seconds([&] { format_error([&] { open_gguf(same_path); }); }) < 1);
  CHECK(cpu_seconds([&] { open_gguf(unique_path).metadata.require_u32("key.999999"); }) < 1);
}

TEST_CASE("tensor data lies in the file, aligned, each in its own region") {
  const TempFolder folder;
  GgufBytes bytes;
  bytes.tensor("t", {8});
  std::string cut = bytes.build();
  cut.pop_back();
  CHECK(contains(error_of(folder, cut), "tensor 't' takes 32 bytes at offset 0 of the data, but the file has"));
  const auto with = [&](uint64_t offset) {
    return error_of(folder, GgufBytes().info("t", {8}, kGgmlF32, offset).build());
  };
  CHECK(contains(with(UINT64_MAX - 31), "tensor 't' takes 32 bytes at offset 18446744073709551584"));
  CHECK(contains(with(1ull << 63), "tensor 't' takes 32 bytes"));
  CHECK(contains(with(1), "offset 1, not a multiple of 32"));
  GgufBytes overlap;
  overlap.info("a", {16}, kGgmlF32, 0).info("b", {16}, kGgmlF32, 32).data.zeros(96);
  CHECK(contains(error_of(folder, overlap.build()), "tensor 'b' overlaps tensor 'a'"));
  GgufBytes same;
  same.info("a", {16}, kGgmlF32, 0).info("b", {16}, kGgmlF32, 0).data.zeros(96);
  CHECK(contains(error_of(folder, same.build()), "overlaps"));
}

TEST_CASE("types: rows are whole blocks; unknown and unsupported types are named") {
  const TempFolder folder;
  const auto with = [&](uint64_t ne0, uint32_t type) {
    GgufBytes bytes;
    bytes.info("t", {ne0, 2}, type, 0).data.zeros(4096);
    return error_of(folder, bytes.build());
  };
  CHECK(contains(with(16, kGgmlQ6_K), "tensor 't' has rows of 16 values, but Q6_K comes in blocks of 256"));
  CHECK(contains(with(255, kGgmlQ6_K), "rows of 255 values"));
  CHECK(contains(with(31, kGgmlQ4_0), "rows of 31 values"));
  CHECK(contains(with(32, UINT32_MAX), "tensor 't' has the unknown type -1"));
  CHECK(contains(with(32, 4), "unknown type 4"));
}

TEST_CASE("a known type that is not supported is listed; looking at its tensor is an error") {
  const TempFolder folder;
  struct Case {
    uint32_t id;
    const char* name;
    uint64_t bytes;  // of 2 x 256 values, as the gguf package counts them
  };
  for (const Case& c : {Case{15, "Q8_K", 584},
                        {16, "IQ2_XXS", 132},
                        {17, "IQ2_XS", 148},
                        {18, "IQ3_XXS", 196},
                        {19, "IQ1_S", 100},
                        {21, "IQ3_S", 220},
                        {22, "IQ2_S", 164},
                        {24, "I8", 512},
                        {25, "I16", 1024},
                        {27, "I64", 4096},
                        {28, "F64", 4096},
                        {29, "IQ1_M", 112},
                        {34, "TQ1_0", 108},
                        {35, "TQ2_0", 132},
                        {40, "NVFP4", 288},
                        {41, "Q1_0", 72}}) {
    CAPTURE(c.name);
    GgufBytes bytes;
    bytes.info("t", {256, 2}, c.id, 0).tensor("after", {8}).data.zeros(4096 + 32);
    bytes.infos.data.replace(bytes.infos.data.size() - 8, 8, Bytes().u64((c.bytes + 31) / 32 * 32).data);
    const GgufFile file = open_gguf(folder.put("m.gguf", bytes.build()));
    const GgufTensor& tensor = *file.find("t");
    CHECK(!tensor.dtype);
    CHECK(std::string(tensor.type_name) == c.name);
    CHECK(tensor.bytes == c.bytes);
    CHECK_THROWS_WITH_AS(file.view(tensor),
                         doctest::Contains(fmt::format("tensor 't' has the type {}", c.name).c_str()), Error);
    CHECK(file.view(*file.find("after")).elements() == 8);
    GgufBytes cut;  // its region is checked like any other's
    cut.info("t", {256, 2}, c.id, 0).data.zeros(c.bytes - 1);
    std::string whole = cut.build();
    CHECK(contains(error_of(folder, whole), "tensor 't' takes"));
  }
}

TEST_CASE("panels: of two dimensions, of types that have them, as long as whole panels") {
  constexpr uint32_t kPanels = 0x6d6f0000;
  const auto file = [](const std::vector<uint64_t>& ne, uint32_t type, size_t bytes) {
    GgufBytes out;
    out.info("t", ne, kPanels | type, 0);
    out.data.zeros(bytes);
    return out.build();
  };
  const TempFolder folder;
  // A panel of 32 columns of q4_0: 256 bytes of codes, 32 of scales, both to 64.
  const GgufFile good = open_gguf(folder.put("m.gguf", file({32, 17}, kGgmlQ4_0, 2 * (256 + 64))));
  CHECK(good.tensors[0].layout == Layout::kPanels);
  CHECK(good.tensors[0].bytes == 640);
  CHECK(good.view(good.tensors[0]).bytes() == 640);
  CHECK(good.view(good.tensors[0]).rows() == 17);
  const auto refused = [&](const std::string& bytes, const char* part) {
    folder.put("m.gguf", bytes);
    CHECK_THROWS_WITH_AS(open_gguf(folder.path / "m.gguf"), doctest::Contains(part), Error);
  };
  refused(file({32, 17}, kGgmlQ4_0, 639), "takes 640 bytes");
  refused(file({33, 17}, kGgmlQ4_0, 4096), "comes in blocks of 32");
  refused(file({32}, kGgmlQ4_0, 4096), "has 1 dimensions, expected 2");
  refused(file({32, 16, 2}, kGgmlQ4_0, 4096), "has 3 dimensions, expected 2");
  refused(file({32, 16}, kGgmlF32, 4096), "in panels, which F32 has not");
  refused(file({32, 16}, 9, 4096), "in panels, which Q8_1 has not");
  refused(file({32, 16}, 77, 4096), "unknown type");
  refused(file({uint64_t{1} << 62, 1}, kGgmlQ4_0, 4096), "exceeds 2^64");
  refused(file({uint64_t{1} << 48, 1u << 14}, kGgmlQ4_0, 4096), "but the file has");
}

TEST_CASE("other files and other versions are named") {
  const TempFolder folder;
  CHECK(contains(error_of(folder, ""), "m.gguf @0x0: magic needs 4 bytes, but the file ends after 0"));
  CHECK(contains(error_of(folder, "{\"a\": 1} some text"), "not a GGUF file"));
  CHECK(contains(error_of(folder, Bytes().raw("GGUF").u32(1).zeros(32).data),
                 "GGUF version 1 is not supported, expected 2 or 3"));
  CHECK(contains(error_of(folder, Bytes().raw("GGUF").u32(4).zeros(32).data), "GGUF version 4 is not supported"));
  CHECK(contains(error_of(folder, Bytes().raw("GGUF").u32(0x03000000).zeros(32).data),
                 "big-endian GGUF file (version 3)"));
  CHECK(contains(error_of(folder, Bytes().raw("FUGG").u32(3).zeros(32).data), "big-endian"));
}

TEST_CASE("names in errors are escaped and cut") {
  const TempFolder folder;
  GgufBytes bytes;
  bytes.info(std::string("a\n\0\x1b", 4), {0}, kGgmlF32, 0);
  CHECK(contains(error_of(folder, bytes.build()), "tensor 'a\\x0a\\x00\\x1b' dim 0 is 0"));
}
