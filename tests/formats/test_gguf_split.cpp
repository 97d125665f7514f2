#include <array>

#include "formats/gguf.h"
#include "formats/gguf_writer.h"
#include "tests/formats/gguf_bytes.h"

using namespace moiety;
using namespace moiety::test;

namespace {

// Shard `number` (from 0) with one tensor.
std::string shard(uint32_t number, uint32_t count, uint32_t total, const std::string& tensor) {
  GgufBytes bytes;
  bytes.u32("split.no", number).u32("split.count", count).u32("split.tensors.count", total).tensor(tensor, {4});
  return bytes.build();
}

struct Model : TempFolder {
  Model() {
    for (uint32_t i = 0; i < 3; ++i) put(name(i), shard(i, 3, 3, "t" + std::to_string(i)));
  }
  static std::string name(uint32_t number) { return gguf_shard_name("m", number, 3); }
  std::string error(uint32_t number = 0) const {
    return format_error([&] { open_gguf(path / name(number)); });
  }
};

}  // namespace

TEST_CASE("any shard opens the whole model") {
  const Model model;
  CHECK(Model::name(1) == "m-00002-of-00003.gguf");
  for (uint32_t i = 0; i < 3; ++i) {
    const GgufFile file = open_gguf(model.path / Model::name(i));
    CHECK(file.shards.size() == 3);
    REQUIRE(file.tensors.size() == 3);
    CHECK(file.find("t2")->shard == 2);
    CHECK(file.metadata.require_u32("split.no") == 0);
  }
}

TEST_CASE("a missing shard is named") {
  const Model model;
  std::filesystem::remove(model.path / Model::name(1));
  try {
    open_gguf(model.path / Model::name(2));
    FAIL_CHECK("no error");
  } catch (const Error& error) {
    CHECK(error.status() == Status::kIo);
    CHECK(contains(error.what(), "m-00002-of-00003.gguf: shard 2 of 3 is missing"));
  }
}

TEST_CASE("shards that do not agree are refused") {
  SUBCASE("two shards swapped") {
    const Model model;
    std::filesystem::rename(model.path / Model::name(1), model.path / "x");
    std::filesystem::rename(model.path / Model::name(2), model.path / Model::name(1));
    std::filesystem::rename(model.path / "x", model.path / Model::name(2));
    CHECK(contains(model.error(),
                   "m-00002-of-00003.gguf @0x20: key 'split.no': is 2 (from 0), but the name says shard 2 (from 1)"));
  }
  SUBCASE("another count") {
    const Model model;
    model.put(Model::name(1), shard(1, 4, 3, "t1"));
    CHECK(contains(model.error(), "'split.count': is 4, but the other shards say 3"));
    CHECK(contains(model.error(1), "'split.count': is 4, but the name says 3"));
  }
  SUBCASE("another number of tensors") {
    const Model model;
    model.put(Model::name(2), shard(2, 3, 4, "t2"));
    CHECK(contains(model.error(), "'split.tensors.count': is 4, but another shard says 3"));
    for (uint32_t i = 0; i < 3; ++i) model.put(Model::name(i), shard(i, 3, 9, "t" + std::to_string(i)));
    CHECK(contains(model.error(), "'split.tensors.count': is 9, but the shards have 3"));
  }
  SUBCASE("one tensor in two shards") {
    const Model model;
    model.put(Model::name(2), shard(2, 3, 3, "t0"));
    CHECK(contains(model.error(), "tensor 't0' stands twice, first in m-00001-of-00003.gguf"));
  }
  SUBCASE("a shard without split keys") {
    const Model model;
    model.put(Model::name(1), GgufBytes().tensor("t1", {4}).build());
    CHECK(contains(model.error(), "m-00002-of-00003.gguf @0x18: key 'split.no': is missing"));
    CHECK(contains(model.error(1), "the name says shard 2 of 3, but split.count is missing"));
  }
  SUBCASE("a count but no such name") {
    const Model model;
    model.put("plain.gguf", shard(0, 3, 3, "t0"));
    CHECK(contains(format_error([&] { open_gguf(model.path / "plain.gguf"); }),
                   "the name must end in -00001-of-00003.gguf"));
  }
  SUBCASE("a count of 0, and one beyond any name") {
    const TempFolder folder;
    CHECK(contains(format_error([&] { open_gguf(folder.put("m.gguf", shard(0, 0, 1, "t"))); }),
                   "expected at least 1, got 0"));
    CHECK(
        contains(format_error([&] { open_gguf(folder.put("m.gguf", shard(0, UINT32_MAX, 1, "t"))); }), "limit 99999"));
  }
  SUBCASE("shard 0 and shard 4 of 3") {
    const Model model;
    model.put("m-00004-of-00003.gguf", shard(3, 3, 3, "t"));
    CHECK(contains(format_error([&] { open_gguf(model.path / "m-00004-of-00003.gguf"); }), "the name says shard 4"));
    model.put("m-00000-of-00003.gguf", shard(0, 3, 3, "t"));
    CHECK(contains(format_error([&] { open_gguf(model.path / "m-00000-of-00003.gguf"); }), "the name says shard 0"));
  }
}

TEST_CASE("the writer's splits are read back") {
  const TempFolder folder;
  const std::array<float, 4> values{1, 2, 3, 4};
  const std::array<int64_t, 1> shape{4};
  for (uint16_t i = 0; i < 2; ++i) {
    GgufWriter writer(folder.path / gguf_shard_name("w", i, 2));
    writer.set_split(i, 2, 2);
    writer.add_tensor("t" + std::to_string(i), DType::kF32, shape);
    writer.write(std::as_bytes(std::span(values)));
    writer.commit();
  }
  CHECK(open_gguf(folder.path / gguf_shard_name("w", 1, 2)).tensors.size() == 2);
}
