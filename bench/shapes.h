// Shapes of published models, to measure speed at real size with random weights: their hyper-parameters, GGUF's keys
// for them, and every tensor's name, shape and type.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "bench/random_weights.h"
#include "core/dtype.h"
#include "formats/gguf_writer.h"

namespace moiety::bench {

struct Shape {
  std::string name, title, architecture;  // "qwen3-30b-a3b", "Qwen3-30B-A3B", GGUF's "qwen3moe"
  int64_t layers = 0, width = 0, heads = 0, kv_heads = 0;
  int64_t head_dim = 0;  // 0: width / heads
  int64_t experts = 0, active = 0, expert_width = 0, vocabulary = 0, context = 0;
  int64_t ffn_width = 0;  // of dense layers; 0: there are none
  int64_t dense_layers = 0, shared_experts = 0;
  enum class QkNorms : uint8_t { kNone, kRow, kHead } norms = QkNorms::kNone;
  bool biases = false;   // gpt-oss: of attention, router and experts, and sinks
  int64_t kv_rank = 0;   // DeepSeek's latent attention: of keys and values; 0: ordinary attention
  int64_t rope_dim = 0;  // the rotated part of a key there, beside head_dim
  int64_t window = 0;
  float eps = 1e-5f, theta = 10000;
  float yarn_factor = 0;  // 0: no YaRN
  int64_t yarn_context = 0;

  int64_t head() const { return head_dim > 0 ? head_dim : width / heads; }
};

std::vector<std::string> shape_names();
Shape shape_of(std::string_view name);  // one of shape_names()
// What the shape's published file has: "mxfp4" or "q4_0".
std::string usual_type(const Shape& shape);

struct Item {
  std::string gguf;
  std::string hf;  // of OLMoE alone; '#' stands for an expert's number
  std::vector<int64_t> shape;
  Fill fill = Fill::kSmall;
  int64_t layer = -1;  // -1: none
};
std::vector<Item> tensors(const Shape& shape);
int64_t count_of(const Item& item);  // of its values

// As llama.cpp's quantiser gives them; kind: q4_0, q8_0, q4_k_m, mxfp4 (experts; the rest q8_0), f16, bf16 (all of it).
// Where a row is no multiple of a K-quant's block, the type that stands in for it there. Throws Error kInvalidArgument
// where a row fits no block.
DType type_of(const Item& item, const std::string& kind, const Shape& shape);

void put_keys(GgufWriter& out, const Shape& shape, const std::string& kind);

}  // namespace moiety::bench
