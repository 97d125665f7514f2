// Files that PyTorch wrote (tests/corpus/torch, made by make_torch_fixtures.py) and archives built here.
#include "formats/torch.h"

#include "tests/formats/zip_bytes.h"

using namespace moiety;
using namespace moiety::test;

namespace {

using namespace std::string_literals;

std::filesystem::path fixture(const std::string& name) {
  return std::filesystem::path(MOIETY_SOURCE_DIR) / "tests" / "corpus" / "torch" / name;
}

std::string text(const std::string& value) { return "X" + Bytes().u32(static_cast<uint32_t>(value.size())).raw(value).data; }
std::string number(uint64_t value) { return "\x8a\x09"s + Bytes().u64(value).u8(0).data; }
std::string small(int64_t value) { return "\x8a\x08"s + Bytes().number(value).data; }

// What a test breaks in the archive of one tensor.
struct OneTensor {
  std::string type = "ctorch\nFloatStorage\n", key = "0", count = small(4), offset = small(0);
  std::string sizes = "(" + small(4) + "t", strides = "(" + small(1) + "t";
  std::string rebuild = "ctorch._utils\n_rebuild_tensor_v2\n", data = std::string(16, '\1');
  std::string of_type = "";  // not empty: with Python attributes, of this type

  std::string pickle() const {
    const std::string arguments = "((" + text("storage") + type + text(key) + text("cpu") + count + "tQ" + offset +
                                  sizes + strides + "\x89" + "ccollections\nOrderedDict\n)Rt";
    if (of_type.empty()) return "\x80\x02" + rebuild + arguments + "R.";
    return "\x80\x02" "ctorch._tensor\n_rebuild_from_type_v2\n(" + rebuild + of_type + arguments + "}" + text("seen") +
           "\x88stR.";
  }
  std::string bytes() const {
    return ZipBytes().add("archive/data.pkl", pickle()).add("archive/data/0", data).bytes();
  }
};

std::string error_of(const TempFolder& folder, const std::string& bytes) {
  return format_error([&] {
    const TorchFile file(folder.put("m.pt", bytes));
    file.view(file.tensor(file.root(), "t"));
  });
}

float at(const Tensor& tensor, size_t index) {
  float value;
  std::memcpy(&value, tensor.data + index * sizeof value, sizeof value);
  return value;
}

}  // namespace

TEST_CASE("both containers as PyTorch writes them: names, types, shapes, shared storages, strides") {
  for (const char* name : {"all.pt", "all-legacy.pt"}) {
    CAPTURE(name);
    const TorchFile file(fixture(name));
    const PickleValue args = file.root().find("args");
    CHECK(args.symbol() == "argparse.Namespace");
    CHECK(args.find("width").integer() == 64);
    CHECK(args.find("name").text() == "n\xc3\xa9");
    CHECK(file.root().find("list").at(2).number() == 2.5);
    const PickleValue model = file.root().find("model");
    std::vector<std::string> names;
    model.members([&](PickleValue key, PickleValue) { names.emplace_back(*key.text()); });
    CHECK(names == std::vector<std::string>{"a", "half", "bf16", "shared.whole", "shared.part", "turned", "every_second",
                                            "scalar", "none", "i64", "parameter"});
    const auto tensor = [&](const char* key) { return file.tensor(model.find(key), key); };
    const Tensor a = file.view(tensor("a"));
    CHECK(shape_string(a) == "[3, 4] f32");
    CHECK(at(a, 11) == 11);
    CHECK(shape_string(file.view(tensor("half"))) == "[2, 3] f16");
    CHECK(shape_string(file.view(tensor("bf16"))) == "[2] bf16");
    CHECK(tensor("shared.part").storage == tensor("shared.whole").storage);
    CHECK(at(file.view(tensor("shared.part")), 0) == 5);
    CHECK(file.view(tensor("shared.part")).data == file.view(tensor("shared.whole")).data + 20);
    CHECK(at(file.view(tensor("scalar")), 0) == 7);
    CHECK(at(file.view(tensor("parameter")), 3) == 1);
    CHECK(tensor("none").elements() == 0);
    CHECK(contains(format_error([&] { file.view(tensor("none")); }), "tensor 'none' dim 0 is 0"));
    CHECK_FALSE(tensor("i64").dtype);
    CHECK(contains(format_error([&] { file.view(tensor("turned")); }), "gaps between its rows: strides [1, 4]"));
    Buffer buffer;
    CHECK(at(file.copy(tensor("turned"), buffer), 1) == 4);  // [4,3]: row 0 is 0 4 8
    CHECK(at(file.copy(tensor("turned"), buffer), 3) == 1);
    CHECK(at(file.copy(tensor("every_second"), buffer), 5) == 10);
    CHECK(contains(format_error([&] { file.tensor(args, "args"); }), "it is made by 'argparse.Namespace', which is not"));
    CHECK(contains(format_error([&] { file.tensor(file.root(), "root"); }), "tensor 'root': it is no tensor"));
  }
}

TEST_CASE("a deflated pickle is read, a deflated tensor is refused with the remedy") {
  const TorchFile file(fixture("tiny-deflated.pt"));
  CHECK(at(file.view(file.tensor(file.root().find("w"), "w")), 1) == 2);
  CHECK(contains(file.root().where(), "tiny-deflated.pt: tiny/data.pkl @0x2"));
  const TorchFile broken(fixture("tensor-deflated.pt"));
  CHECK(contains(format_error([&] { broken.tensor(broken.root().find("w"), "w"); }),
                 "tensor 'w' is compressed; save the file again with torch.save"));
}

TEST_CASE("a storage's record has the size that its count says, its key is a plain name") {
  const TempFolder folder;
  const TorchFile good(folder.put("m.pt", OneTensor().bytes()));
  CHECK(shape_string(good.view(good.tensor(good.root(), "t"))) == "[4] f32");
  CHECK(contains(error_of(folder, OneTensor{.count = number(uint64_t{1} << 62)}.bytes()), "no possible size"));
  CHECK(contains(error_of(folder, OneTensor{.count = number(UINT64_MAX)}.bytes()), "no possible size"));
  CHECK(contains(error_of(folder, OneTensor{.count = small(-4)}.bytes()), "no possible size"));
  CHECK(contains(error_of(folder, OneTensor{.count = small(5)}.bytes()), "needs 5 elements of float32, the record has 16"));
  CHECK(contains(error_of(folder, OneTensor{.type = "ctorch\nHalfStorage\n"}.bytes()), "needs 4 elements of float16"));
  CHECK(contains(error_of(folder, OneTensor{.type = "cos\nHalfStorage\n"}.bytes()), "'os.HalfStorage' is not supported"));
  CHECK(contains(error_of(folder, OneTensor{.key = "../0"}.bytes()), "storage key '../0' is no plain name"));
  CHECK(contains(error_of(folder, OneTensor{.key = ".."}.bytes()), "is no plain name"));
  CHECK(contains(error_of(folder, OneTensor{.key = ""}.bytes()), "is no plain name"));
  CHECK(contains(error_of(folder, OneTensor{.key = "1"}.bytes()), "the record of storage '1' is missing"));
}

TEST_CASE("a view lies inside its storage") {
  const TempFolder folder;
  const std::string inside = "reaches beyond the 4 elements";
  CHECK(contains(error_of(folder, OneTensor{.offset = small(4)}.bytes()), inside));
  CHECK(contains(error_of(folder, OneTensor{.offset = small(1)}.bytes()), inside));
  CHECK(contains(error_of(folder, OneTensor{.offset = small(-1)}.bytes()), "offset is no possible number"));
  CHECK(contains(error_of(folder, OneTensor{.strides = "(" + small(2) + "t"}.bytes()), inside));
  CHECK(contains(error_of(folder, OneTensor{.strides = "(" + small(INT64_MAX) + "t"}.bytes()), inside));
  CHECK(contains(error_of(folder, OneTensor{.strides = "(" + small(-1) + "t"}.bytes()), "0 or more"));
  CHECK(contains(error_of(folder, OneTensor{.sizes = "(" + small(-1) + "t"}.bytes()), "0 or more"));
  CHECK(contains(error_of(folder, OneTensor{.sizes = "(t"}.bytes()), "two lists"));
  CHECK(contains(error_of(folder, OneTensor{.sizes = "(" + small(int64_t{1} << 40) + "t", .strides = "(" + small(0) + "t"}.bytes()),
                 "1099511627776 elements share the 4 of its storage"));
  CHECK(contains(error_of(folder, OneTensor{.sizes = "(" + small(INT64_MAX) + small(4) + "t",
                                            .strides = "(" + small(0) + small(0) + "t"}.bytes()),
                 "more elements than any file"));
}

TEST_CASE("what makes a tensor must be PyTorch's own; nothing runs") {
  const TempFolder folder;
  const std::string canary = (folder.path / "canary").string();
  CHECK(contains(error_of(folder, OneTensor{.rebuild = "cos\nsystem\n"}.bytes()), "made by 'os.system', which is not supported"));
  const std::string pickle = "\x80\x02" "cos\nsystem\n"s + text("touch " + canary) + "\x85R."s;
  CHECK(contains(error_of(folder, ZipBytes().add("a/data.pkl", pickle).bytes()), "made by 'os.system'"));
  CHECK_FALSE(std::filesystem::exists(canary));
  CHECK(contains(error_of(folder, ZipBytes().add("a/data.pkl", OneTensor().pickle() + "N").bytes()), "1 bytes stand behind"));
  CHECK(contains(error_of(folder, ZipBytes().add("a/x", "").bytes()), "no record FOLDER/data.pkl"));
  CHECK(contains(error_of(folder, ZipBytes().add("a/data.pkl", "").add("b/data.pkl", "").bytes()), "stands beside"));
  CHECK(contains(error_of(folder, ZipBytes().add("a/data.pkl", "N.").add("a/byteorder", "big").bytes()), "big-endian"));
  CHECK(contains(error_of(folder, "hello"), "neither a zip archive nor a pickle"));
  CHECK(contains(error_of(folder, "\x80\x02K\1."), "the magic number of a PyTorch file is missing"));
}

TEST_CASE("tensors and parameters with Python attributes are what they are without") {
  const TempFolder folder;
  const std::string tensor = "ctorch\nTensor\n", wrapper = "torch._tensor._rebuild_from_type_v2";
  for (const std::string& type : {tensor, "ctorch.nn.parameter\nParameter\n"s}) {
    const TorchFile file(folder.put("m.pt", OneTensor{.of_type = type}.bytes()));
    CHECK(TorchFile::is_tensor(file.root()));
    CHECK(shape_string(file.view(file.tensor(file.root(), "t"))) == "[4] f32");
  }
  const std::string plain = OneTensor{.of_type = tensor}.pickle();
  const std::string parameter = "\x80\x02" "ctorch._utils\n_rebuild_parameter_with_state\n("s +
                                plain.substr(2, plain.size() - 3) + "\x88" "ccollections\nOrderedDict\n)R}tR.";
  const ZipBytes archive = ZipBytes().add("a/data.pkl", parameter).add("a/data/0", std::string(16, '\1'));
  const TorchFile file(folder.put("m.pt", archive.bytes()));
  CHECK(shape_string(file.view(file.tensor(file.root(), "t"))) == "[4] f32");
  const auto error = [&](const OneTensor& one) { return error_of(folder, one.bytes()); };
  CHECK(contains(error({.of_type = "cmine\nTensor\n"}), "made by 'mine.Tensor', which is not supported"));
  CHECK(contains(error({.of_type = "N"}), "made by '" + wrapper + "', which is not"));
  CHECK(contains(error({.rebuild = "cos\nsystem\n", .of_type = tensor}), "made by 'os.system', which is not"));
  CHECK(contains(error({.rebuild = "N", .of_type = tensor}), "it is no tensor"));
  CHECK(contains(error({.offset = small(4), .of_type = tensor}), "reaches beyond the 4 elements"));
  const std::string bare = "\x80\x02" "ctorch._tensor\n_rebuild_from_type_v2\n)R.";
  CHECK(contains(error_of(folder, ZipBytes().add("a/data.pkl", bare).bytes()), "made by '" + wrapper + "', which is not"));
}

TEST_CASE("the legacy container's storages are walked with checked counts") {
  const TempFolder folder;
  const std::string good = slurp(fixture("tiny-legacy.pt"));  // ends with the count 2 and two floats
  const size_t count = good.size() - 16;
  const auto with = [&](uint64_t value) {
    std::string bytes = good;
    std::memcpy(bytes.data() + count, &value, 8);
    return bytes;
  };
  const TorchFile file(folder.put("m.pt", good));
  CHECK(at(file.view(file.tensor(file.root().find("w"), "w")), 1) == 2);
  CHECK(contains(error_of(folder, with(3)), "has 3 elements, its tensors say 2"));
  CHECK(contains(error_of(folder, with(uint64_t{1} << 63)), "its tensors say 2"));
  CHECK(contains(error_of(folder, good + "x"), "1 bytes stand behind the last storage"));
  CHECK(contains(error_of(folder, good.substr(0, count + 4)), "is cut"));
  CHECK(contains(error_of(folder, good.substr(0, good.size() - 1)), "does not fit the file"));
}
