// A mapped model costs no private memory: after 128 tokens RssAnon grew by at most the cache and 5 % of the file.
#include <doctest/doctest.h>

#include <cstdlib>
#include <fstream>

#include "runtime/generate.h"
#include "runtime/load.h"
#include "tests/runtime/model_files.h"

using namespace moiety;
using namespace moiety::test;

namespace {

size_t rss_anon() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("RssAnon:")) return std::stoull(line.substr(8)) * 1024;
  }
  return 0;
}

}  // namespace

TEST_CASE("RssAnon after 128 tokens") {
#ifdef MOIETY_SANITIZED
  std::exit(77);  // Meson's SKIP: a sanitizer's own memory counts too
#endif
  Config config = find_architecture("olmoe")->tiny().front();
  config.width = 512, config.heads = 8, config.kv_heads = 8, config.head_dim = 64, config.layers = 4;
  config.experts = 16, config.active = 2, config.expert_width = 512, config.vocab = 1024, config.context = 512;
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
