#include "models/tensor_list.h"

#include <algorithm>
#include <optional>
#include <string_view>

#include <fmt/ranges.h>

#include "core/buffer.h"
#include "core/checked.h"
#include "core/error.h"

namespace moiety {
namespace {

enum class QkNorms : uint8_t { kNone, kRow, kHead };
enum class ExpertFiles : uint8_t { kNone, kGateUpDown, kNumbered, kFused };

// How the Llama-shaped architectures differ in what they store.
struct Stored {
  std::string_view architecture;
  QkNorms norms = QkNorms::kNone;
  ExpertFiles experts = ExpertFiles::kNone;
};
constexpr Stored kLayouts[] = {
    {"olmoe", QkNorms::kRow, ExpertFiles::kGateUpDown},
    {"mixtral", QkNorms::kNone, ExpertFiles::kNumbered},
    {"qwen3_moe", QkNorms::kHead, ExpertFiles::kGateUpDown},
    {"granitemoe", QkNorms::kNone, ExpertFiles::kFused},
    {"llama", QkNorms::kNone, ExpertFiles::kNone},
    {"qwen3", QkNorms::kHead, ExpertFiles::kNone},
    {"granite", QkNorms::kNone, ExpertFiles::kNone},
};

class Lister {
 public:
  explicit Lister(const Config& c) : c_(c) {}

  std::vector<TensorSpec> llama_shaped(const Stored& layout) {
    vector("model.norm.weight", c_.width);
    for (int l = 0; l < c_.layers; ++l) {
      const std::string p = fmt::format("model.layers.{}.", l);
      vector(p + "input_layernorm.weight", c_.width);
      vector(p + "post_attention_layernorm.weight", c_.width);
      attention(p + "self_attn.", layout.norms);
      if (c_.is_sparse(l)) {
        experts(p, layout.experts);
      } else {
        linear(p + "mlp.gate_proj", c_.ffn_width, c_.width, c_.mlp_bias);
        linear(p + "mlp.up_proj", c_.ffn_width, c_.width, c_.mlp_bias);
        linear(p + "mlp.down_proj", c_.width, c_.ffn_width, c_.mlp_bias);
      }
    }
    return finish();
  }

  std::vector<TensorSpec> fairseq() {
    const auto norm = [&](const std::string& name) { vector(name + ".weight", c_.width), vector(name + ".bias", c_.width); };
    const auto ffn = [&](const std::string& p, int64_t width) {
      linear(p + "fc1", width, c_.width, true);
      linear(p + "fc2", c_.width, width, true);
    };
    if (c_.final_norm) norm("model.layer_norm");
    for (int l = 0; l < c_.layers; ++l) {
      const std::string p = fmt::format("model.layers.{}.", l);
      norm(p + "self_attn_layer_norm"), norm(p + "final_layer_norm");
      for (const char* name : {"q_proj", "k_proj", "v_proj", "out_proj"}) linear(p + "self_attn." + name, c_.width, c_.width, true);
      if (!c_.is_sparse(l)) {
        ffn(p, c_.ffn_width);
        continue;
      }
      linear(p + "moe_layer.gate.wg", c_.experts, c_.width, false);
      for (int e = 0; e < c_.experts; ++e) ffn(fmt::format("{}moe_layer.experts.{}.", p, e), c_.expert_width);
    }
    return finish();
  }

 private:
  void vector(const std::string& name, int64_t size) { list_.push_back({name, {size}}); }
  void linear(const std::string& name, int64_t out, int64_t in, bool bias) {
    list_.push_back({name + ".weight", {out, in}});
    if (bias) vector(name + ".bias", out);
  }
  void attention(const std::string& p, QkNorms norms) {
    const int64_t q = int64_t{c_.heads} * c_.head_dim, kv = int64_t{c_.kv_heads} * c_.head_dim;
    linear(p + "q_proj", q, c_.width, c_.attention_bias);
    linear(p + "k_proj", kv, c_.width, c_.attention_bias);
    linear(p + "v_proj", kv, c_.width, c_.attention_bias);
    linear(p + "o_proj", c_.width, q, c_.attention_bias);
    if (norms == QkNorms::kNone) return;
    vector(p + "q_norm.weight", norms == QkNorms::kRow ? q : c_.head_dim);
    vector(p + "k_norm.weight", norms == QkNorms::kRow ? kv : c_.head_dim);
  }
  void experts(const std::string& layer, ExpertFiles files) {
    const int64_t e = c_.experts, f = c_.expert_width, d = c_.width;
    const std::string p = layer + (files == ExpertFiles::kGateUpDown ? "mlp." : "block_sparse_moe.");
    linear(p + (files == ExpertFiles::kFused ? "router.layer" : "gate"), e, d, false);
    if (files == ExpertFiles::kFused) {
      list_.push_back({p + "input_linear.weight", {e, 2 * f, d}});
      list_.push_back({p + "output_linear.weight", {e, d, f}});
      return;
    }
    const bool numbered = files == ExpertFiles::kNumbered;
    for (int64_t i = 0; i < e; ++i) {
      const std::string expert = fmt::format("{}experts.{}.", p, i);
      linear(expert + (numbered ? "w1" : "gate_proj"), f, d, false);
      linear(expert + (numbered ? "w3" : "up_proj"), f, d, false);
      linear(expert + (numbered ? "w2" : "down_proj"), d, f, false);
    }
  }
  std::vector<TensorSpec> finish() {
    list_.push_back({"model.embed_tokens.weight", {c_.vocab, c_.width}});
    if (!c_.tied_head) list_.push_back({"lm_head.weight", {c_.vocab, c_.width}});
    return std::move(list_);
  }

  const Config& c_;
  std::vector<TensorSpec> list_;
};

}  // namespace

std::vector<TensorSpec> tensor_list(const Config& config) {
  if (config.architecture == "fairseq_moe") return Lister(config).fairseq();
  for (const Stored& layout : kLayouts) {
    if (layout.architecture == config.architecture) return Lister(config).llama_shaped(layout);
  }
  fail(Status::kUnsupported, "the tensors of '{}' are not known without its weights", printable(config.architecture));
}

WeightStore weightless_store(const Config& config, DType type) {
  constexpr int64_t kMostTensors = 1 << 22;
  constexpr uint64_t kMostBytes = uint64_t{1} << 60;
  if (int64_t{config.layers} * (4 * int64_t{config.experts} + 16) > kMostTensors) {
    fail(Status::kUnsupported, "{} layers of {} experts: more than {} tensors", config.layers, config.experts, kMostTensors);
  }
  WeightStore store;
  uintptr_t address = kAlignment;  // each tensor has its own, and nothing is ever read there
  for (TensorSpec& spec : tensor_list(config)) {
    Weight weight;
    Tensor& t = weight.tensor;
    t.data = reinterpret_cast<std::byte*>(address);
    t.dtype = type, t.rank = static_cast<int>(spec.shape.size());
    std::copy(spec.shape.begin(), spec.shape.end(), t.shape.begin());
    std::optional<uint64_t> bytes = dtype_info(type).bytes;
    for (int64_t dim : spec.shape) bytes = bytes ? checked_mul(*bytes, static_cast<uint64_t>(dim)) : std::nullopt;
    if (!bytes || *bytes > kMostBytes || address > kMostBytes) {
      fail(Status::kUnsupported, "tensor '{}' [{}] is too large to be counted", spec.name, fmt::join(spec.shape, ", "));
    }
    t.row_bytes = static_cast<int64_t>(dtype_bytes(type, t.cols()));
    weight.origin = "configuration", weight.file_name = spec.name;
    address += align_up(std::max<size_t>(t.bytes(), 1), kAlignment);
    store.add(std::move(spec.name), weight);
  }
  return store;
}

}  // namespace moiety
