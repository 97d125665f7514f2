// A step's experts in as many parts as memory holds: the same bits as all at once, on every backend.
#include <doctest/doctest.h>

#include "backends/list.h"
#include "graph/plan.h"
#include "tests/runtime/model_files.h"
#include "weights/expert_cache.h"

using namespace moiety;
using namespace moiety::test;

namespace {

// A configuration's random weights, in a file that is mapped.
struct StoredWeights {
  explicit StoredWeights(const Config& config, ExpertLayout layout) {
    const WeightStore made = RandomWeights(config, {.seed = 3, .layout = layout}).make();
    write_safetensors(folder.path() / "weights", made);
    const auto file = std::make_shared<MappedFile>(folder.path() / "weights");
    store.own(file);
    uint64_t header = 0;
    std::memcpy(&header, file->bytes().data(), 8);
    auto* at = const_cast<std::byte*>(file->bytes().data()) + 8 + header;
    for (const std::string& name : made.names()) {
      Weight weight = *made.find(name);
      weight.tensor.data = at, weight.memory = MemoryClass::kMapped;
      at += weight.tensor.bytes();
      store.add(name, weight);
    }
  }
  TemporaryFolder folder;
  WeightStore store;
};

std::vector<float> logits(const Config& config, const WeightStore& store, Backend& backend, int slots, std::span<const int32_t> tokens) {
  Banks banks;
  const Graph graph = build_graph(config, store, config.context, banks);
  std::unique_ptr<ExpertCache> cache;
  if (slots > 0) {
    std::vector<ExpertBank*> list;
    for (ExpertBank& bank : banks) list.push_back(&bank);
    cache = std::make_unique<ExpertCache>(list, store, static_cast<size_t>(slots) * ExpertCache::slot_bytes(list));
    REQUIRE(cache->slots() == slots);
  }
  const auto threads = make_threads("tbb", 2);
  PlanOptions options;
  options.max_rows = static_cast<int64_t>(tokens.size());
  const Plan plan(graph, {&backend}, options, threads->size());
  KvCache kv(config.layers, config.kv_heads, config.head_dim, config.context, options.key_type, options.value_type);
  Batch batch;
  batch.ids.assign(tokens.begin(), tokens.end());
  for (size_t i = 0; i < tokens.size(); ++i) batch.positions.push_back(static_cast<int32_t>(i)), batch.wanted.push_back(static_cast<int32_t>(i));
  batch.spans.push_back({&kv, 0, static_cast<int32_t>(tokens.size()), 0, false, 0});
  Executor executor(*threads);
  const Tensor out = executor.run(plan, batch);
  return {out.as<float>(), out.as<float>() + out.elements()};
}

}  // namespace

TEST_CASE("experts in parts: the same bits") {
  for (const char* name : {"olmoe", "fairseq_moe", "granitemoe", "mixtral"}) {
    const Config config = find_architecture(name)->tiny().front();
    const std::string architecture = name;
    CAPTURE(architecture);
    const StoredWeights weights(config, architecture == "olmoe" ? ExpertLayout::kFusedPair : ExpertLayout::kSplit);
    for (const auto& backend : make_backends({}, {})) {
      CAPTURE(backend->name());
      for (const size_t count : {1u, 2u, 21u}) {
        const auto tokens = random_tokens(config.vocab, static_cast<int>(count), 7);
        const auto expected = logits(config, weights.store, *backend, 0, tokens);
        for (const int slots : {1, 2, 3, config.experts}) {
          CAPTURE(count);
          CAPTURE(slots);
          CHECK(logits(config, weights.store, *backend, slots, tokens) == expected);
        }
      }
    }
  }
}
