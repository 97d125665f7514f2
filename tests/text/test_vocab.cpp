// Real vocabularies as GGUF files with test strings and the ids that llama.cpp's own tests expect. They lie in the shared
// data next to the repository (or where MOIETY_SHARED says); without them the test reports itself as skipped.
#define DOCTEST_CONFIG_IMPLEMENT
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>

#include <doctest/doctest.h>

#include "formats/gguf.h"
#include "formats/gguf_vocabulary.h"
#include "text/tokenizer.h"

using namespace moiety;

namespace {

std::filesystem::path shared_folder() {
  const char* given = std::getenv("MOIETY_SHARED");
  return given ? std::filesystem::path(given) : std::filesystem::path(MOIETY_SOURCE_DIR) / ".." / "shared";
}

std::shared_ptr<const Tokenizer> load(const std::filesystem::path& path) {
  const GgufFile file = open_gguf(path);
  GgufVocabulary vocabulary = check_gguf_vocabulary(file.metadata);
  TokenizerSource source;
  source.origin = path.filename().string();
  source.model = vocabulary.model;
  source.pre = file.metadata.get_string("tokenizer.ggml.pre").value_or("");
  source.architecture = file.metadata.get_string("general.architecture").value_or("");
  source.tokens = vocabulary.tokens;
  source.scores = vocabulary.scores;
  source.types = vocabulary.types;
  source.merges = vocabulary.merges;
  source.bos = vocabulary.bos, source.eos = vocabulary.eos, source.eot = vocabulary.eot;
  source.unk = vocabulary.unknown, source.pad = vocabulary.padding;
  source.add_bos = file.metadata.get_bool("tokenizer.ggml.add_bos_token");
  return Tokenizer::from_source(source);
}

std::string read(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

void check_vocabulary(const char* name) {
  const auto path = shared_folder() / "data" / "vocab" / (std::string(name) + ".gguf");
  const auto tokenizer = load(path);
  const std::string inputs = read(path.string() + ".inp");
  std::istringstream expected(read(path.string() + ".out"));
  constexpr std::string_view kBetween = "\n__ggml_vocab_test__\n";
  size_t cases = 0;
  for (size_t at = 0; at < inputs.size(); ++cases) {
    size_t end = inputs.find(kBetween, at);
    if (end == std::string::npos) end = inputs.size();
    const std::string text = inputs.substr(at, end - at);
    std::string line;
    REQUIRE(std::getline(expected, line));
    std::istringstream numbers(line);
    const std::vector<int32_t> want{std::istream_iterator<int32_t>(numbers), std::istream_iterator<int32_t>()};
    CAPTURE(name);
    CAPTURE(text);
    CHECK(tokenizer->encode(text) == want);
    CHECK(tokenizer->decode(tokenizer->encode(text)) == text);
    at = end + kBetween.size();
  }
  CHECK(cases >= 40);
}

}  // namespace

TEST_CASE("gpt-2") { check_vocabulary("gpt-2"); }
TEST_CASE("deepseek-llm") { check_vocabulary("deepseek-llm"); }
TEST_CASE("llama-spm") { check_vocabulary("llama-spm"); }

TEST_CASE("gpt-neox, whose file names no pre-tokenizer, splits as GPT-2 does") {
  const auto tokenizer = load(shared_folder() / "data" / "vocab" / "gpt-neox.gguf");
  const std::string text = "Hello world, it's 12345 times\n\n  better!";
  CHECK(tokenizer->decode(tokenizer->encode(text)) == text);
  // GPT-NeoX's own ids for these words.
  CHECK(tokenizer->encode("Hello world") == std::vector<int32_t>{12092, 1533});
}

int main(int argc, char** argv) {
  if (!std::filesystem::exists(shared_folder() / "data" / "vocab" / "gpt-2.gguf")) {
    std::printf("SKIP: no vocabularies in %s/data/vocab\n", shared_folder().c_str());
    return 77;
  }
  return doctest::Context(argc, argv).run();
}
