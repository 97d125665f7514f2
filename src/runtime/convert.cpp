#include "runtime/convert.h"

#include <algorithm>
#include <cstring>

#include "core/error.h"
#include "core/hash.h"
#include "formats/gguf.h"
#include "formats/gguf_writer.h"
#include "formats/output_file.h"
#include "formats/safetensors.h"
#include "formats/safetensors_writer.h"
#include "runtime/fairseq_keys.h"

namespace moiety {

namespace fs = std::filesystem;

namespace {

constexpr const char* kMark = "moiety.converted_from";  // in each file: what tells it from one of another conversion
constexpr size_t kPiece = size_t{4} << 20;              // bytes between two polls of the cancel token

struct Shard {
  std::vector<std::string> names;
  uint64_t bytes = 0;
};

// Tensors in the order of the store, cut where a file would grow beyond the limit.
std::vector<Shard> cut(const WeightStore& store, uint64_t limit) {
  std::vector<Shard> shards(1);
  for (const std::string& name : store.names()) {
    const uint64_t bytes = store.find(name)->tensor.bytes();
    if (!shards.back().names.empty() && shards.back().bytes + bytes > limit) shards.emplace_back();
    shards.back().names.push_back(name);
    shards.back().bytes += bytes;
  }
  return shards;
}

std::span<const std::byte> bytes_of(const std::string& text) { return std::as_bytes(std::span(text)); }

class Converter {
 public:
  Converter(const ModelSource& source, const fs::path& output, const ConvertOptions& options)
      : source_(source), output_(output), options_(options), shards_(cut(source.store, options.shard_bytes)) {
    for (const Shard& shard : shards_) result_.bytes += shard.bytes;
    mark_ = mark();
  }

  ConvertResult to_folder() {
    fs::create_directories(output_, code_);
    if (code_) fail(Status::kIo, "{}: cannot create the folder: {}", printable(output_.string()), code_.message());
    std::vector<std::pair<std::string, std::string>> index;
    for (size_t i = 0; i < shards_.size(); ++i) {
      const std::string name = shards_.size() == 1 ? "model.safetensors"
                                                   : fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, shards_.size());
      for (const std::string& tensor : shards_[i].names) index.emplace_back(tensor, name);
      claim(output_ / name);
    }
    const fs::path index_file = output_ / "model.safetensors.index.json", config_file = output_ / "config.json";
    if (shards_.size() > 1) claim(index_file);
    for (const fs::path& file : options_.vocabulary) claim(output_ / file.filename());
    claim(config_file);
    refuse_strangers();

    for (size_t i = 0; i < shards_.size(); ++i) {
      keep_or(result_.files[i], shards_[i], [&](const fs::path& path) { return mark_in_safetensors(path); },
              [&](const fs::path& path) { write_safetensors(path, i); });
    }
    if (shards_.size() > 1) write_safetensors_index(index_file, index, result_.bytes);
    for (const fs::path& file : options_.vocabulary) write_small(output_ / file.filename(), MappedFile(file).bytes());
    // Last: a folder without it is no model yet.
    write_small(config_file, bytes_of(fairseq_config_json(source_.config, main_type())));
    return std::move(result_);
  }

  ConvertResult to_gguf() {
    if (shards_.size() > UINT16_MAX) fail(Status::kInvalidArgument, "{} files, limit {}", shards_.size(), UINT16_MAX);
    const fs::path folder = output_.has_parent_path() ? output_.parent_path() : fs::path(".");
    for (size_t i = 0; i < shards_.size(); ++i) {
      const auto number = static_cast<uint32_t>(i), count = static_cast<uint32_t>(shards_.size());
      claim(count == 1 ? output_ : folder / gguf_shard_name(output_.stem().string(), number, count));
    }
    for (size_t i = 0; i < shards_.size(); ++i) {
      keep_or(result_.files[i], shards_[i], [&](const fs::path& at) { return mark_in_gguf(at); },
              [&](const fs::path& at) { write_gguf(at, i); });
    }
    return std::move(result_);
  }

 private:
  // Everything that the files depend on: names, shapes and where the weights come from, sizes and times of the files.
  std::string mark() const {
    Hash hash;
    for (const std::string& name : source_.store.names()) {
      const Weight& weight = *source_.store.find(name);
      hash.add(std::string_view(name)), hash.add(std::string_view(weight.origin)), hash.add(weight.tensor.dtype);
      for (int i = 0; i < weight.tensor.rank; ++i) hash.add(weight.tensor.dim(i));
    }
    for (const auto& file : source_.store.files()) {
      hash.add(file->size());
      std::error_code code;
      hash.add(static_cast<int64_t>(fs::last_write_time(file->path(), code).time_since_epoch().count()));
    }
    hash.add(std::string_view(fairseq_config_json(source_.config, "")));
    for (const fs::path& file : options_.vocabulary) hash.add(MappedFile(file).bytes());
    hash.add(options_.shard_bytes);
    return fmt::format("{} {:016x}", source_.name, hash.value());
  }

  std::string main_type() const {
    const Weight* table = source_.store.find("model.embed_tokens.weight");
    const DType type = table ? table->tensor.dtype : DType::kF32;
    return type == DType::kF16 ? "float16" : type == DType::kBF16 ? "bfloat16" : "float32";
  }

  // A file that will be written: none of the model's. All are claimed before anything is.
  void claim(const fs::path& path) {
    for (const auto& file : source_.store.files()) {
      if (same_file(path, file->path()))
        fail(Status::kInvalidArgument, "{}: it is a file of the model, not overwritten", printable(path.string()));
    }
    for (const fs::path& file : options_.vocabulary) {
      if (same_file(path, file))
        fail(Status::kInvalidArgument, "{}: it is a file of the vocabulary, not overwritten", printable(path.string()));
    }
    result_.files.push_back(path);
  }

  // Weights that are not of this conversion: the folder would hold two models.
  void refuse_strangers() const {
    std::error_code code;
    for (const auto& entry : fs::directory_iterator(output_, code)) {
      const std::string name = entry.path().filename().string();
      const bool weights = name.ends_with(".safetensors") || name.ends_with(".safetensors.index.json");
      if (weights && std::ranges::find(result_.files, output_ / name) == result_.files.end())
        fail(Status::kInvalidArgument, "{}: a file of another model or conversion stands there; remove it or name another output",
             printable(entry.path().string()));
    }
  }

  template <class MarkIn, class Write>
  void keep_or(const fs::path& path, const Shard& shard, const MarkIn& mark_in, const Write& write) {
    if (fs::exists(path, code_)) {
      if (mark_in(path) != mark_)
        fail(Status::kInvalidArgument, "{}: a file of another model or conversion stands there; remove it or name another output",
             printable(path.string()));
      ++result_.kept;
      done_ += shard.bytes;
      return report();
    }
    write(path);
  }

  static std::string mark_in_safetensors(const fs::path& path) {
    const SafetensorsFile file = open_safetensors(path);
    const auto at = std::ranges::find(file.metadata, kMark, &std::pair<std::string, std::string>::first);
    return at == file.metadata.end() ? "" : at->second;
  }
  static std::string mark_in_gguf(const fs::path& path) {
    const MappedFile file(path);
    const std::string_view text(reinterpret_cast<const char*>(file.bytes().data()), std::min<size_t>(file.size(), 4096));
    const size_t at = text.find(kMark);  // the first key; the other shards may not be there yet
    const size_t value = at + std::string_view(kMark).size() + 4;
    uint64_t length = 0;
    if (at == std::string_view::npos || text.size() < value + 8) return "";
    std::memcpy(&length, text.data() + value, 8);
    return length <= text.size() - value - 8 ? std::string(text.substr(value + 8, length)) : "";
  }

  void write_safetensors(const fs::path& path, size_t number) {
    SafetensorsWriter writer(path);
    writer.set_metadata("format", "pt");
    writer.set_metadata(kMark, mark_);
    write_tensors(writer, shards_[number]);
  }

  void write_gguf(const fs::path& path, size_t number) {
    GgufWriter writer(path);
    writer.set_string(kMark, mark_);
    writer.set_string("general.architecture", kFairseqArchitecture);
    if (shards_.size() > 1)
      writer.set_split(static_cast<uint16_t>(number), static_cast<uint16_t>(shards_.size()), static_cast<int32_t>(source_.store.names().size()));
    if (number == 0) {
      writer.set_string("general.name", source_.name);
      const FairseqGgufKeys keys = fairseq_gguf_keys(source_.config);
      for (const auto& [key, value] : keys.counts) writer.set_u32(key, value);
      for (const auto& [key, value] : keys.numbers) writer.set_f32(key, value);
      for (const auto& [key, value] : keys.flags) writer.set_bool(key, value);
      if (!options_.vocabulary.empty()) writer.set_string("tokenizer.ggml.model", "fairseq");
      for (const fs::path& file : options_.vocabulary) {
        const MappedFile from(file);
        writer.set_string("tokenizer.fairseq." + file.filename().string(),
                          {reinterpret_cast<const char*>(from.bytes().data()), from.bytes().size()});
      }
    }
    write_tensors(writer, shards_[number]);
  }

  template <class Writer>
  void write_tensors(Writer& writer, const Shard& shard) {
    for (const std::string& name : shard.names) {
      const Tensor& t = source_.store.find(name)->tensor;
      writer.add_tensor(name, t.dtype, std::span(t.shape).first(static_cast<size_t>(t.rank)));
    }
    for (const std::string& name : shard.names) {
      const Tensor& t = source_.store.find(name)->tensor;
      for (std::span<const std::byte> rest(t.data, t.bytes()); !rest.empty();) {
        if (options_.cancel && options_.cancel->cancelled())
          fail(Status::kCancelled, "interrupted; the same command goes on with the file that is missing");
        const auto piece = rest.first(std::min(rest.size(), kPiece));
        writer.write(piece);
        rest = rest.subspan(piece.size());
        done_ += piece.size();
        report();
      }
    }
    writer.commit();
  }

  void write_small(const fs::path& path, std::span<const std::byte> bytes) {
    OutputFile out(path);
    out.write(bytes);
    out.commit();
  }

  void report() const {
    if (options_.progress) options_.progress(result_.bytes ? static_cast<double>(done_) / static_cast<double>(result_.bytes) : 1);
  }

  const ModelSource& source_;
  fs::path output_;
  const ConvertOptions& options_;
  std::vector<Shard> shards_;
  std::string mark_;
  ConvertResult result_;
  uint64_t done_ = 0;
  std::error_code code_;
};

}  // namespace

ConvertResult convert_model(const ModelSource& source, const fs::path& output, const ConvertOptions& options) {
  if (source.config.architecture != kFairseqArchitecture)
    fail(Status::kUnsupported, "{}: only fairseq models are converted, this is {}", source.name, printable(source.config.architecture));
  if (source.format == "panels") fail(Status::kUnsupported, "{}: it is packed; convert from what was packed", source.name);
  if (source.format == "gguf")
    fail(Status::kUnsupported, "{}: convert from the checkpoint or the folder, not from GGUF", source.name);
  if (!source.store.unsupported().empty())
    fail(Status::kUnsupported, "{}: the type {} is not supported", source.store.unsupported().front().origin, source.store.unsupported().front().type);
  if (options.shard_bytes == 0) fail(Status::kInvalidArgument, "shards of 0 bytes");
  Converter converter(source, output, options);
  return output.extension() == ".gguf" ? converter.to_gguf() : converter.to_folder();
}

}  // namespace moiety
