// Writes a model of a published model's shape (shapes.h) with random weights, to measure speed at real size: GGUF, or a
// sharded Hugging Face folder (bf16).
#include <CLI/CLI.hpp>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

#include "bench/random_weights.h"
#include "bench/shapes.h"
#include "core/error.h"
#include "formats/gguf_writer.h"
#include "formats/safetensors_writer.h"

using namespace moiety;
using namespace moiety::bench;

namespace {

void write_gguf(const std::filesystem::path& path, const std::string& kind, const Shape& s) {
  GgufWriter out(path);
  put_keys(out, s, kind);
  const std::vector<Item> items = tensors(s);
  for (const Item& item : items) out.add_tensor(item.gguf, type_of(item, kind, s), item.shape);
  RandomWeights pool;
  for (const Item& item : items) {
    pool.write(type_of(item, kind, s), item.fill, count_of(item), [&](std::span<const std::byte> bytes) { out.write(bytes); });
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
  RandomWeights pool;
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
            pool.write(DType::kBF16, item.fill, count, [&](std::span<const std::byte> bytes) { out.write(bytes); });
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

constexpr const char* kFooter =
    "Each number overrides the shape's own. Types: q4_0, q8_0, q4_k_m, f16, mxfp4 (the experts; the rest q8_0) as GGUF;\n"
    "bf16 is a Hugging Face folder and for olmoe-1b-7b alone.\n"
    "moiety runs olmoe-1b-7b, qwen3-30b-a3b and mixtral-8x7b; it refuses gpt-oss-20b and deepseek-v2-lite by the name of\n"
    "their architecture: their files are for other programs. llama.cpp knows deepseek-v2-lite by its 27 (or 26) layers.";

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Writes a model of a published model's shape with random weights"};
  std::string name = "olmoe-1b-7b", kind, output;
  std::optional<int64_t> layers, width, experts, active, expert_width, context;
  app.footer(kFooter);
  app.add_option("--shape", name, "of which model")->check(CLI::IsMember(shape_names()))->capture_default_str();
  app.add_option("-t,--type", kind, "of the weights; default: q4_0, for gpt-oss-20b mxfp4")
      ->check(CLI::IsMember({"q4_0", "q8_0", "q4_k_m", "mxfp4", "f16", "bf16"}));
  app.add_option("-o,--output", output, "file, or folder for bf16")->required();
  app.add_option("--layers", layers, "layers")->check(CLI::Range(1, 64));
  app.add_option("--width", width, "width")->check(CLI::Range(256, 16384));
  app.add_option("--experts", experts, "experts a layer")->check(CLI::Range(1, 1024));
  app.add_option("--active", active, "of them at work on a token")->check(CLI::Range(1, 64));
  app.add_option("--expert-width", expert_width, "width of an expert")->check(CLI::Range(256, 32768));
  app.add_option("--context", context, "context")->check(CLI::Range(64, 1 << 20));
  CLI11_PARSE(app, argc, argv);
  try {
    Shape shape = shape_of(name);
    const auto take = [](const std::optional<int64_t>& given, int64_t& own) { own = given.value_or(own); };
    take(layers, shape.layers), take(width, shape.width), take(experts, shape.experts), take(active, shape.active);
    take(expert_width, shape.expert_width), take(context, shape.context);
    if (kind.empty()) kind = usual_type(shape);
    if (shape.active > shape.experts) fail(Status::kInvalidArgument, "{} of {} experts can't be active", shape.active, shape.experts);
    if (kind != "bf16") write_gguf(output, kind, shape);
    else if (shape.architecture == "olmoe") write_folder(output, shape);
    else fail(Status::kInvalidArgument, "bf16 is for olmoe-1b-7b alone; {} can be f16", name);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return 1;
  }
  return 0;
}
