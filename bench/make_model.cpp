// Writes a model of OLMoE-1B-7B's shape with random weights, to measure speed at real size: GGUF (q4_0, q8_0, q4_k_m,
// f16) or a sharded Hugging Face folder (bf16). Weights repeat a pool of random blocks. The embeddings are scaled up, as
// otherwise the routing of random weights collapses on few experts and prefill looks faster than it is.
#include <CLI/CLI.hpp>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "core/blocks.h"
#include "core/error.h"
#include "formats/gguf_writer.h"
#include "formats/safetensors_writer.h"

using namespace moiety;

namespace {

struct Shape {
  int64_t layers = 16, width = 2048, heads = 16, experts = 64, active = 8, expert_width = 1024, vocabulary = 50304, context = 4096;
};

struct Item {
  std::string gguf, hf;
  std::vector<int64_t> shape;
  enum { kNorm, kMatrix, kEmbedding, kRouter } kind;
  int64_t layer;  // -1: none
};

std::vector<Item> tensors(const Shape& s) {
  std::vector<Item> items = {{"token_embd.weight", "model.embed_tokens.weight", {s.vocabulary, s.width}, Item::kEmbedding, -1}};
  for (int64_t i = 0; i < s.layers; ++i) {
    const std::string g = "blk." + std::to_string(i) + ".", h = "model.layers." + std::to_string(i) + ".";
    items.push_back({g + "attn_norm.weight", h + "input_layernorm.weight", {s.width}, Item::kNorm, i});
    items.push_back({g + "ffn_norm.weight", h + "post_attention_layernorm.weight", {s.width}, Item::kNorm, i});
    for (const char* x : {"q", "k"}) {
      items.push_back({g + "attn_" + x + "_norm.weight", h + "self_attn." + x + "_norm.weight", {s.width}, Item::kNorm, i});
    }
    for (const auto& [a, b] : std::map<std::string, std::string>{{"q", "q_proj"}, {"k", "k_proj"}, {"v", "v_proj"}, {"output", "o_proj"}}) {
      items.push_back({g + "attn_" + a + ".weight", h + "self_attn." + b + ".weight", {s.width, s.width}, Item::kMatrix, i});
    }
    items.push_back({g + "ffn_gate_inp.weight", h + "mlp.gate.weight", {s.experts, s.width}, Item::kRouter, i});
    for (const char* x : {"gate", "up", "down"}) {
      const bool down = x[0] == 'd';
      items.push_back({g + "ffn_" + x + "_exps.weight", h + "mlp.experts.#." + x + "_proj.weight",
                       {s.experts, down ? s.width : s.expert_width, down ? s.expert_width : s.width}, Item::kMatrix, i});
    }
  }
  items.push_back({"output_norm.weight", "model.norm.weight", {s.width}, Item::kNorm, -1});
  items.push_back({"output.weight", "lm_head.weight", {s.vocabulary, s.width}, Item::kMatrix, -1});
  return items;
}

// The type of a tensor, as llama.cpp's quantiser mixes them (q4_k_m: some tensors in more bits).
DType type_of(const Item& item, const std::string& kind, const Shape& s) {
  if (item.kind == Item::kNorm || (item.kind == Item::kRouter && kind != "bf16")) return kind == "bf16" ? DType::kBF16 : DType::kF32;
  if (kind == "q4_k_m") {
    const int64_t i = item.layer, n = s.layers;
    const bool more = i >= 0 && (i < n / 8 || i >= 7 * n / 8 || (i - n / 8) % 3 == 2);
    const bool wide = item.gguf.find("attn_v") != std::string::npos || item.gguf.find("ffn_down") != std::string::npos;
    return item.gguf == "output.weight" || (more && wide) ? DType::kQ6_K : DType::kQ4_K;
  }
  if (kind == "q4_0" && item.gguf == "output.weight") return DType::kQ6_K;
  return *dtype_from_name(kind);
}

// Random blocks of each (type, scale), repeated from a place that moves on.
class Pool {
 public:
  void write(DType type, float scale, int64_t count, const std::function<void(std::span<const std::byte>)>& put) {
    auto& blocks = pool_[{type, scale}];
    if (blocks.empty()) {
      constexpr int64_t kValues = 1 << 21;
      std::normal_distribution<float> normal(0, scale);
      std::vector<float> values(kValues);
      for (float& v : values) v = normal(rng_);
      blocks.resize(dtype_bytes(type, kValues));
      encode(type, values.data(), blocks.data(), kValues);
    }
    const size_t block = dtype_info(type).bytes;
    size_t at = rng_() % (blocks.size() / block) * block, left = dtype_bytes(type, count);
    while (left > 0) {
      const size_t piece = std::min(left, blocks.size() - at);
      put({blocks.data() + at, piece});
      left -= piece;
      at = 0;
    }
  }

 private:
  std::map<std::pair<DType, float>, std::vector<std::byte>> pool_;
  std::mt19937 rng_{20260923};
};

int64_t count_of(const Item& item) {
  int64_t n = 1;
  for (int64_t d : item.shape) n *= d;
  return n;
}

void put_tensor(Pool& pool, const Item& item, DType type, int64_t count, const std::function<void(std::span<const std::byte>)>& put) {
  if (item.kind == Item::kNorm) {
    std::vector<float> ones(static_cast<size_t>(count), 1.0f);
    std::vector<std::byte> bytes(dtype_bytes(type, count));
    encode(type, ones.data(), bytes.data(), count);
    put(bytes);
    return;
  }
  pool.write(type, item.kind == Item::kEmbedding ? 4.0f : 0.02f, count, put);
}

void write_gguf(const std::filesystem::path& path, const std::string& kind, const Shape& s) {
  GgufWriter out(path);
  out.set_string("general.architecture", "olmoe");
  out.set_string("general.name", "OLMoE-1B-7B shape, random weights, " + kind);
  const auto number = [&](const char* key, int64_t value) { out.set_u32(std::string("olmoe.") + key, static_cast<uint32_t>(value)); };
  number("block_count", s.layers);
  number("context_length", s.context);
  number("embedding_length", s.width);
  number("feed_forward_length", s.expert_width);
  number("attention.head_count", s.heads);
  number("attention.head_count_kv", s.heads);
  number("expert_count", s.experts);
  number("expert_used_count", s.active);
  number("vocab_size", s.vocabulary);
  out.set_f32("olmoe.attention.layer_norm_rms_epsilon", 1e-5f);
  out.set_f32("olmoe.rope.freq_base", 10000.0f);
  out.set_string("tokenizer.ggml.model", "no_vocab");
  const std::vector<Item> items = tensors(s);
  for (const Item& item : items) out.add_tensor(item.gguf, type_of(item, kind, s), item.shape);
  Pool pool;
  for (const Item& item : items) {
    put_tensor(pool, item, type_of(item, kind, s), count_of(item), [&](std::span<const std::byte> bytes) { out.write(bytes); });
  }
  out.commit();
}

void write_folder(const std::filesystem::path& folder, const Shape& s) {
  std::filesystem::create_directories(folder);
  std::ofstream(folder / "config.json")
      << "{\"architectures\": [\"OlmoeForCausalLM\"], \"model_type\": \"olmoe\", \"hidden_act\": \"silu\", \"hidden_size\": " << s.width
      << ", \"intermediate_size\": " << s.expert_width << ", \"max_position_embeddings\": " << s.context
      << ", \"norm_topk_prob\": false, \"num_attention_heads\": " << s.heads << ", \"num_key_value_heads\": " << s.heads
      << ", \"num_experts\": " << s.experts << ", \"num_experts_per_tok\": " << s.active << ", \"num_hidden_layers\": " << s.layers
      << ", \"rms_norm_eps\": 1e-05, \"rope_theta\": 10000.0, \"tie_word_embeddings\": false, \"torch_dtype\": \"bfloat16\", \"vocab_size\": "
      << s.vocabulary << "}\n";
  Pool pool;
  std::vector<std::pair<std::string, std::string>> index;
  uint64_t total = 0;
  const std::vector<Item> items = tensors(s);
  const int64_t shards = 1 + s.layers / 4;  // 4 layers a shard, then what is outside of layers
  for (int64_t shard = 0; shard < shards; ++shard) {
    char name[64];
    std::snprintf(name, sizeof name, "model-%05d-of-%05d.safetensors", static_cast<int>(shard + 1), static_cast<int>(shards));
    SafetensorsWriter out(folder / name);
    for (const bool write : {false, true}) {
      for (const Item& item : items) {
        if ((item.layer < 0 ? shards - 1 : item.layer / 4) != shard) continue;
        const size_t mark = item.hf.find('#');
        const bool split = mark != std::string::npos;
        for (int64_t e = 0; e < (split ? item.shape[0] : 1); ++e) {
          std::string tensor = item.hf;
          if (split) tensor.replace(mark, 1, std::to_string(e));
          const std::vector<int64_t> shape(item.shape.begin() + (split ? 1 : 0), item.shape.end());
          const int64_t count = count_of(item) / (split ? item.shape[0] : 1);
          if (write) {
            put_tensor(pool, item, DType::kBF16, count, [&](std::span<const std::byte> bytes) { out.write(bytes); });
          } else {
            out.add_tensor(tensor, DType::kBF16, shape);
            index.emplace_back(tensor, name);
            total += dtype_bytes(DType::kBF16, count);
          }
        }
      }
    }
    out.commit();
  }
  write_safetensors_index(folder / "model.safetensors.index.json", index, total);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Writes a model of OLMoE-1B-7B's shape with random weights"};
  std::string kind = "q4_0", output;
  Shape shape;
  app.add_option("-t,--type", kind, "q4_0, q8_0, q4_k_m, f16 (GGUF) or bf16 (Hugging Face folder)")
      ->check(CLI::IsMember({"q4_0", "q8_0", "q4_k_m", "f16", "bf16"}));
  app.add_option("-o,--output", output, "file, or folder for bf16")->required();
  app.add_option("--layers", shape.layers, "layers")->check(CLI::Range(1, 64))->capture_default_str();
  app.add_option("--width", shape.width, "width")->check(CLI::Range(256, 16384))->capture_default_str();
  app.add_option("--experts", shape.experts, "experts a layer")->check(CLI::Range(1, 1024))->capture_default_str();
  app.add_option("--active", shape.active, "of them at work on a token")->check(CLI::Range(1, 64))->capture_default_str();
  app.add_option("--expert-width", shape.expert_width, "width of an expert")->check(CLI::Range(256, 32768))->capture_default_str();
  app.add_option("--context", shape.context, "context")->check(CLI::Range(64, 1 << 20))->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  try {
    if (kind == "bf16") write_folder(output, shape);
    else write_gguf(output, kind, shape);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
