// Every registered model with random weights: each backend against the reference, prefill = decode = batch.
#include <doctest/doctest.h>

#include "core/cpu_info.h"
#include "simd/levels.h"
#include "tests/models/random_model.h"

using namespace moiety;
using namespace moiety::test;

namespace {

ModelOptions options_for(std::vector<std::string> backends) {
  ModelOptions options;
  options.backends = std::move(backends);
  options.activations = ActivationPrecision::kF32;
  options.threads = 2;
  return options;
}

}  // namespace

TEST_CASE("every tiny configuration passes its own checks and has its architecture") {
  for (const Architecture* architecture : architectures()) {
    const std::vector<Config> configs = architecture->tiny();
    REQUIRE(!configs.empty());
    for (const Config& config : configs) {
      CHECK(config.architecture == architecture->name);
      CHECK_NOTHROW(check_config(config, "tiny"));
    }
  }
}

TEST_CASE("prefill, chunks and decode agree on the reference") {
  for (const Architecture* architecture : architectures()) {
    for (const Config& config : architecture->tiny()) {
      CAPTURE(std::string(architecture->name));
      const auto model = random_model(config, options_for({"reference"}));
      const auto tokens = random_tokens(config.vocab, 19, 7);
      const auto prefill = logits_of(*model, tokens, 19);
      REQUIRE(prefill.size() == tokens.size() * static_cast<size_t>(config.vocab));
      CHECK(relative_error(logits_of(*model, tokens, 1), prefill) <= 1e-6);
      CHECK(relative_error(logits_of(*model, tokens, 5), prefill) <= 1e-6);
    }
  }
}

TEST_CASE("expert layouts are the same model") {
  Config config = find_architecture("olmoe")->tiny().front();
  // Draws differ between layouts, so the fused tensors are built from the split ones.
  const auto split = random_model(config, options_for({"reference"}));
  ModelSource fused;
  fused.config = config;
  fused.name = "fused";
  const int64_t e = config.experts, f = config.expert_width, d = config.width;
  const WeightStore& from = split->store();
  for (const std::string& name : from.names()) {
    if (name.find("experts") == std::string::npos) fused.store.add(name, *from.find(name));
  }
  for (int layer = 0; layer < config.layers; ++layer) {
    const std::string base = "model.layers." + std::to_string(layer) + ".mlp.experts.";
    Buffer in(static_cast<size_t>(e * 2 * f * d) * 4), out(static_cast<size_t>(e * f * d) * 4);
    for (int64_t i = 0; i < e; ++i) {
      const std::string expert = base + std::to_string(i) + ".";
      const auto size = static_cast<size_t>(f * d);
      std::memcpy(in.as<float>() + (2 * i) * f * d, from.require(expert + "gate_proj.weight").tensor.data, size * 4);
      std::memcpy(in.as<float>() + (2 * i + 1) * f * d, from.require(expert + "up_proj.weight").tensor.data, size * 4);
      std::memcpy(out.as<float>() + i * f * d, from.require(expert + "down_proj.weight").tensor.data, size * 4);
    }
    Weight up, down;
    up.tensor = make_tensor(fused.store.own(std::move(in)), DType::kF32, {e, 2 * f, d});
    down.tensor = make_tensor(fused.store.own(std::move(out)), DType::kF32, {e, d, f});
    fused.store.add(base + "gate_up_proj", up);
    fused.store.add(base + "down_proj", down);
  }
  const Model model(std::move(fused), make_backends({"reference"}, ""), options_for({"reference"}));
  const auto tokens = random_tokens(config.vocab, 9, 3);
  CHECK(logits_of(model, tokens, 9) == logits_of(*split, tokens, 9));
}

TEST_CASE("a tensor of the wrong shape is named") {
  const Config config = find_architecture("olmoe")->tiny().front();
  Config wider = config;
  wider.expert_width += 1;
  ModelSource source = random_source(config);
  source.config = wider;
  try {
    const Model model(std::move(source), make_backends({"reference"}, ""), options_for({"reference"}));
    FAIL("loaded");
  } catch (const Error& error) {
    CHECK(error.status() == Status::kFormat);
    CHECK(std::string(error.what()).find("model.layers.0.mlp.experts.0.gate_proj") != std::string::npos);
  }
}

namespace {

// The model with one of its tensors replaced by zeros of another shape or type; what its load and a run then say.
std::string with_tensor(const Config& config, const WeightStore& whole, const std::string& name, DType type,
                        std::vector<int64_t> shape) {
  ModelSource source;
  source.config = config, source.name = "changed";
  for (const std::string& other : whole.names()) {
    if (other != name) source.store.add(other, whole.require(other));
  }
  int64_t count = 1;
  for (int64_t n : shape) count *= n;
  Weight weight;
  weight.tensor = make_tensor(source.store.own(Buffer(dtype_bytes(type, count))), type, {shape.back()});
  weight.tensor.rank = static_cast<int>(shape.size());
  std::ranges::copy(shape, weight.tensor.shape.begin());
  weight.origin = name;
  source.store.add(name, weight);
  try {
    ModelOptions options = options_for({});
    options.threads = 1, options.max_rows = 3;
    const Model model(std::move(source), make_backends({}, ""), options);
    logits_of(model, random_tokens(config.vocab, 3, 1), 3);
  } catch (const Error& error) {
    CHECK(error.status() != Status::kInternal);
    return error.what();
  }
  return "";
}

// A tensor's name as errors may give it: also by the node that it belongs to.
bool names(const std::string& message, const std::string& tensor) {
  std::string stem = tensor.substr(0, tensor.rfind('.'));
  if (stem.starts_with("model.")) stem.erase(0, 6);
  const std::string last = stem.substr(stem.rfind('.') + 1);
  const bool router = last == "gate" || stem.ends_with("router.layer");
  return message.find(last) != std::string::npos || (router && message.find("route") != std::string::npos);
}

}  // namespace

TEST_CASE("a tensor of any other shape is an error that names it, one of another type too, or it is run") {
  for (const Architecture* architecture : architectures()) {
    const Config config = architecture->tiny().front();
    const WeightStore store = RandomWeights(config, {.seed = 5}).make();
    for (const std::string& name : store.names()) {
      if (name.starts_with("model.layers.1.") || name.find("experts.1.") != std::string::npos) continue;
      CAPTURE(std::string(architecture->name));
      CAPTURE(name);
      const Tensor& t = store.require(name).tensor;
      const std::vector<int64_t> shape(t.shape.begin(), t.shape.begin() + t.rank);
      for (size_t dim = 0; dim < shape.size(); ++dim) {
        for (const int64_t other : {shape[dim] + 1, shape[dim] / 2}) {
          if (other == shape[dim] || other == 0) continue;
          std::vector<int64_t> changed = shape;
          changed[dim] = other;
          const std::string message = with_tensor(config, store, name, DType::kF32, changed);
          CAPTURE(dim);
          CAPTURE(other);
          CAPTURE(message);
          CHECK(names(message, name));
        }
      }
      if (shape.size() == 2) CHECK(names(with_tensor(config, store, name, DType::kF32, {shape[1], shape[0], 1}), name));
      for (const DType type : {DType::kI32, DType::kQ8_0}) {
        if (shape.back() % dtype_info(type).block != 0) continue;
        const std::string message = with_tensor(config, store, name, type, shape);
        CAPTURE(std::string(dtype_info(type).name));
        CAPTURE(message);
        CHECK((type != DType::kI32 || message != ""));
      }
    }
  }
}

TEST_CASE("the default backends agree with the reference") {
  for (const Architecture* architecture : architectures()) {
    for (const Config& config : architecture->tiny()) {
      for (DType type : {DType::kF32, DType::kBF16, DType::kF16, DType::kQ8_0, DType::kQ4_0}) {
        if (config.ffn_width % 32 != 0 && is_quantised(type)) continue;
        CAPTURE(std::string(architecture->name));
        CAPTURE(std::string(dtype_info(type).name));
        const RandomOptions random{.seed = 5, .type = type};
        const auto tokens = random_tokens(config.vocab, 23, 11);
        const auto exact = logits_of(*random_model(config, options_for({"reference"}), random), tokens, 23);
        const auto model = random_model(config, options_for({}), random);
        CHECK(relative_error(logits_of(*model, tokens, 23), exact) <= 1e-4);
        CHECK(relative_error(logits_of(*model, tokens, 4), exact) <= 1e-4);
      }
    }
  }
}

TEST_CASE("every SIMD level of this CPU agrees with the reference") {
  Config config = find_architecture("olmoe")->tiny().front();
  config.width = 256, config.expert_width = 256, config.head_dim = 64;
  for (DType type : {DType::kF32, DType::kBF16, DType::kQ4_0, DType::kQ4_K, DType::kQ6_K}) {
    const RandomOptions random{.seed = 5, .type = type};
    const auto tokens = random_tokens(config.vocab, 20, 11);
    const auto exact = logits_of(*random_model(config, options_for({"reference"}), random), tokens, 20);
    for (const simd::Level* level : simd::available_levels(cpu_info().features)) {
      CAPTURE(std::string(level->name));
      CAPTURE(std::string(dtype_info(type).name));
      ModelOptions options = options_for({"simd", "reference"});
      options.simd = level->name;
      const auto model = random_model(config, options, random);
      for (const ExplainRow& row : model->explain(20, 20)) CHECK(row.backend == "simd");
      CHECK(relative_error(logits_of(*model, tokens, 20), exact) <= 1e-4);
      CHECK(relative_error(logits_of(*model, tokens, 1), exact) <= 1e-4);
    }
  }
}
