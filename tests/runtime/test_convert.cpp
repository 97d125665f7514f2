// fairseq checkpoints converted: the same weights and logits in every form, whole files, and going on after a stop.
#include <doctest/doctest.h>

#include "runtime/convert.h"
#include "runtime/fairseq_model.h"
#include "runtime/load.h"
#include "tests/runtime/fairseq_checkpoints.h"
#include "tests/support/refusal.h"
#include "text/tokenizer.h"

using namespace moiety;
using namespace moiety::test;

namespace fs = std::filesystem;

namespace {

Config moe() {
  Config c = find_architecture("fairseq_moe")->tiny()[1];
  c.experts = 8, c.vocab = 97;
  return c;
}

struct Checkpoint {
  TemporaryFolder folder;
  fs::path path = folder.path() / "x.pt", out = folder.path() / "out", gguf = folder.path() / "out.gguf";
  explicit Checkpoint(const Config& c = moe(), DType type = DType::kF16, bool vocabulary = true) {
    write_checkpoint(folder.path(), c, RandomWeights(c, {.seed = 5, .type = type}).make(),
                     {.ranks = c.experts ? 4 : 0, .version = c.final_norm});
    if (!vocabulary) return;
    write_text(folder.path() / "dict.txt", "1 5\n0 4\n2 1\n");
    write_text(folder.path() / "encoder.json", R"({"a": 0, "b": 1, "ab": 2})");
    write_text(folder.path() / "vocab.bpe", "#version: 0.2\na b\n");
  }
};

ConvertOptions options_for(const fs::path& model, uint64_t limit = uint64_t{1} << 30) {
  return {.shard_bytes = limit, .vocabulary = find_fairseq_vocabulary(model, {})};
}

std::vector<fs::path> files_in(const fs::path& folder) {
  std::vector<fs::path> out;
  for (const auto& entry : fs::directory_iterator(folder)) out.push_back(entry.path().filename());
  std::sort(out.begin(), out.end());
  return out;
}

void check_same(const Model& a, const Model& b) {
  const auto tokens = random_tokens(97, 11, 3);
  CHECK(logits_of(a, tokens, 11) == logits_of(b, tokens, 11));
  CHECK(a.parameters() == b.parameters());
  CHECK(a.bytes_by_type() == b.bytes_by_type());
  CHECK(a.context() == b.context());
  CHECK(a.stop_ids() == b.stop_ids());
  REQUIRE(a.tokenizer());
  REQUIRE(b.tokenizer());
  CHECK(a.tokenizer()->encode("ab\nba c") == b.tokenizer()->encode("ab\nba c"));
  CHECK(a.tokenizer()->encode("ab\nba c") == std::vector<int32_t>{6, 2, 4, 5, 3, 3});
}

}  // namespace

TEST_CASE("folder and GGUF, whole and in shards: logits, types and ids stay the same, also a second time") {
  for (const Config& c : {moe(), find_architecture("fairseq_moe")->tiny()[2]}) {
    const Checkpoint from(c);
    const ModelSource source = read_model(from.path);
    const auto model = load_model(from.path);
    for (const uint64_t limit : {uint64_t{1} << 30, uint64_t{100'000}}) {
      fs::remove_all(from.out);
      const ConvertResult folder = convert_model(source, from.out, options_for(from.path, limit));
      CHECK(folder.kept == 0);
      CHECK(fs::exists(from.out / "model.safetensors") == (limit > 100'000));
      CHECK(fs::exists(from.out / "model.safetensors.index.json") == (limit == 100'000));
      check_same(*model, *load_model(from.out));
      const ConvertResult gguf = convert_model(read_model(from.out), from.gguf, options_for(from.out, limit));
      CHECK((gguf.files.size() == 1) == (limit > 100'000));
      check_same(*model, *load_model(gguf.files.front()));
      const ConvertResult again = convert_model(source, from.out, options_for(from.path, limit));
      CHECK(again.kept > 0);
      CHECK(again.files == folder.files);
      for (const fs::path& file : gguf.files) fs::remove(file);
    }
  }
}

TEST_CASE("without a vocabulary there is none afterwards") {
  const Checkpoint from(moe(), DType::kF32, false);
  convert_model(read_model(from.path), from.out);
  CHECK(files_in(from.out) == std::vector<fs::path>{"config.json", "model.safetensors"});
  CHECK_FALSE(load_model(from.out)->tokenizer());
  convert_model(read_model(from.path), from.gguf);
  CHECK_FALSE(load_model(from.gguf)->tokenizer());
}

TEST_CASE("a conversion that is stopped leaves whole files and goes on with the next") {
  const Checkpoint from;
  const ModelSource source = read_model(from.path);
  for (const fs::path& output : {from.out, from.folder.path() / "gguf" / "m.gguf"}) {
    fs::create_directories(output.parent_path());
    const fs::path place = output == from.out ? output : output.parent_path();
    CancelToken cancel;
    ConvertOptions options = options_for(from.path, 100'000);
    options.cancel = &cancel;
    options.progress = [&](double done) {
      if (done > 0.5) cancel.cancel();
    };
    CHECK(contains(refusal([&] { convert_model(source, output, options); }, Status::kCancelled), "the same command goes on"));
    const auto half = files_in(place);
    CHECK(half.size() >= 1);
    CHECK(std::ranges::find(half, "config.json") == half.end());
    const auto time = fs::last_write_time(place / half.front());
    const ConvertResult result = convert_model(source, output, options_for(from.path, 100'000));
    CHECK(result.kept == half.size());
    CHECK(fs::last_write_time(place / half.front()) == time);
    CHECK(files_in(place).size() == result.files.size());  // nothing else is left
    check_same(*load_model(from.path), *load_model(output == from.out ? output : result.files.front()));
  }
}

TEST_CASE("what stands in the way is not overwritten") {
  const Checkpoint from, other(moe(), DType::kF32);
  const ModelSource source = read_model(from.path);
  convert_model(source, from.gguf, options_for(from.path));
  convert_model(source, from.out, options_for(from.path));
  const std::string before = slurp(from.gguf);
  CHECK(contains(refusal([&] { convert_model(read_model(other.path), from.gguf); }, Status::kInvalidArgument), "of another model or conversion"));
  CHECK(contains(refusal([&] { convert_model(read_model(other.path), from.out); }, Status::kInvalidArgument), "of another model or conversion"));
  CHECK(slurp(from.gguf) == before);
  write_text(from.folder.path() / "junk.gguf", "hello");
  CHECK(contains(refusal([&] { convert_model(source, from.folder.path() / "junk.gguf"); }, Status::kInvalidArgument), "of another model"));
  fs::create_hard_link(from.folder.path() / "x-shared.pt", from.folder.path() / "link.gguf");
  CHECK(contains(refusal([&] { convert_model(source, from.folder.path() / "link.gguf"); }, Status::kInvalidArgument), "a file of the model"));
  const auto whole = files_in(from.out);
  CHECK(contains(refusal([&] { convert_model(source, from.out, options_for(from.path, 100'000)); }, Status::kInvalidArgument), "of another model or conversion"));
  CHECK(contains(refusal([&] { convert_model(read_model(from.out), from.out, options_for(from.out)); }, Status::kInvalidArgument), "a file of the"));
  CHECK(files_in(from.out) == whole);
  CHECK(contains(refusal([&] { convert_model(source, from.folder.path(), options_for(from.path)); }, Status::kInvalidArgument), "a file of the vocabulary"));
  const TemporaryFolder olmoe;
  write_olmoe_folder(olmoe.path(), find_architecture("olmoe")->tiny().front(), {});
  CHECK(contains(refusal([&] { convert_model(read_model(olmoe.path()), from.gguf); }, Status::kUnsupported), "only fairseq models"));
  CHECK(contains(refusal([&] { convert_model(read_model(from.gguf), from.folder.path() / "b"); }, Status::kUnsupported), "not from GGUF"));
}
