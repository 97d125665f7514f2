// Paths to models: folders, files, shards, and what each wrong path is told.
#include <doctest/doctest.h>

#include "runtime/load.h"
#include "tests/runtime/model_files.h"

using namespace moiety;
using namespace moiety::test;

namespace fs = std::filesystem;

namespace {

Status status_of(const fs::path& path, const ModelOptions& options = {.backends = {"reference"}}) {
  try {
    load_model(path, options);
  } catch (const Error& error) {
    return error.status();
  }
  return Status::kOk;
}

Config tiny() { return find_architecture("olmoe")->tiny().front(); }

}  // namespace

TEST_CASE("a folder without a tokenizer loads, and equals the weights in memory") {
  const TemporaryFolder folder;
  write_olmoe_folder(folder.path(), tiny(), {.seed = 4});
  ModelOptions options;
  options.backends = {"reference"};
  const auto loaded = load_model(folder.path(), options);
  CHECK(loaded->warnings().empty());
  CHECK(!loaded->tokenizer());
  CHECK(loaded->format() == "safetensors");
  const auto made = random_model(tiny(), options, {.seed = 4});
  const auto tokens = random_tokens(97, 9, 1);
  CHECK(logits_of(*loaded, tokens, 9) == logits_of(*made, tokens, 9));
  CHECK(find_model(folder.path() / "model.safetensors").file == folder.path());
}

TEST_CASE("tensor data may start at any byte") {
  for (DType type : {DType::kF32, DType::kBF16, DType::kF16}) {
    const auto tokens = random_tokens(97, 9, 1);
    std::vector<float> expected;
    for (const size_t shift : {size_t{0}, size_t{1}, size_t{2}, size_t{3}}) {
      const TemporaryFolder folder;
      write_olmoe_folder(folder.path(), tiny(), {.seed = 4, .type = type}, shift);
      const auto logits = logits_of(*load_model(folder.path()), tokens, 9);
      if (shift == 0) expected = logits;
      CHECK(logits == expected);
    }
  }
}

TEST_CASE("wrong paths are told apart") {
  const TemporaryFolder folder;
  CHECK(status_of(folder.path() / "nothing") == Status::kIo);
  CHECK(status_of(folder.path()) == Status::kInvalidArgument);
  write_text(folder.path() / "notes.txt", "x");
  CHECK(status_of(folder.path() / "notes.txt") == Status::kInvalidArgument);
  write_text(folder.path() / "a.gguf", "GGUF");
  CHECK(status_of(folder.path()) == Status::kFormat);
  write_text(folder.path() / "b.gguf", "GGUF");
  CHECK(status_of(folder.path()) == Status::kInvalidArgument);
  CHECK(status_of("/dev/null") == Status::kInvalidArgument);
}

TEST_CASE("missing and misshapen pieces of a folder are named") {
  const TemporaryFolder folder;
  write_olmoe_folder(folder.path(), tiny(), {.seed = 4});
  Config more = tiny();
  more.layers = 3;
  const std::string weights = "model.safetensors";
  const TemporaryFolder second;
  write_olmoe_folder(second.path(), more, {.seed = 4});
  fs::copy(folder.path() / weights, second.path() / weights, fs::copy_options::overwrite_existing);
  try {
    load_model(second.path(), {.backends = {"reference"}});
    FAIL("loaded");
  } catch (const Error& error) {
    CHECK(error.status() == Status::kFormat);
    CHECK(std::string(error.what()).find("model.layers.2.input_layernorm") != std::string::npos);
  }
  fs::remove(second.path() / weights);
  CHECK(status_of(second.path()) == Status::kIo);
}

TEST_CASE("the progress callback cancels") {
  const TemporaryFolder folder;
  write_olmoe_folder(folder.path(), tiny(), {.seed = 4});
  for (const float stop_at : {0.0f, 0.3f, 0.9f}) {
    ModelOptions options;
    options.backends = {"reference"};
    options.progress = [&](float done) { return done < stop_at; };
    CHECK(status_of(folder.path(), options) == Status::kCancelled);
  }
  CancelToken cancel;
  cancel.cancel();
  ModelOptions options;
  options.cancel = &cancel;
  CHECK(status_of(folder.path(), options) == Status::kCancelled);
}
