#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <array>
#include <limits>

#include "formats/gguf_writer.h"
#include "formats/npy.h"
#include "formats/safetensors.h"
#include "formats/safetensors_writer.h"
#include "tests/formats/bytes.h"
#include "tests/support/status.h"

using namespace moiety;
using namespace moiety::test;

namespace {

std::span<const std::byte> bytes_of(std::span<const float> values) { return std::as_bytes(values); }

size_t files_in(const std::filesystem::path& path) {
  size_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(path)) (void)entry, ++count;
  return count;
}

}  // namespace

TEST_CASE("GGUF: every kind of value and two tensors come back") {
  const TempFolder folder;
  const std::array<float, 6> x{1, 2, 3, 4, 5, 6};
  for (uint32_t alignment : {32u, 8u, 4096u}) {
    GgufWriter writer(folder.path / "m.gguf");
    if (alignment != 32) writer.set_alignment(alignment);
    writer.set_u8("u8", 255), writer.set_i8("i8", -128), writer.set_u16("u16", 65535), writer.set_i16("i16", -32768);
    writer.set_u32("u32", UINT32_MAX), writer.set_i32("i32", INT32_MIN), writer.set_u64("u64", UINT64_MAX),
        writer.set_i64("i64", INT64_MIN);
    writer.set_f32("f32", 0.5f), writer.set_f64("f64", 0.25), writer.set_bool("yes", true),
        writer.set_string("s", "text");
    writer.set_strings("ss", std::array<std::string_view, 3>{"a", "", "ccc"});
    writer.set_floats("fs", x), writer.set_i32s("is", std::array{-1, 2}), writer.set_u32s("us", std::array{1u, 2u});
    writer.add_tensor("x", DType::kF32, std::array<int64_t, 2>{2, 3});
    writer.add_tensor("q", DType::kQ8_0, std::array<int64_t, 3>{1, 2, 32});
    writer.write(bytes_of(x).first(5));  // pieces of any length
    writer.write(bytes_of(x).subspan(5));
    writer.write(std::vector<std::byte>(68, std::byte{7}));
    CHECK(files_in(folder.path) == (alignment == 32 ? 0 : 1));
    writer.commit();

    const GgufFile file = open_gguf(folder.path / "m.gguf");
    const GgufMetadata& m = file.metadata;
    CHECK(m.get_u32("u8") == 255u);
    CHECK(m.get_i64("i8") == -128);
    CHECK(m.get_u32("u16") == 65535u);
    CHECK(m.get_i64("i16") == -32768);
    CHECK(m.get_u32("u32") == UINT32_MAX);
    CHECK(m.get_i64("i32") == INT32_MIN);
    CHECK(m.get_u64("u64") == UINT64_MAX);
    CHECK(m.get_i64("i64") == INT64_MIN);
    CHECK(m.get_f32("f32") == 0.5f);
    CHECK(m.get_f32("f64") == 0.25f);
    CHECK(m.get_bool("yes") == true);
    CHECK(m.get_string("s") == "text");
    CHECK(m.require_strings("ss") == std::vector<std::string_view>{"a", "", "ccc"});
    CHECK(m.get_floats("fs") == std::vector<float>(x.begin(), x.end()));
    CHECK(m.get_integers("is") == std::vector<int64_t>{-1, 2});
    CHECK(m.get_integers("us") == std::vector<int64_t>{1, 2});
    const Tensor view = file.view(*file.find("x"));
    CHECK(std::memcmp(view.data, x.data(), sizeof x) == 0);
    CHECK(shape_string(file.view(*file.find("q"))) == "[1, 2, 32] q8_0");
    CHECK(file.view(*file.find("q")).data[67] == std::byte{7});

    GgufWriter copy(folder.path / "copy.gguf");
    for (const GgufValue& value : m.values()) copy.copy(value);
    copy.commit();
    const GgufFile again = open_gguf(folder.path / "copy.gguf");
    REQUIRE(again.metadata.values().size() == m.values().size());
    for (size_t i = 0; i < m.values().size(); ++i) {
      const auto a = m.values()[i].data, b = again.metadata.values()[i].data;
      CHECK(std::equal(a.begin(), a.end(), b.begin(), b.end()));
    }
    std::filesystem::remove(folder.path / "copy.gguf");
  }
}

TEST_CASE("GGUF: misuse of the writer is refused and leaves nothing") {
  const TempFolder folder;
  const auto refused = [&](const std::function<void(GgufWriter&)>& use) {
    return status_of([&] {
      GgufWriter writer(folder.path / "m.gguf");
      use(writer);
      writer.commit();
    });
  };
  const std::array<int64_t, 1> one{1}, bad{0}, odd{31};
  const std::array<int64_t, 5> five{1, 1, 1, 1, 1};
  CHECK(refused([&](GgufWriter& w) { w.set_u8("a", 1), w.set_u8("a", 1); }) == Status::kInvalidArgument);
  CHECK(refused([&](GgufWriter& w) { w.set_u8("", 1); }) == Status::kInvalidArgument);
  CHECK(refused([&](GgufWriter& w) { w.set_alignment(24); }) == Status::kInvalidArgument);
  CHECK(refused([&](GgufWriter& w) { w.add_tensor("t", DType::kF32, bad); }) == Status::kInvalidArgument);
  CHECK(refused([&](GgufWriter& w) { w.add_tensor("t", DType::kQ4_0, odd); }) == Status::kInvalidArgument);
  CHECK(refused([&](GgufWriter& w) { w.add_tensor("t", DType::kF32, five); }) == Status::kInvalidArgument);
  CHECK(refused([&](GgufWriter& w) { w.add_tensor("t", DType::kF32, one); }) == Status::kInvalidArgument);  // no bytes
  const std::array<int64_t, 2> matrix{16, 32};
  const std::string long_name(65, 'n');
  CHECK(refused([&](GgufWriter& w) { w.add_tensor("t", DType::kF32, matrix, Layout::kPanels); }) == Status::kInvalidArgument);
  CHECK(refused([&](GgufWriter& w) { w.add_tensor("t", DType::kF16, one, Layout::kPanels); }) == Status::kInvalidArgument);
  CHECK(refused([&](GgufWriter& w) { w.add_tensor(long_name, DType::kF32, one); }) == Status::kInvalidArgument);
  CHECK(refused([&](GgufWriter& w) { w.write(std::vector<std::byte>(1)); }) == Status::kInvalidArgument);
  CHECK(refused([&](GgufWriter& w) {
          w.add_tensor("t", DType::kF32, one), w.add_tensor("t", DType::kF32, one), w.write(std::vector<std::byte>(8));
        }) == Status::kInvalidArgument);
  CHECK(files_in(folder.path) == 0);
  CHECK(status_of([&] { GgufWriter(folder.path / "nowhere" / "m.gguf"); }) == Status::kIo);
}

TEST_CASE("safetensors: tensors, metadata and an index come back") {
  const TempFolder folder;
  const std::array<float, 3> x{1, 2, 3};
  SafetensorsWriter writer(folder.path / "model-00001-of-00001.safetensors");
  writer.set_metadata("form\"at", "p\\t\n\x01");
  writer.add_tensor("a.\"b\"", DType::kF32, std::array<int64_t, 1>{3});
  writer.add_tensor("scalar", DType::kBF16, {});
  writer.add_tensor("empty", DType::kF16, std::array<int64_t, 2>{0, 4});
  writer.write(bytes_of(x));
  writer.write(std::vector<std::byte>(2));
  writer.commit();
  const std::vector<std::pair<std::string, std::string>> map{{"a.\"b\"", "model-00001-of-00001.safetensors"},
                                                             {"scalar", "model-00001-of-00001.safetensors"}};
  write_safetensors_index(folder.path / "model.safetensors.index.json", map, 14);
  const SafetensorsFile file = open_safetensors(folder.path);
  REQUIRE(file.entries.size() == 2);
  CHECK(std::memcmp(file.view(*file.find("a.\"b\"")).data, x.data(), sizeof x) == 0);
  CHECK(file.entries[0].offset % 8 == 0);
  REQUIRE(file.metadata.size() == 1);
  CHECK(file.metadata[0] == std::pair<std::string, std::string>("form\"at", "p\\t\n\x01"));
  CHECK(open_safetensors(folder.path / "model-00001-of-00001.safetensors").entries.size() == 3);

  CHECK(status_of([&] { SafetensorsWriter(folder.path / "x").add_tensor("q", DType::kQ4_0, {}); }) ==
        Status::kInvalidArgument);
  CHECK(status_of([&] {
          SafetensorsWriter w(folder.path / "x");
          w.add_tensor("t", DType::kF32, {});
          w.commit();
        }) == Status::kInvalidArgument);
  CHECK(!std::filesystem::exists(folder.path / "x"));
}

TEST_CASE(".npy: numbers and shapes come back, and the header is numpy's") {
  const TempFolder folder;
  const std::array<float, 6> f{1, -2, 0.5f, 4, 5, std::numeric_limits<float>::infinity()};
  write_npy(folder.path / "f.npy", f, std::array<int64_t, 2>{2, 3});
  const NpyArray a = read_npy(folder.path / "f.npy");
  CHECK(a.kind == 'f');
  CHECK(a.item_bytes == 4);
  CHECK(a.shape == std::vector<int64_t>{2, 3});
  CHECK(a.values == std::vector<double>(f.begin(), f.end()));
  const std::string text = slurp(folder.path / "f.npy");
  CHECK(text.substr(10, 58) == "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), ");
  CHECK((text.size() - 24) % 64 == 0);
  CHECK(text[text.size() - 25] == '\n');

  write_npy(folder.path / "i.npy", std::array<int32_t, 2>{INT32_MIN, 7}, std::array<int64_t, 1>{2});
  CHECK(read_npy(folder.path / "i.npy").values == std::vector<double>{INT32_MIN, 7});
  CHECK(slurp(folder.path / "i.npy").find("'shape': (2, ), }") != std::string::npos);
  write_npy(folder.path / "d.npy", std::array<double, 1>{0.1}, std::span<const int64_t>());
  CHECK(read_npy(folder.path / "d.npy").values == std::vector<double>{0.1});
  CHECK(read_npy(folder.path / "d.npy").shape.empty());
  CHECK(status_of([&] { write_npy(folder.path / "x.npy", f, std::array<int64_t, 1>{5}); }) == Status::kInvalidArgument);
  for (size_t n = 0; n < text.size(); ++n) {
    CHECK_THROWS_AS(read_npy(folder.put("cut.npy", std::string_view(text).substr(0, n))), Error);
  }
}

TEST_CASE("an output that is not committed leaves nothing, also when the process is killed or the disk is full") {
  const TempFolder folder;
  { OutputFile(folder.path / "a").write("text", 4); }
  CHECK(files_in(folder.path) == 0);

  folder.put("a", "old");
  const pid_t child = fork();
  if (child == 0) {
    OutputFile file(folder.path / "a");
    file.write_zeros(3 << 20);
    raise(SIGKILL);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(WIFSIGNALED(status));
  CHECK(files_in(folder.path) == 1);
  CHECK(slurp(folder.path / "a") == "old");

  // Killed at any moment: what stands under the name is the old file or the new one.
  for (int round = 0; round < 20; ++round) {
    const pid_t writer = fork();
    if (writer == 0) {
      for (;;) {
        OutputFile file(folder.path / "random");
        file.write_zeros(64 << 10);
        file.commit();
      }
    }
    usleep(static_cast<useconds_t>(300 * round));
    kill(writer, SIGKILL);
    REQUIRE(waitpid(writer, &status, 0) == writer);
    std::error_code code;
    const auto size = std::filesystem::file_size(folder.path / "random", code);
    CHECK((code || size == 64 << 10));
  }
  std::filesystem::remove(folder.path / "random");
  for (const auto& entry : std::filesystem::directory_iterator(folder.path)) {
    if (entry.path().filename() != "a") std::filesystem::remove(entry.path());  // whole, between its two names
  }

  const pid_t limited = fork();
  if (limited == 0) {
    const rlimit limit{1 << 20, 1 << 20};
    setrlimit(RLIMIT_FSIZE, &limit);
    signal(SIGXFSZ, SIG_IGN);
    const Status result = status_of([&] {
      OutputFile file(folder.path / "a");
      file.write_zeros(3 << 20);
      file.commit();
    });
    _exit(result == Status::kIo ? 0 : 1);
  }
  REQUIRE(waitpid(limited, &status, 0) == limited);
  CHECK((WIFEXITED(status) && WEXITSTATUS(status) == 0));
  CHECK(files_in(folder.path) == 1);
  CHECK(slurp(folder.path / "a") == "old");

  OutputFile file(folder.path / "a");
  file.write("new", 3);
  file.commit();
  CHECK(slurp(folder.path / "a") == "new");
  CHECK(files_in(folder.path) == 1);
}

TEST_CASE("one file under two names is recognised") {
  const TempFolder folder;
  const auto a = folder.put("a", "x"), b = folder.put("b", "x");
  std::filesystem::create_hard_link(a, folder.path / "hard");
  std::filesystem::create_symlink(a, folder.path / "soft");
  CHECK(same_file(a, folder.path / "." / "a"));
  CHECK(same_file(a, folder.path / "hard"));
  CHECK(same_file(a, folder.path / "soft"));
  CHECK(!same_file(a, b));
  CHECK(!same_file(a, folder.path / "absent"));
}
