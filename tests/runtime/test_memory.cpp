// What a model costs of memory: mapped, next to none of its own; under a budget, never more than that.
#include <doctest/doctest.h>
#include <malloc.h>

#include <cstdlib>
#include <fstream>

#include "runtime/generate.h"
#include "runtime/load.h"
#include "tests/runtime/model_files.h"

using namespace moiety;
using namespace moiety::test;

namespace {

size_t status_bytes(const std::string& field) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(field + ":")) return std::stoull(line.substr(field.size() + 1)) * 1024;
  }
  return 0;
}
size_t rss_anon() { return status_bytes("RssAnon"); }

// The peak counts anew.
void reset_peak() { std::ofstream("/proc/self/clear_refs") << "5"; }

Config large_olmoe() {
  Config config = find_architecture("olmoe")->tiny().front();
  config.width = 512, config.heads = 8, config.kv_heads = 8, config.head_dim = 64, config.layers = 4;
  config.experts = 16, config.active = 2, config.expert_width = 512, config.vocab = 1024, config.context = 512;
  return config;
}

std::vector<int32_t> greedy(const Model& model, std::span<const int32_t> prompt, int count) {
  Scheduler scheduler(model);
  Session session(model, {.temperature = 0});
  std::vector<int32_t> ids;
  generate(scheduler, session, prompt, {.max_tokens = count, .ignore_eos = true}, [&](int32_t id) { return ids.push_back(id), true; });
  return ids;
}

}  // namespace

TEST_CASE("under a budget of a quarter of the file: the same tokens, and never more memory") {
#ifdef MOIETY_SANITIZED
  std::exit(77);  // Meson's SKIP: a sanitizer's own memory counts too
#endif
  Config config = large_olmoe();
  config.layers = 8, config.experts = 32;
  const TemporaryFolder folder;
  write_olmoe_folder(folder.path(), config, {.seed = 1, .type = DType::kBF16});
  const size_t file = std::filesystem::file_size(folder.path() / "model.safetensors");
  ModelOptions options;
  options.threads = 2;
  options.max_rows = 64;
  const auto prompt = random_tokens(config.vocab, 100, 1);

  options.ram = file / 4;
  CAPTURE(file);
  std::vector<int32_t> ids;
  {
    malloc_trim(0);  // what writing the file took
    reset_peak();
    const auto model = load_model(folder.path(), options);
    REQUIRE(model->expert_cache());
    CHECK(model->expert_cache()->slots() > config.active);
    CHECK(model->expert_cache()->slots() < model->expert_cache()->experts() / 3);
    ids = greedy(*model, prompt, 64);
    CHECK(model->expert_cache()->counts().reads > 0);
    CHECK(status_bytes("VmHWM") < options.ram);
  }
  options.ram = 0;
  CHECK(greedy(*load_model(folder.path(), options), prompt, 64) == ids);

  options.ram = size_t{20} << 20;
  CHECK_THROWS_WITH_AS(load_model(folder.path(), options), doctest::Contains("a memory budget of 20 MiB is too small"), Error);
}

TEST_CASE("RssAnon after 128 tokens") {
#ifdef MOIETY_SANITIZED
  std::exit(77);  // Meson's SKIP: a sanitizer's own memory counts too
#endif
  const Config config = large_olmoe();
  const TemporaryFolder folder;
  write_olmoe_folder(folder.path(), config, {.seed = 1, .type = DType::kBF16});
  const size_t file = std::filesystem::file_size(folder.path() / "model.safetensors");
  REQUIRE(file > 50'000'000);
  const size_t before = rss_anon();
  REQUIRE(before > 0);
  ModelOptions options;
  options.threads = 2;
  const auto model = load_model(folder.path(), options);
  CHECK(model->memory().mapped > 50'000'000);
  CHECK(model->memory().copied == 0);
  Scheduler scheduler(*model);
  Session session(*model, {.temperature = 0});
  const auto prompt = random_tokens(config.vocab, 8, 1);
  const GenerateResult result =
      generate(scheduler, session, prompt, {.max_tokens = 128, .ignore_eos = true}, [](int32_t) { return true; });
  CHECK(result.generated == 128);
  const size_t after = rss_anon();
  const size_t limit = session.cache().bytes() + file / 20;
  CAPTURE(before);
  CAPTURE(after);
  CHECK(after <= before + limit);
}
