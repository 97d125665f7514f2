#include <sys/stat.h>

#include "formats/safetensors.h"
#include "tests/formats/safetensors_bytes.h"

using namespace moiety;
using namespace moiety::test;

namespace {

constexpr const char* kIndex = "model.safetensors.index.json";

struct Model : TempFolder {
  Model() {
    put("a.safetensors", safetensors_bytes("{" + f32_entry("x", 0, 4) + "," + f32_entry("y", 4, 12) + "}", 12));
    put("b.safetensors", safetensors_bytes("{" + f32_entry("z", 0, 4) + "}", 4));
    index(R"("x":"a.safetensors","y":"a.safetensors","z":"b.safetensors")");
  }
  void index(const std::string& map) const {
    put(kIndex, R"({"metadata":{"total_size":16},"weight_map":{)" + map + "}}");
  }
  std::string error() const {
    return format_error([&] { open_safetensors(path); });
  }
};

Status status_of(const std::filesystem::path& path) {
  try {
    open_safetensors(path);
  } catch (const Error& error) {
    return error.status();
  }
  return Status::kOk;
}

}  // namespace

TEST_CASE("a folder with an index opens all its shards") {
  const Model model;
  for (const auto& path : {model.path, model.path / kIndex}) {
    const SafetensorsFile file = open_safetensors(path);
    CHECK(file.shards.size() == 2);
    REQUIRE(file.entries.size() == 3);
    CHECK(file.shards[file.find("z")->shard]->name() == "b.safetensors");
    CHECK(file.view(*file.find("y")).cols() == 2);
  }
}

TEST_CASE("a folder with one file, and one with none") {
  const TempFolder folder;
  CHECK(status_of(folder.path) == Status::kIo);
  folder.put("model.safetensors", safetensors_bytes("{" + f32_entry("x", 0, 4) + "}", 4));
  CHECK(open_safetensors(folder.path).entries.size() == 1);
}

TEST_CASE("shard names are plain base names of regular files") {
  const Model model;
  for (const char* name : {"../x", "/etc/passwd", "a/b", R"(a\\..\\b)", "", ".", "..", R"(a\u0000b)"}) {
    CAPTURE(name);
    model.index(R"("x":")" + std::string(name) + "\"");
    CHECK(contains(model.error(), "weight_map 'x': expected a plain file name, got '"));
  }
  REQUIRE(mkfifo((model.path / "fifo").c_str(), 0600) == 0);
  model.index(R"("x":"fifo")");
  CHECK(status_of(model.path) == Status::kIo);
  std::filesystem::create_directory(model.path / "folder");
  model.index(R"("x":"folder")");
  CHECK(status_of(model.path) == Status::kIo);
}

TEST_CASE("index and shards agree") {
  const Model model;
  SUBCASE("a tensor that moved") {
    model.index(R"("x":"a.safetensors","y":"b.safetensors","z":"b.safetensors")");
    CHECK(contains(model.error(),
                   "tensor 'y' stands here, but model.safetensors.index.json says it is in b.safetensors"));
  }
  SUBCASE("a tensor that is missing") {
    model.index(R"("x":"a.safetensors","w":"b.safetensors")");
    CHECK(contains(model.error(), "weight_map 'w': it is not in b.safetensors"));
  }
  SUBCASE("a tensor in two shards") {
    model.put("b.safetensors", safetensors_bytes("{" + f32_entry("z", 0, 4) + "," + f32_entry("x", 4, 8) + "}", 8));
    CHECK(contains(model.error(), "b.safetensors @"));
    CHECK(contains(model.error(), "tensor 'x' stands here"));
  }
  SUBCASE("a tensor twice in the index") {
    model.index(R"("x":"a.safetensors","x":"b.safetensors")");
    CHECK(contains(model.error(), "weight_map: the key 'x' stands twice"));
  }
  SUBCASE("a shard that is missing") {
    model.index(R"("x":"a.safetensors","z":"c.safetensors")");
    try {
      open_safetensors(model.path);
      FAIL_CHECK("no error");
    } catch (const Error& error) {
      CHECK(error.status() == Status::kIo);
      CHECK(contains(error.what(), "c.safetensors: the shard is missing"));
    }
  }
  SUBCASE("tensors that the index leaves out are left out") {
    model.index(R"("x":"a.safetensors")");
    CHECK(open_safetensors(model.path).entries.size() == 1);
  }
}

TEST_CASE("the index is strict JSON") {
  const Model model;
  const std::string good = R"("weight_map":{"x":"a.safetensors"})";
  for (const std::string& text :
       {std::string(), std::string("{}"), std::string("[]"), std::string("{\"weight_map\":{}}"),
        std::string("{\"weight_map\":[]}"), std::string("{\"weight_map\":{\"x\":1}}"), "{" + good + "," + good + "}",
        "{" + good + "} x", "{" + good, "{\"metadata\":{\"a\":1,\"a\":2}," + good + "}",
        "{\"metadata\":{\"a\":nonsense}," + good + "}", "{\"metadata\":" + std::string(100000, '[') + "," + good + "}",
        "{\"metadata\":\"\xff\"," + good + "}", "{\"metadata\":\"\\ud800\"," + good + "}",
        "{\"metadata\":1e999," + good + "}", "{\"metadata\":tru," + good + "}"}) {
    CAPTURE(text);
    model.put(kIndex, text);
    CHECK(contains(model.error(), "model.safetensors.index.json @0x"));
  }
  model.put(kIndex, "{\"metadata\":{\"a\":[1,-2.5,null,true,\"s\",{\"b\":{}}]}," + good + "}");
  CHECK(open_safetensors(model.path).entries.size() == 1);
}
