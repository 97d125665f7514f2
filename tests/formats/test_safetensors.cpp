#include "formats/safetensors.h"
#include "tests/formats/safetensors_bytes.h"

using namespace moiety;
using namespace moiety::test;

namespace {

std::string error_of(const TempFolder& folder, std::string_view bytes) {
  return format_error([&] { open_safetensors(folder.put("m.safetensors", bytes)); });
}

}  // namespace

TEST_CASE("a file is read: names, shapes, types, data at any byte") {
  const TempFolder folder;
  const std::string header =
      R"({"__metadata__":{"format":"pt"},"a\u00e9":{"dtype":"BF16","shape":[2,3],"data_offsets":[0,12]},)"
      R"("s":{"data_offsets":[12,16],"shape":[],"dtype":"F32"},"none":{"dtype":"F16","shape":[0,4],"data_offsets":[16,16]},)"
      R"("f8":{"dtype":"F8_E4M3","shape":[3],"data_offsets":[16,19]},"new":{"dtype":"Z9","shape":[7],"data_offsets":[19,20]}}   )";
  for (size_t padding : {0, 1, 2, 3}) {
    const SafetensorsFile file =
        open_safetensors(folder.put("m.safetensors", safetensors_bytes(header + std::string(padding, ' '), 20)));
    REQUIRE(file.entries.size() == 5);
    CHECK(file.metadata.size() == 1);
    const SafetensorsEntry* a = file.find("a\xc3\xa9");
    REQUIRE(a != nullptr);
    CHECK(shape_string(file.view(*a)) == "[2, 3] bf16");
    CHECK(a->offset == 8 + header.size() + padding);
    CHECK(file.view(*file.find("s")).elements() == 1);
    CHECK(file.find("none")->bytes == 0);
    CHECK(contains(format_error([&] { file.view(*file.find("none")); }), "tensor 'none' dim 0 is 0"));
    CHECK(contains(format_error([&] { file.view(*file.find("f8")); }),
                   "tensor 'f8' has the type F8_E4M3, which is not supported"));
    CHECK(contains(format_error([&] { file.view(*file.find("new")); }), "the type Z9,"));
    CHECK(file.find("b") == nullptr);
  }
}

TEST_CASE("the header's length is checked first") {
  const TempFolder folder;
  CHECK(contains(error_of(folder, Bytes().u64(UINT64_MAX).zeros(56).data),
                 "m.safetensors @0x0: header length is 18446744073709551615, limit 100000000"));
  CHECK(contains(error_of(folder, Bytes().u64(1000).zeros(56).data), "header length is 1000, but 56 bytes remain"));
  CHECK(contains(error_of(folder, Bytes().zeros(7).data), "header length needs 8 bytes, the file has 7"));
  CHECK(contains(error_of(folder, ""), "the file has 0"));
  CHECK(contains(error_of(folder, Bytes().u64(0).data), "@0x8: the header does not begin with '{'"));
  CHECK(contains(error_of(folder, safetensors_bytes(" {}", 0)), "does not begin with '{'"));
  CHECK(contains(error_of(folder, safetensors_bytes("[]", 0)), "does not begin with '{'"));
  CHECK(open_safetensors(folder.put("m.safetensors", safetensors_bytes("{}", 0))).entries.empty());
}

TEST_CASE("tensors cover the data exactly") {
  const TempFolder folder;
  std::string ten = "{";
  for (int i = 0; i < 10; ++i) ten += (i ? "," : "") + f32_entry("t" + std::to_string(i), 0, 8);
  CHECK(contains(error_of(folder, safetensors_bytes(ten + "}", 8)), "begins before the end of the one before"));
  CHECK(contains(error_of(folder, safetensors_bytes("{" + f32_entry("a", 0, 4) + "," + f32_entry("b", 5, 9) + "}", 9)),
                 "tensor 'b' begins behind the end"));
  CHECK(contains(error_of(folder, safetensors_bytes("{" + f32_entry("a", 1, 5) + "}", 5)), "tensor 'a' begins behind"));
  CHECK(contains(error_of(folder, safetensors_bytes("{" + f32_entry("a", 0, 4) + "}", 5)),
                 "1 bytes stand behind the last tensor"));
  CHECK(contains(error_of(folder, safetensors_bytes("{}", 3)), "3 bytes stand behind"));
  CHECK(contains(error_of(folder, safetensors_bytes("{" + f32_entry("a", 0, 8) + "}", 4)),
                 "data_offsets: [0, 8) does not lie in the 4 bytes"));
  CHECK(contains(error_of(folder, safetensors_bytes(R"({"t":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}})", 4)),
                 "[4, 0) does not lie"));
  CHECK(contains(error_of(folder, safetensors_bytes(R"({"t":{"dtype":"F32","shape":[1],"data_offsets":[0]}})", 4)),
                 "expected 2 numbers, got 1"));
  CHECK(contains(error_of(folder, safetensors_bytes(R"({"t":{"dtype":"F32","shape":[1]}})", 4)),
                 "expected 2 numbers, got 0"));
}

TEST_CASE("shapes are unsigned integers and agree with the data") {
  const TempFolder folder;
  for (const char* shape : {"[-1]", "[1e3]", "[1.5]", "[18446744073709551616]", "[\"2\"]", "[2.0]", "[[2]]", "[null]",
                            "{}", "2", "[02]", "[2,]"}) {
    CAPTURE(shape);
    CHECK(contains(error_of(folder, with_shape(shape)), "t"));
  }
  CHECK(contains(error_of(folder, with_shape("[-1]")), "tensor 't' shape"));
  CHECK(contains(error_of(folder, with_shape("[3]")), "tensor 't' shape: it needs 12 bytes, data_offsets give 8"));
  CHECK(contains(error_of(folder, with_shape("[4294967296,4294967296]")), "more than 2^64"));
  CHECK(contains(error_of(folder, with_shape("[4611686018427387904]")), "more than 2^64"));
  CHECK(contains(error_of(folder, with_shape("[1" +
                                             [] {
                                               std::string s;
                                               for (int i = 0; i < 99; ++i) s += ",1";
                                               return s;
                                             }() +
                                             "]")),
                 "more than 64 values"));
  open_safetensors(folder.put("m.safetensors", with_shape("[2]")));
  open_safetensors(folder.put("m.safetensors", with_shape("[]", 4)));
  open_safetensors(folder.put("m.safetensors", with_shape("[0,4]", 0)));
  open_safetensors(folder.put("m.safetensors", with_shape("[4294967296,4294967296,0]", 0)));
}

TEST_CASE("nothing stands twice") {
  const TempFolder folder;
  CHECK(contains(error_of(folder, safetensors_bytes("{" + f32_entry("a", 0, 4) + "," + f32_entry("a", 4, 8) + "}", 8)),
                 "tensor 'a' stands twice"));
  CHECK(contains(error_of(folder, safetensors_bytes(R"({"__metadata__":{"a":"1","a":"2"}})", 0)),
                 "__metadata__: the key 'a' stands twice"));
  CHECK(contains(error_of(folder, safetensors_bytes(R"({"__metadata__":{},"__metadata__":{}})", 0)),
                 "'__metadata__' stands twice"));
  CHECK(contains(
      error_of(folder, safetensors_bytes(R"({"t":{"dtype":"F32","dtype":"F32","shape":[],"data_offsets":[0,4]}})", 4)),
      "tensor 't': the key 'dtype' stands twice"));
  // "a" written in two ways is one name.
  CHECK(contains(
      error_of(folder, safetensors_bytes("{" + f32_entry("a", 0, 4) + "," + f32_entry("\\u0061", 4, 8) + "}", 8)),
      "tensor 'a' stands twice"));
}

TEST_CASE("the JSON is strict, flat and UTF-8") {
  const TempFolder folder;
  const auto metadata = [&](const std::string& text) {
    return error_of(folder, safetensors_bytes("{\"__metadata__\":{\"k\":" + text + "}}", 0));
  };
  CHECK(contains(metadata(std::string(100000, '[')), "m.safetensors @0x1f: JSON nested deeper than 4"));
  CHECK(contains(metadata("[[]]"), "__metadata__ 'k'"));
  CHECK(contains(metadata("1"), "__metadata__ 'k'"));
  CHECK(contains(metadata(R"("\ud800")"), "__metadata__ 'k'"));
  CHECK(contains(metadata(R"("\udc00x")"), "__metadata__ 'k'"));
  CHECK(contains(metadata("\"\xff\""), "not valid UTF-8"));
  CHECK(contains(metadata("\"\xed\xa0\x80\""), "not valid UTF-8"));
  CHECK(contains(metadata("\"a\nb\""), "m.safetensors @"));
  CHECK(contains(error_of(folder, safetensors_bytes("{" + f32_entry("a\\u0000b", 0, 4) + "}", 4)),
                 "a key holds a NUL: 'a\\x00b'"));
  CHECK(contains(error_of(folder, safetensors_bytes("{" + f32_entry("", 0, 4) + "}", 4)), "a tensor has no name"));
  CHECK(contains(error_of(folder, safetensors_bytes("{}{}", 0)), "something follows"));
  for (const char* text :
       {"{", "{\"a\"", "{\"a\":", "{\"a\":{}", "{\"a\":{},}", "{\"a\" {}}", "{a:{}}", "{} x", "{\"a\":{\"x\":1}}",
        "{\"a\":1}", "{\"a\":[]}", "{\"a\":{\"dtype\":1}}", "{\"\\ud800\":{}}", "{\"a\":{\"dtype\":\"F32\"}}",
        "{\"t\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4] \"x\"}}"}) {
    CAPTURE(text);
    CHECK(contains(error_of(folder, safetensors_bytes(text, 0)), "m.safetensors @0x"));
  }
}

TEST_CASE("a hundred thousand tensors are read in well under a second") {
  const TempFolder folder;
  std::string header = "{";
  for (size_t i = 0; i < 100'000; ++i)
    header += (i ? "," : "") + f32_entry("model.layers." + std::to_string(i), 4 * i, 4 * i + 4);
  const auto path = folder.put("m.safetensors", safetensors_bytes(header + "}", 400'000));
  CHECK(cpu_seconds([&] { open_safetensors(path); }) < 1);
  const SafetensorsFile file = open_safetensors(path);
  CHECK(file.find("model.layers.99999")->bytes == 4);
}
