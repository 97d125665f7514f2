// Packed models: the logits of the model, bit for bit, on every level and backend; files that are whole, that go on
// after a stop and whose damage is found.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <fstream>

#include "backends/list.h"
#include "core/panels.h"
#include "formats/gguf.h"
#include "runtime/load.h"
#include "runtime/pack.h"
#include "tests/runtime/fairseq_checkpoints.h"
#include "tests/runtime/model_files.h"
#include "tests/support/refusal.h"
#include "text/tokenizer.h"

using namespace moiety;
using namespace moiety::test;

namespace fs = std::filesystem;

namespace {

const fs::path kRoot = MOIETY_SOURCE_DIR;

std::vector<std::string> levels() {
  std::vector<std::string> out;
  for (const char* name : {"scalar", "sse4", "avx2", "avx2_vnni", "avx512", "avx512_vnni", "avx512_bf16", "avx512_amx", "neon"}) {
    try {
      make_backends({"simd"}, name);
      out.push_back(name);
    } catch (const Error&) {  // not in this build, or not of this CPU
    }
  }
  return out;
}

// Logits of both, in steps of 1, 2, 3 and 13 tokens, on 1 and 3 threads.
void check_same(const fs::path& model, const fs::path& packed, const ModelOptions& base) {
  for (const int threads : {1, 3}) {
    ModelOptions options = base;
    options.threads = threads, options.context = 64;
    const auto a = load_model(model, options), b = load_model(packed, options);
    const auto tokens = random_tokens(a->config().vocab, 13, 3);
    for (const size_t chunk : {1, 2, 3, 13}) {
      CAPTURE(chunk);
      const std::vector<float> x = logits_of(*a, tokens, chunk), y = logits_of(*b, tokens, chunk);
      REQUIRE(x.size() == y.size());
      CHECK(std::memcmp(x.data(), y.data(), x.size() * 4) == 0);
    }
  }
}

size_t panels_in(const fs::path& folder) {
  const GgufFile file = open_gguf(packed_weights_in(folder));
  return static_cast<size_t>(std::ranges::count(file.tensors, Layout::kPanels, &GgufTensor::layout));
}

}  // namespace

TEST_CASE("every format and type: packed, the logits keep every bit") {
  const std::pair<const char*, bool> models[] = {
      // whether anything is packed
      {"tests/golden/olmoe-q4_0", true},
      {"tests/golden/olmoe-q8_0", true},
      {"tests/golden/olmoe-q4_k", true},
      {"tests/golden/olmoe-q5_k", true},
      {"tests/golden/olmoe-q6_k", true},
      {"tests/golden/olmoe-mxfp4", true},
      {"tests/golden/olmoe-q5_1", false},
      {"tests/golden/olmoe-f32-gguf-f16", true},
      {"tests/golden/olmoe-f32-gguf-bf16", true},
      {"tests/golden/olmoe-float16", true},
      {"tests/golden/mixtral-f32-gguf-f32", false},
      {"tests/golden/mixtral-window-headdim", true},
      {"tests/golden/granitemoe-bias-tied", true},
      {"models/stories-12m", true},
  };
  for (const auto& [name, packs] : models) {
    CAPTURE(std::string(name));
    const TemporaryFolder out;
    const fs::path model = kRoot / name;
    const PackResult result = pack_model(model, out.path());
    CHECK(result.kept == 0);
    CHECK(result.packed.empty() != packs);
    CHECK((panels_in(out.path()) > 0) == packs);
    CHECK(verify_packed(out.path()) > 0);
    for (const std::string& level : levels()) {
      CAPTURE(level);
      check_same(model, out.path(), {.backends = {"simd"}, .simd = level});
    }
    check_same(model, out.path(), {});  // the default list
    check_same(model, out.path(), {.backends = {"simd"}, .activations = ActivationPrecision::kF32});
    const auto a = load_model(model, {.backends = {"reference"}}),
               b = load_model(out.path(), {.backends = {"reference"}});
    const auto tokens = random_tokens(a->config().vocab, 5, 4);
    CHECK(logits_of(*a, tokens, 5) == logits_of(*b, tokens, 5));
    CHECK(a->parameters() == b->parameters());
    CHECK(a->stop_ids() == b->stop_ids());
    CHECK(a->warnings() == b->warnings());
    CHECK((a->tokenizer() != nullptr) == (b->tokenizer() != nullptr));
    if (a->tokenizer()) CHECK(a->tokenizer()->encode("Once upon a time") == b->tokenizer()->encode("Once upon a time"));
    CHECK(find_model(packed_weights_in(out.path())).kind == find_model(out.path()).kind);
  }
}

TEST_CASE("experts that files keep together are packed one by one, on pages of their own") {
  for (const std::string name : {"olmoe-q4_0", "granitemoe-f32", "granitemoe-f32-gguf-f32"}) {
    CAPTURE(name);
    const TemporaryFolder out;
    pack_model(kRoot / "tests" / "golden" / name, out.path());
    const GgufFile file = open_gguf(packed_weights_in(out.path()));
    uint64_t before = 0;
    int experts = 0;
    for (const GgufTensor& tensor : file.tensors) {
      CHECK(tensor.offset % 4096 == 0);
      CHECK(tensor.offset >= before);
      before = tensor.offset + tensor.bytes;
      experts += contains(std::string(tensor.name), ".experts.");
    }
    const Config config = read_model(out.path()).config;
    CHECK(experts == 3 * config.experts * config.layers);
  }
}

TEST_CASE("a fairseq checkpoint is packed with its vocabulary") {
  Config c = find_architecture("fairseq_moe")->tiny()[1];
  c.experts = 8, c.vocab = 97;
  const TemporaryFolder folder, out;
  write_checkpoint(folder.path(), c, RandomWeights(c, {.seed = 5, .type = DType::kF16}).make(),
                   {.ranks = 4, .version = true});
  write_text(folder.path() / "dict.txt", "1 5\n0 4\n2 1\n");
  write_text(folder.path() / "encoder.json", R"({"a": 0, "b": 1, "ab": 2})");
  write_text(folder.path() / "vocab.bpe", "#version: 0.2\na b\n");
  const PackResult result = pack_model(folder.path() / "x.pt", out.path());
  CHECK(result.packed.contains("f16"));
  check_same(folder.path() / "x.pt", out.path(), {.backends = {"simd"}});
  CHECK(load_model(out.path())->tokenizer()->encode("ab\nba c") ==
        load_model(folder.path() / "x.pt")->tokenizer()->encode("ab\nba c"));
  CHECK(verify_packed(out.path()) > 0);
}

TEST_CASE("a packing that is stopped goes on with the next file, and what stands in the way is not overwritten") {
  const fs::path model = kRoot / "models" / "stories-12m";
  const TemporaryFolder out;
  CancelToken cancel;
  PackOptions options;
  options.shard_bytes = 4 << 20;
  PackOptions stopped = options;
  stopped.cancel = &cancel;
  stopped.progress = [&](double done) {
    if (done > 0.5) cancel.cancel();
  };
  CHECK(contains(refusal([&] { pack_model(model, out.path(), stopped); }, Status::kCancelled),
                 "the same command goes on"));
  CHECK_FALSE(fs::exists(out.path() / "config.json"));
  CHECK_THROWS_AS(load_model(out.path()), Error);
  const PackResult result = pack_model(model, out.path(), options);
  CHECK(result.kept > 0);
  CHECK(result.kept < result.files.size());
  CHECK(load_model(out.path())->parameters() == load_model(model)->parameters());
  CHECK(pack_model(model, out.path(), options).kept ==
        static_cast<size_t>(
            std::ranges::count_if(result.files, [](const fs::path& f) { return f.extension() == ".gguf"; })));

  PackOptions other = options;
  other.shard_bytes = 5 << 20;
  CHECK(contains(refusal([&] { pack_model(model, out.path(), other); }, Status::kInvalidArgument),
                 "a file of another model stands there"));
  CHECK(
      contains(refusal([&] { pack_model(out.path(), out.path() / "x"); }, Status::kInvalidArgument), "packed already"));
  const TemporaryFolder own;
  fs::copy(model, own.path(), fs::copy_options::recursive);
  CHECK(contains(refusal([&] { pack_model(own.path(), own.path()); }, Status::kInvalidArgument),
                 "is a file of the model"));
  CHECK(contains(refusal([&] { verify_packed(model); }, Status::kInvalidArgument), "not packed"));
}

TEST_CASE("panels are matrices: a vector in panels is refused, and a table is left to the reference") {
  const Config c = find_architecture("olmoe")->tiny()[0];
  const ModelSource source = random_source(c);
  const Buffer memory(static_cast<size_t>(panel_parts(DType::kF16, c.width).bytes * c.vocab));
  const auto with = [&](const std::string& changed, int64_t rows) {
    WeightStore store;
    for (const std::string& name : source.store.names()) {
      Weight weight = *source.store.find(name);
      if (name == changed) weight.tensor = make_panels(memory.data(), DType::kF16, rows, c.width);
      store.add(name, weight);
    }
    return store;
  };
  Banks banks;
  CHECK_THROWS_WITH_AS(build_graph(c, with("model.norm.weight", 1), 64, banks), doctest::Contains("is not a vector"),
                       Error);
  const WeightStore tables = with("model.embed_tokens.weight", c.vocab);
  const Graph graph = build_graph(c, tables, 64, banks);
  const auto simd = make_backends({"simd"}, "scalar"), reference = make_backends({"reference"}, "");
  for (const Node& node : graph.nodes()) {
    if (!std::holds_alternative<Embedding>(node.op)) continue;
    CHECK(contains(simd.front()->prepare(graph, node, {}).reason, "panels"));
    CHECK(reference.front()->prepare(graph, node, {}).kernel);
  }
}

TEST_CASE("damage is found: in the header, in a tensor, in a file beside, at the end") {
  const fs::path model = kRoot / "models" / "stories-12m";
  const TemporaryFolder out;
  pack_model(model, out.path());
  const fs::path weights = out.path() / "panels.gguf";
  const GgufFile file = open_gguf(weights);
  const auto damaged = [&](const fs::path& path, uint64_t at, const char* part) {
    std::fstream stream(path, std::ios::binary | std::ios::in | std::ios::out);
    char byte = 0;
    stream.seekg(static_cast<std::streamoff>(at)).get(byte);
    stream.seekp(static_cast<std::streamoff>(at)).put(static_cast<char>(byte ^ 1)).flush();
    CHECK(contains(refusal([&] { verify_packed(out.path()); }, Status::kFormat), part));
    stream.seekp(static_cast<std::streamoff>(at)).put(byte).flush();
    CHECK(verify_packed(out.path()) > 0);
  };
  for (const size_t i : {size_t{0}, file.tensors.size() / 2, file.tensors.size() - 2})
    damaged(weights, file.tensors[i].offset + file.tensors[i].bytes / 2, "bytes are damaged");
  damaged(weights, file.tensors[0].offset - 1, "header is damaged");
  damaged(out.path() / "tokenizer.json", 100, "tokenizer.json");
  fs::resize_file(weights, file.tensors.back().offset);
  refusal([&] { load_model(out.path()); }, Status::kFormat);
}
