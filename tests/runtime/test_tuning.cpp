// What was measured, kept in a file: nothing in it is trusted, nothing in it changes a bit, and two processes share it.
#include <doctest/doctest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <fstream>

#include "core/cpu_info.h"
#include "runtime/load.h"
#include "runtime/pack.h"
#include "runtime/tune_file.h"
#include "tests/formats/bytes.h"
#include "tests/runtime/model_files.h"
#include "tests/support/refusal.h"

using namespace moiety;
using namespace moiety::test;

namespace fs = std::filesystem;

namespace {

const fs::path kGolden = fs::path(MOIETY_SOURCE_DIR) / "tests" / "golden";
using Strings = std::vector<std::string>;

std::string read_text(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

Tuning read_tuning(const fs::path& path, const char* cpu, const char* target, Strings& warnings) {
  return TuneFile(path, cpu, warnings).get(target);
}

std::string head() { return R"({"moiety": ")" + std::string(kTunedWith) + '"'; }
std::string file_of(const std::string& rows) { return head() + R"(, "rows": {)" + rows + "}}"; }

// What the model runs by, from `explain`'s list: kernel -> rows, if it was measured.
Tuning measured(const Model& model) {
  Tuning tuning;
  for (const TunedRow& row : model.tuning())
    if (row.measured) tuning[row.kernel] = row.rows;
  return tuning;
}

}  // namespace

TEST_CASE("a round trip: each CPU and target has its own, other versions' and others' entries stay") {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "new" / "folder" / "tune.json";
  Strings warnings;
  TuneFile first(path, "CPU one", warnings);
  CHECK(first.get("avx2").empty());
  first.save();
  CHECK_FALSE(fs::exists(path));  // nothing to keep
  const Tuning some{{"q4_0 x int8", 2}, {"bf16 panels x f32", 1000}};
  first.put("avx2", some);
  CHECK(first.get("avx2") == some);
  first.save();
  CHECK(read_tuning(path, "CPU one", "avx2", warnings) == some);
  CHECK(read_tuning(path, "CPU one", "avx2_vnni", warnings).empty());
  CHECK(read_tuning(path, "CPU", "avx2", warnings).empty());
  CHECK(read_tuning(path, "CPU two", "avx2", warnings).empty());
  TuneFile second(path, "CPU \"two\"\n", warnings);  // a name that JSON can't have as it is
  second.put("avx2", {{"q4_0 x int8", 5}});
  second.save();
  CHECK(read_tuning(path, "CPU one", "avx2", warnings) == some);
  CHECK(read_tuning(path, "CPU \"two\"\n", "avx2", warnings) == Tuning{{"q4_0 x int8", 5}});
  CHECK(warnings.empty());
  CHECK(std::distance(fs::directory_iterator(path.parent_path()), {}) == 1);
}

TEST_CASE("what is broken, hostile or of another version is ignored as a whole, with a warning, and replaced") {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "tune.json";
  const std::string good = file_of(R"("CPU, avx2, q4_0 x int8": 3)");
  const std::pair<std::string, const char*> files[] = {
      {"", "not what moiety keeps"},
      {"garbage", "not what moiety keeps"},
      {std::string(64, '\0'), "not what moiety keeps"},
      {good.substr(0, good.size() / 2), "not what moiety keeps"},
      {good.substr(0, good.size() - 1), "not what moiety keeps"},
      {good + "x", "not what moiety keeps"},
      {"[1]", "not what moiety keeps"},
      {head() + "}", "not what moiety keeps"},
      {std::string(2000, '['), "not what moiety keeps"},
      {R"({"moiety": "0.0.9", "rows": {"CPU, avx2, q4_0 x int8": 3}})", "of moiety 0.0.9"},
      {R"({"moiety": 1, "rows": {}})", "not what moiety keeps"},
      {file_of(R"("CPU, avx2, q4_0 x int8": 0)"), "expected 1 to 1000"},
      {file_of(R"("CPU, avx2, q4_0 x int8": 1001)"), "expected 1 to 1000"},
      {file_of(R"("CPU, avx2, q4_0 x int8": -1)"), "expected 1 to 1000"},
      {file_of(R"("CPU, avx2, q4_0 x int8": 2.5)"), "expected 1 to 1000"},
      {file_of(R"("CPU, avx2, q4_0 x int8": 4294967299)"), "expected 1 to 1000"},
      {file_of(R"("CPU, avx2, q4_0 x int8": 99999999999999999999999)"), ""},
      {file_of(R"("CPU, avx2, q4_0 x int8": 1e400)"), ""},
      {file_of(R"("CPU, avx2, q4_0 x int8": "3")"), "expected 1 to 1000"},
      {file_of(R"("CPU, avx2, q4_0 x int8": {"a": [3]})"), "expected 1 to 1000"},
      {file_of(R"("CPU, avx2, q4_0 x int8": 3, "\u0007": 3)"), "is no name"},
      {std::string(3 << 20, ' '), "larger than"},
  };
  for (const auto& [text, reason] : files) {
    CAPTURE(text.substr(0, 100));
    write_text(path, text);
    Strings warnings;
    TuneFile file(path, "CPU", warnings);
    REQUIRE(warnings.size() == 1);
    CHECK(contains(warnings[0], "tune.json: ignored, "));
    CHECK(contains(warnings[0], reason));
    CHECK(file.get("avx2").empty());
    file.put("avx2", {{"q4_0 x int8", 6}});
    file.save();
    const bool ours = text.size() < (1 << 20);  // what is that large is left alone
    CHECK(read_tuning(path, "CPU", "avx2", warnings) == (ours ? Tuning{{"q4_0 x int8", 6}} : Tuning{}));
    CHECK(warnings.size() == (ours ? 1 : 2));
  }
}

TEST_CASE("what can't be read is a warning, what can't be written nothing; folders and devices are left alone") {
  const TemporaryFolder folder;
  Strings warnings;
  const auto put = [&](const fs::path& path) {
    TuneFile file(path, "CPU", warnings);
    file.put("avx2", {{"q4_0 x int8", 6}});
    file.save();
  };
  put("/proc/nowhere/tune.json");
  put("/dev/null/tune.json");
  CHECK(warnings.empty());
  fs::create_directory(folder.path() / "folder");
  put(folder.path() / "folder");
  CHECK(fs::is_directory(folder.path() / "folder"));
  REQUIRE(mkfifo((folder.path() / "fifo").c_str(), 0600) == 0);
  put(folder.path() / "fifo");
  CHECK(fs::is_fifo(folder.path() / "fifo"));
  put("/dev/null");
  CHECK(fs::is_character_file("/dev/null"));
  CHECK(warnings.size() == 3);
}

TEST_CASE("processes share a file: whoever reads sees a whole one") {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "tune.json";
  std::vector<pid_t> children;
  for (int child = 0; child < 3; ++child) {
    const pid_t pid = fork();
    REQUIRE(pid >= 0);
    if (pid == 0) {
      Strings warnings;
      for (int i = 0; i < 60; ++i) {
        TuneFile file(path, "CPU", warnings);
        file.put("avx2", {{"kernel " + std::to_string(child), i % kMostTuned + 1}, {"kernel of all", child * 100 + i + 1}});
        file.save();
      }
      _exit(warnings.empty() ? 0 : 1);
    }
    children.push_back(pid);
  }
  for (const pid_t pid : children) {
    int status = 1;
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK(status == 0);
  }
  Strings warnings;
  CHECK(read_tuning(path, "CPU", "avx2", warnings).contains("kernel of all"));
  CHECK(warnings.empty());
  CHECK(std::distance(fs::directory_iterator(folder.path()), {}) == 1);
}

TEST_CASE("a model measures once, and only where it is asked to") {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "tune.json";
  const fs::path model = kGolden / "olmoe-q4_0";
  const ModelOptions options{.backends = {"simd", "reference"}, .tune_file = path};
  CHECK(measured(*load_model(model, {.backends = {"simd", "reference"}})).empty());
  ModelOptions plan = options;
  plan.plan_only = true;
  CHECK(measured(*load_model(model, plan)).empty());
  ModelOptions budget = options;
  budget.ram = uint64_t{4} << 30;
  CHECK(measured(*load_model(model, budget)).empty());
  CHECK_FALSE(fs::exists(path));

  const Tuning found = measured(*load_model(model, options));
  CHECK(found.contains("q4_0 x int8"));
  const std::string text = read_text(path);
  CHECK(contains(text, cpu_info().model.c_str()));
  const auto old = fs::last_write_time(path) - std::chrono::hours(1);
  fs::last_write_time(path, old);
  CHECK(measured(*load_model(model, options)) == found);
  CHECK(fs::last_write_time(path) == old);
  CHECK(measured(*load_model(model, budget)) == found);  // what is known costs no memory

  write_text(path, "broken");
  const auto again = load_model(model, options);
  REQUIRE(again->warnings().size() == 1);
  CHECK(contains(again->warnings()[0], "ignored"));
  CHECK(measured(*again).contains("q4_0 x int8"));
  CHECK(contains(read_text(path), "q4_0 x int8"));

  const fs::path own = folder.path() / "own";
  fs::copy(model, own);
  ModelOptions over = options;
  over.tune_file = own / "model.gguf";
  CHECK(contains(refusal([&] { load_model(own, over); }, Status::kInvalidArgument), "is a file of the model"));
}

TEST_CASE("numbers of a file reach every level, and the logits keep every bit: as GEMVs alone, as GEMMs alone") {
  for (const char* name : {"olmoe-q4_0", "olmoe-q8_0", "olmoe-q4_k", "mixtral-window-headdim", "olmoe-f32-gguf-bf16"}) {
    CAPTURE(std::string(name));
    const TemporaryFolder folder, packed;
    pack_model(kGolden / name, packed.path());
    int compared = 0;
    for (const fs::path& path : {kGolden / name, packed.path()}) {
      for (const char* level : {"scalar", "sse4", "avx2", "avx2_vnni", "avx512", "avx512_vnni", "avx512_bf16", "neon"}) {
        std::unique_ptr<Model> usual;
        try {
          usual = load_model(path, {.backends = {"simd"}, .simd = level, .context = 64});
        } catch (const Error&) {
          continue;  // not in this build, or not of this CPU
        }
        CAPTURE(std::string(level));
        ++compared;
        const auto tokens = random_tokens(usual->config().vocab, 13, 3);
        for (const int number : {1, 1000}) {
          const fs::path file = folder.path() / "tune.json";
          fs::remove(file);
          Strings warnings;
          TuneFile numbers(file, cpu_info().model, warnings);
          Tuning all;
          for (const TunedRow& row : usual->tuning()) all[row.kernel] = number;
          numbers.put(level, all);
          numbers.save();
          const auto forced = load_model(path, {.backends = {"simd"}, .simd = level, .context = 64, .tune_file = file});
          CHECK(measured(*forced) == all);
          for (const size_t chunk : {1, 3, 13}) {
            const std::vector<float> a = logits_of(*usual, tokens, chunk), b = logits_of(*forced, tokens, chunk);
            REQUIRE(a.size() == b.size());
            CHECK(std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
          }
        }
      }
    }
    CHECK(compared >= 2);
  }
}
