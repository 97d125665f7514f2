// fairseq checkpoints that tests write themselves, from a store of weights: zip or legacy containers, any number of rank
// files, settings in cfg or args.
#pragma once

#include <map>

#include "tests/formats/zip_bytes.h"
#include "tests/runtime/model_files.h"

namespace moiety::test {

// Pickle opcodes of protocol 2.
namespace py {
using namespace std::string_literals;
inline std::string text(std::string_view value) {
  return "X" + Bytes().u32(static_cast<uint32_t>(value.size())).raw(value).data;
}
inline std::string integer(int64_t value) { return "\x8a\x08"s + Bytes().number(value).data; }
inline std::string boolean(bool value) { return value ? "\x88"s : "\x89"s; }
inline std::string none() { return "N"; }
using Members = std::vector<std::pair<std::string, std::string>>;  // key, pickled value
inline std::string dict(const Members& members) {
  std::string out = "}(";
  for (const auto& [key, value] : members) out += text(key) + value;
  return out + "u";
}
inline std::string ordered(const Members& members) {
  return "ccollections\nOrderedDict\n)R" + dict(members).substr(1);
}
inline std::string space(const Members& members) { return "cargparse\nNamespace\n)\x81" + dict(members) + "b"; }
}  // namespace py

struct CheckpointOptions {
  int ranks = 0;            // 0: one file X.pt
  int replicas = 1;         // rank files are written so many times over
  bool legacy = false;      // container
  bool args = false;        // settings in an argparse.Namespace, cfg absent
  bool version = true;      // decoder.version is there, and 3
  int seed = 1, updates = 100;
  enum Head { kAbsent, kAlias, kCopy } head = kAlias;
  std::map<std::string, std::string> settings{};  // pickled; an empty value takes a setting away
  py::Members extra{};      // further keys of 'model' in the shared file
};

class CheckpointFile {
 public:
  explicit CheckpointFile(bool legacy) : legacy_(legacy) {}

  // A tensor over storage `key`, made if it is new.
  std::string tensor(const Tensor& t, size_t key) {
    const size_t item = dtype_info(t.dtype).bytes;
    if (key == storages_.size()) storages_.push_back({std::string(reinterpret_cast<const char*>(t.data), t.bytes()), item});
    std::string sizes = "(", strides = "(";
    int64_t stride = t.elements();
    for (int i = 0; i < t.rank; ++i) {
      stride /= t.dim(i);
      sizes += py::integer(t.dim(i)), strides += py::integer(stride);
    }
    const char* type = t.dtype == DType::kF32 ? "FloatStorage" : t.dtype == DType::kF16 ? "HalfStorage" : "BFloat16Storage";
    return "ctorch._utils\n_rebuild_tensor_v2\n((" + py::text("storage") + "ctorch\n" + type + "\n" +
           py::text(std::to_string(key)) + py::text("cpu") + py::integer(t.elements()) + (legacy_ ? "N" : "") + "tQ" +
           py::integer(0) + sizes + "t" + strides + "t" + py::boolean(false) + py::ordered({}) + "tR";
  }
  size_t next() const { return storages_.size(); }

  std::string bytes(const std::string& object) const {
    using namespace std::string_literals;
    if (legacy_) {
      std::string keys = "](";
      Bytes data;
      for (size_t i = 0; i < storages_.size(); ++i) {
        keys += py::text(std::to_string(i));
        data.u64(storages_[i].bytes.size() / storages_[i].item).raw(storages_[i].bytes);
      }
      return "\x80\x02\x8a\nl\xfc\x9c\x46\xf9 j\xa8P\x19.\x80\x02M\xe9\x03."s + "\x80\x02" + py::dict({{"little_endian", py::boolean(true)}}) +
             ".\x80\x02" + object + ".\x80\x02" + keys + "e." + data.data;
    }
    ZipBytes zip;
    zip.add("archive/data.pkl", "\x80\x02" + object + ".");
    for (size_t i = 0; i < storages_.size(); ++i) zip.add("archive/data/" + std::to_string(i), storages_[i].bytes);
    return zip.bytes();
  }

 private:
  struct Storage {
    std::string bytes;
    size_t item;
  };
  bool legacy_;
  std::vector<Storage> storages_;
};

inline std::string checkpoint_object(const Config& c, const CheckpointOptions& o, int rank, const py::Members& model) {
  std::map<std::string, std::string> settings{{"activation_fn", py::text("gelu")},
                                              {"decoder_embed_dim", py::integer(c.width)},
                                              {"decoder_layers", py::integer(c.layers)},
                                              {"decoder_attention_heads", py::integer(c.heads)},
                                              {"max_target_positions", py::integer(c.context)},
                                              {"moe_expert_count", py::integer(c.experts)},
                                              {"moe_normalize_gate_prob_before_dropping", py::boolean(c.normalise_before_drop)},
                                              {"distributed_rank", py::integer(rank)}};
  for (const auto& [key, value] : o.settings) {
    if (value.empty()) settings.erase(key);
    else settings[key] = value;
  }
  py::Members members(settings.begin(), settings.end());
  const py::Members training{{"distributed_rank", py::integer(rank)},
                             {"distributed_world_size", py::integer(std::max(1, o.ranks * o.replicas))}};
  const std::string cfg = py::dict({{"common", py::dict({{"seed", py::integer(o.seed)}})},
                                    {"distributed_training", py::dict(training)},
                                    {"model", py::dict(members)}});
  members.emplace_back("seed", py::integer(o.seed));
  const std::string history = "](" + py::dict({{"num_updates", py::integer(o.updates)}}) + "e";
  return py::dict({{"args", o.args ? py::space(members) : py::none()},
                   {"cfg", o.args ? py::none() : cfg},
                   {"model", o.args ? py::ordered(model) : py::dict(model)},
                   {"optimizer_history", history}});
}

// Writes X.pt, or X-shared.pt and X-rank-N.pt, into the folder; X is "x".
inline void write_checkpoint(const std::filesystem::path& folder, const Config& c, const WeightStore& store, CheckpointOptions o) {
  const int local = o.ranks ? c.experts / o.ranks : 0;
  std::vector<CheckpointFile> files(static_cast<size_t>(o.ranks) + 1, CheckpointFile(o.legacy));
  std::vector<py::Members> models(files.size());
  const float three = 3;
  if (o.version) {
    const Tensor version = make_tensor(const_cast<float*>(&three), DType::kF32, {1});
    models[0].emplace_back("decoder.version", files[0].tensor(version, 0));
  }
  models[0].emplace_back("decoder.embed_positions._float_tensor", files[0].tensor(make_tensor(const_cast<float*>(&three), DType::kF32, {1}), files[0].next()));
  for (const std::string& name : store.names()) {
    const Tensor& t = store.find(name)->tensor;
    std::string key = name == "lm_head.weight" ? "decoder.output_projection.weight" : "decoder." + name.substr(6);
    size_t file = 0;
    if (const size_t at = key.find("experts."); at != std::string::npos && o.ranks) {
      const int id = std::stoi(key.substr(at + 8));
      file = 1 + static_cast<size_t>(id / local);
      key = key.substr(0, at + 8) + std::to_string(id % local) + key.substr(key.find('.', at + 8));
    }
    const size_t storage = files[file].next();
    models[file].emplace_back(key, files[file].tensor(t, storage));
    if (key == "decoder.embed_tokens.weight" && c.tied_head && o.head != CheckpointOptions::kAbsent) {
      const size_t head = o.head == CheckpointOptions::kAlias ? storage : files[0].next();
      models[0].emplace_back("decoder.output_projection.weight", files[0].tensor(t, head));
    }
  }
  models[0].insert(models[0].end(), o.extra.begin(), o.extra.end());
  if (o.ranks == 0) return write_text(folder / "x.pt", files[0].bytes(checkpoint_object(c, o, 0, models[0])));
  write_text(folder / "x-shared.pt", files[0].bytes(checkpoint_object(c, o, 0, models[0])));
  for (int rank = 0; rank < o.ranks * o.replicas; ++rank) {
    const auto from = static_cast<size_t>(rank % o.ranks) + 1;
    write_text(folder / fmt::format("x-rank-{}.pt", rank), files[from].bytes(checkpoint_object(c, o, rank, models[from])));
  }
}

}  // namespace moiety::test
