// Random weights for a configuration, and a model over them: what the tests of models and runtime run.
#pragma once

#include <cmath>
#include <cstring>
#include <functional>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "backends/list.h"
#include "core/blocks.h"
#include "runtime/model.h"
#include "runtime/scheduler.h"

namespace moiety::test {

enum class ExpertLayout { kSplit, kFusedPair, kFusedApart };

struct RandomOptions {
  uint64_t seed = 1;
  DType type = DType::kF32;  // of the matrices; norms stay f32
  ExpertLayout layout = ExpertLayout::kSplit;
  float scale = 1;  // of the matrices' values, times 1 / sqrt(columns)
};

class RandomWeights {
 public:
  RandomWeights(const Config& config, const RandomOptions& options)
      : c_(config), options_(options), random_(options.seed) {}

  WeightStore make() {
    matrix("model.embed_tokens.weight", {c_.vocab, c_.width}, 4);
    if (!c_.tied_head) matrix("lm_head.weight", {c_.vocab, c_.width}, 4);
    if (fairseq() && c_.final_norm) norm("model.layer_norm");
    if (!fairseq()) vector("model.norm.weight", c_.width, 1);
    for (int layer = 0; layer < c_.layers; ++layer) add_layer(layer);
    return std::move(store_);
  }

 private:
  void add(const std::string& name, const std::vector<float>& values, std::vector<int64_t> shape, DType type) {
    Buffer buffer(dtype_bytes(type, static_cast<int64_t>(values.size())));
    encode(type, values.data(), buffer.data(), static_cast<int64_t>(values.size()));
    Weight weight;
    weight.tensor.data = store_.own(std::move(buffer));
    weight.tensor.dtype = type;
    weight.tensor.rank = static_cast<int>(shape.size());
    std::copy(shape.begin(), shape.end(), weight.tensor.shape.begin());
    weight.tensor.row_bytes = static_cast<int64_t>(dtype_bytes(type, shape.back()));
    weight.memory = MemoryClass::kCopy;
    weight.origin = "random";
    weight.file_name = name;
    store_.add(name, weight);
  }
  std::vector<float> normal(int64_t count, float deviation, float mean = 0) {
    std::normal_distribution<float> distribution(mean, deviation);
    std::vector<float> values(static_cast<size_t>(count));
    for (float& v : values) v = distribution(random_);
    return values;
  }
  void matrix(const std::string& name, std::vector<int64_t> shape, float scale = 1) {
    const int64_t count = std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
    const float deviation = options_.scale * scale / std::sqrt(static_cast<float>(shape.back()));
    add(name, normal(count, deviation), shape, options_.type);
  }
  void vector(const std::string& name, int64_t size, float mean) {
    add(name, normal(size, 0.1f, mean), {size}, DType::kF32);
  }
  void linear(const std::string& name, int64_t out, int64_t in, bool bias, float scale = 1) {
    matrix(name + ".weight", {out, in}, scale);
    if (bias) vector(name + ".bias", out, 0);
  }

  bool fairseq() const { return c_.architecture == "fairseq_moe"; }
  void norm(const std::string& name) {
    vector(name + ".weight", c_.width, 1);
    vector(name + ".bias", c_.width, 0);
  }
  void add_fairseq_layer(int layer) {
    const std::string p = "model.layers." + std::to_string(layer) + ".";
    norm(p + "self_attn_layer_norm");
    norm(p + "final_layer_norm");
    for (const char* name : {"q_proj", "k_proj", "v_proj", "out_proj"})
      linear(p + "self_attn." + name, c_.width, c_.width, true);
    const auto ffn = [&](const std::string& base, int64_t width) {
      linear(base + "fc1", width, c_.width, true);
      linear(base + "fc2", c_.width, width, true);
    };
    if (!c_.is_sparse(layer)) return ffn(p, c_.ffn_width);
    linear(p + "moe_layer.gate.wg", c_.experts, c_.width, false, 4);
    for (int i = 0; i < c_.experts; ++i) ffn(p + "moe_layer.experts." + std::to_string(i) + ".", c_.expert_width);
  }
  void add_layer(int layer) {
    if (fairseq()) return add_fairseq_layer(layer);
    const std::string p = "model.layers." + std::to_string(layer) + ".";
    const int64_t q = static_cast<int64_t>(c_.heads) * c_.head_dim,
                  kv = static_cast<int64_t>(c_.kv_heads) * c_.head_dim;
    vector(p + "input_layernorm.weight", c_.width, 1);
    vector(p + "post_attention_layernorm.weight", c_.width, 1);
    linear(p + "self_attn.q_proj", q, c_.width, c_.attention_bias);
    linear(p + "self_attn.k_proj", kv, c_.width, c_.attention_bias);
    linear(p + "self_attn.v_proj", kv, c_.width, c_.attention_bias);
    linear(p + "self_attn.o_proj", c_.width, q, c_.attention_bias);
    const bool row_norm = c_.architecture == "olmoe", head_norm = c_.architecture.starts_with("qwen3");
    if (row_norm || head_norm) {
      vector(p + "self_attn.q_norm.weight", row_norm ? q : c_.head_dim, 1);
      vector(p + "self_attn.k_norm.weight", row_norm ? kv : c_.head_dim, 1);
    }
    if (!c_.is_sparse(layer)) {
      linear(p + "mlp.gate_proj", c_.ffn_width, c_.width, c_.mlp_bias);
      linear(p + "mlp.up_proj", c_.ffn_width, c_.width, c_.mlp_bias);
      linear(p + "mlp.down_proj", c_.width, c_.ffn_width, c_.mlp_bias);
      return;
    }
    const bool granite = c_.architecture == "granitemoe", mixtral = c_.architecture == "mixtral";
    const std::string moe = p + (granite || mixtral ? "block_sparse_moe." : "mlp.");
    linear(moe + (granite ? "router.layer" : "gate"), c_.experts, c_.width, false, 4);
    add_experts(moe, granite, mixtral);
  }
  void add_experts(const std::string& moe, bool granite, bool mixtral) {
    const int64_t e = c_.experts, f = c_.expert_width, d = c_.width;
    if (options_.layout == ExpertLayout::kFusedPair || (granite && options_.layout == ExpertLayout::kSplit)) {
      matrix(moe + (granite ? "input_linear.weight" : "experts.gate_up_proj"), {e, 2 * f, d});
      matrix(moe + (granite ? "output_linear.weight" : "experts.down_proj"), {e, d, f});
    } else if (options_.layout == ExpertLayout::kFusedApart) {
      matrix(moe + "experts.gate_proj.weight", {e, f, d});
      matrix(moe + "experts.up_proj.weight", {e, f, d});
      matrix(moe + "experts.down_proj.weight", {e, d, f});
    } else {
      for (int64_t i = 0; i < e; ++i) {
        const std::string expert = moe + "experts." + std::to_string(i) + ".";
        matrix(expert + (mixtral ? "w1.weight" : "gate_proj.weight"), {f, d});
        matrix(expert + (mixtral ? "w3.weight" : "up_proj.weight"), {f, d});
        matrix(expert + (mixtral ? "w2.weight" : "down_proj.weight"), {d, f});
      }
    }
  }

  Config c_;
  RandomOptions options_;
  std::mt19937_64 random_;
  WeightStore store_;
};

inline ModelSource random_source(const Config& config, const RandomOptions& options = {}) {
  ModelSource source;
  source.config = config;
  source.store = RandomWeights(config, options).make();
  source.name = config.architecture;
  source.format = "random";
  return source;
}

inline std::unique_ptr<Model> random_model(const Config& config, const ModelOptions& options = {},
                                           const RandomOptions& random = {}) {
  return std::make_unique<Model>(random_source(config, random), make_backends(options.backends, options.simd), options);
}

inline std::vector<int32_t> random_tokens(int vocab, size_t count, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<int32_t> tokens(count);
  for (int32_t& t : tokens) t = static_cast<int32_t>(random() % static_cast<uint64_t>(vocab));
  return tokens;
}

// Logits [tokens, V] of one session that is fed `chunk` tokens at a time.
inline std::vector<float> logits_of(const Model& model, std::span<const int32_t> tokens, size_t chunk) {
  Session session(model);
  Scheduler scheduler(model);
  std::vector<float> all;
  for (size_t at = 0; at < tokens.size(); at += chunk) {
    scheduler.submit(session, tokens.subspan(at, std::min(chunk, tokens.size() - at)), Want::kAll,
                     [&](int, std::span<const float> row) { all.insert(all.end(), row.begin(), row.end()); });
    scheduler.run();
  }
  return all;
}

// max |a - b| / max |b|; infinite if the sizes differ or anything is not finite.
inline double relative_error(std::span<const float> a, std::span<const float> b) {
  if (a.size() != b.size() || a.empty()) return INFINITY;
  double worst = 0, largest = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    if (!std::isfinite(a[i]) || !std::isfinite(b[i])) return INFINITY;
    worst = std::max(worst, std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i])));
    largest = std::max(largest, std::abs(static_cast<double>(b[i])));
  }
  return largest > 0 ? worst / largest : INFINITY;
}

// One thread, nothing rounded.
inline ModelOptions exact(int64_t max_rows = 512) {
  ModelOptions options;
  options.activations = ActivationPrecision::kF32;
  options.threads = 1;
  options.max_rows = max_rows;
  return options;
}

}  // namespace moiety::test
