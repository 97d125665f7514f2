#include "runtime/pack.h"

#include <algorithm>
#include <cstring>
#include <optional>

#include "core/error.h"
#include "core/hash.h"
#include "core/panels.h"
#include "core/threads.h"
#include "formats/gguf_parse.h"
#include "formats/gguf_writer.h"
#include "runtime/fairseq_keys.h"
#include "runtime/fairseq_model.h"
#include "runtime/load.h"
#include "runtime/pack_plan.h"

namespace moiety {

namespace fs = std::filesystem;

namespace {

constexpr const char *kMark = "moiety.packed_from", *kFiles = "moiety.packed_files", *kChecksums = "moiety.checksums";
constexpr const char *kName = "panels", *kConfig = "config.json";
constexpr uint32_t kPage = 4096;
constexpr size_t kPiece = size_t{4} << 20;  // bytes between two polls of the cancel token

// A folder's files beside the weights, in the order in which they are copied.
constexpr const char* kBeside[] = {"generation_config.json",
                                   "tokenizer.json",
                                   "tokenizer_config.json",
                                   "chat_template.jinja",
                                   "dict.txt",
                                   "encoder.json",
                                   "vocab.bpe",
                                   "vocab.json",
                                   "merges.txt",
                                   "added_tokens.json",
                                   "special_tokens_map.json"};

struct Shard {
  std::vector<const PackItem*> items;
  uint64_t bytes = 0;
};

std::vector<Shard> cut(const std::vector<PackItem>& items, uint64_t limit) {
  std::vector<Shard> shards(1);
  for (const PackItem& item : items) {
    if (!shards.back().items.empty() && shards.back().bytes + item.bytes() > limit) shards.emplace_back();
    shards.back().items.push_back(&item);
    shards.back().bytes += item.bytes();
  }
  return shards;
}

// Bytes that are hashed as one; whole panels.
size_t piece_of(const Tensor& t) {
  if (t.layout == Layout::kRows) return kPiece;
  const auto panel = static_cast<size_t>(t.row_bytes * kPanelRows);
  return std::max<size_t>(1, kPiece / panel) * panel;
}

uint64_t hash_of(std::span<const std::byte> bytes) {
  Hash hash;
  hash.add(bytes);
  return hash.value();
}
uint64_t hash_of(const fs::path& file) { return hash_of(MappedFile(file).bytes()); }

// A file beside the weights: copied, or written from text.
struct Beside {
  std::string name;
  std::string text;  // used if `from` is empty
  fs::path from;

  uint64_t hash() const { return from.empty() ? hash_of(std::as_bytes(std::span(text))) : hash_of(from); }
};

class Packer {
 public:
  Packer(const fs::path& model, const fs::path& output, const PackOptions& options)
      : location_(find_model(model)),
        output_(output),
        options_(options),
        source_(read_model(model, options.vocabulary)) {
    if (options.shard_bytes == 0) fail(Status::kInvalidArgument, "shards of 0 bytes");
    if (location_.kind == ModelKind::kGguf) {
      gguf_ = open_gguf(location_.file);
      if (is_packed(*gguf_)) fail(Status::kInvalidArgument, "{}: the model is packed already", source_.name);
    } else if (location_.kind == ModelKind::kHuggingFace && !packed_weights_in(location_.file).empty()) {
      fail(Status::kInvalidArgument, "{}: the model is packed already", source_.name);
    }
    for (const UnsupportedWeight& weight : source_.store.unsupported())
      result_.left_out.push_back(fmt::format("{} ({})", printable(weight.name), printable(weight.type)));
    items_ = packed_items(source_);
    shards_ = cut(items_, options.shard_bytes);
    if (shards_.size() > UINT16_MAX) fail(Status::kInvalidArgument, "{} files, limit {}", shards_.size(), UINT16_MAX);
    for (const Shard& shard : shards_) total_ += shard.bytes;
    for (const PackItem& item : items_) {
      auto& part = item.to.layout == Layout::kPanels ? result_.packed : result_.plain;
      part[dtype_info(item.to.dtype).name] += item.bytes();
    }
    find_beside();
    mark_ = mark();
  }

  PackResult run() {
    std::error_code code;
    fs::create_directories(output_, code);
    if (code) fail(Status::kIo, "{}: cannot create the folder: {}", printable(output_.string()), code.message());
    for (size_t i = 0; i < shards_.size(); ++i) claim(output_ / shard_name(i));
    for (const Beside& file : beside_) claim(output_ / file.name);
    refuse_strangers();
    threads_ = make_threads("tbb", options_.threads);
    for (size_t i = 0; i < shards_.size(); ++i) {
      const fs::path& path = result_.files[i];
      if (!fs::exists(path, code)) {
        write_shard(path, i);
        continue;
      }
      const GgufShard there = parse_gguf(std::make_shared<MappedFile>(path));
      if (there.metadata.get_string(kMark) != mark_) refuse_stranger(path);
      ++result_.kept;
      done_ += shards_[i].bytes;
      report();
    }
    for (const Beside& file : beside_) {  // config.json last: a folder without it is no model yet
      OutputFile out(output_ / file.name);
      if (file.from.empty())
        out.write(file.text.data(), file.text.size());
      else
        out.write(MappedFile(file.from).bytes());
      out.commit();
    }
    return std::move(result_);
  }

 private:
  void find_beside() {
    std::error_code code;
    if (location_.kind == ModelKind::kGguf) return;
    if (location_.kind == ModelKind::kFairseq) {
      for (const fs::path& file : find_fairseq_vocabulary(location_.file, options_.vocabulary))
        beside_.push_back({file.filename().string(), {}, file});
      const Weight* table = source_.store.find("model.embed_tokens.weight");
      const DType type = table ? table->tensor.dtype : DType::kF32;
      const char* name = type == DType::kF16 ? "float16" : type == DType::kBF16 ? "bfloat16" : "float32";
      beside_.push_back({kConfig, fairseq_config_json(source_.config, name), {}});
      return;
    }
    for (const char* name : kBeside) {
      if (fs::exists(location_.file / name, code)) beside_.push_back({name, {}, location_.file / name});
    }
    beside_.push_back({kConfig, {}, location_.file / kConfig});
  }

  // Everything that the files depend on: names, forms and where the weights come from, sizes and times of the files.
  std::string mark() const {
    Hash hash;
    for (const std::string& name : source_.store.names()) hash.add(std::string_view(source_.store.find(name)->origin));
    for (const PackItem& item : items_) {
      hash.add(std::string_view(item.name)), hash.add(item.to.dtype, item.to.layout, item.bytes());
      for (int i = 0; i < item.to.rank; ++i) hash.add(item.to.dim(i));
    }
    for (const auto& file : source_.store.files()) {
      std::error_code code;
      hash.add(file->size());
      hash.add(static_cast<int64_t>(fs::last_write_time(file->path(), code).time_since_epoch().count()));
    }
    for (const Beside& file : beside_) hash.add(std::string_view(file.name)), hash.add(file.hash());
    hash.add(options_.shard_bytes);
    return fmt::format("{} {:016x}", source_.name, hash.value());
  }

  std::string shard_name(size_t i) const {
    if (shards_.size() == 1) return fmt::format("{}.gguf", kName);
    return gguf_shard_name(kName, static_cast<uint32_t>(i), static_cast<uint32_t>(shards_.size()));
  }

  // A file that will be written: none of the model's. All are claimed before anything is.
  void claim(const fs::path& path) {
    const auto refuse_if = [&](const fs::path& own) {
      if (same_file(path, own))
        fail(Status::kInvalidArgument, "{}: it is a file of the model, not overwritten", printable(path.string()));
    };
    for (const auto& file : source_.store.files()) refuse_if(file->path());
    for (const Beside& file : beside_) refuse_if(file.from);
    result_.files.push_back(path);
  }

  [[noreturn]] static void refuse_stranger(const fs::path& path) {
    fail(Status::kInvalidArgument, "{}: a file of another model stands there; remove it or name another output",
         printable(path.string()));
  }
  // Weights that are not of this model: the folder would hold two.
  void refuse_strangers() const {
    std::error_code code;
    for (const auto& entry : fs::directory_iterator(output_, code)) {
      const std::string name = entry.path().filename().string();
      const bool weights =
          name.ends_with(".gguf") || name.ends_with(".safetensors") || name.ends_with(".safetensors.index.json");
      if (weights && std::ranges::find(result_.files, output_ / name) == result_.files.end())
        refuse_stranger(entry.path());
    }
  }

  void write_shard(const fs::path& path, size_t number) {
    const Shard& shard = shards_[number];
    GgufWriter writer(path);
    writer.allow_panels();
    writer.set_alignment(kPage);
    writer.set_string(kMark, mark_);
    if (shards_.size() > 1)
      writer.set_split(static_cast<uint16_t>(number), static_cast<uint16_t>(shards_.size()),
                       static_cast<int32_t>(items_.size() + shards_.size()));
    if (number == 0) write_keys(writer);
    for (const PackItem* item : shard.items)
      writer.add_tensor(item->name, item->to.dtype, std::span(item->to.shape).first(static_cast<size_t>(item->to.rank)),
                        item->to.layout);
    const int64_t words = 2 * (static_cast<int64_t>(shard.items.size()) + 1);
    const std::string checksums = shards_.size() == 1 ? kChecksums : fmt::format("{}.{}", kChecksums, number);
    writer.add_tensor(checksums, DType::kI32, std::span(&words, 1));
    std::vector<uint64_t> hashes{0};
    for (const PackItem* item : shard.items) hashes.push_back(write_item(writer, *item));
    hashes[0] = writer.header_hash();
    writer.write(std::as_bytes(std::span(hashes)));
    writer.commit();
  }

  void write_keys(GgufWriter& writer) const {
    std::vector<std::string> lines;
    for (const Beside& file : beside_) lines.push_back(fmt::format("{:016x} {}", file.hash(), file.name));
    const std::vector<std::string_view> views(lines.begin(), lines.end());
    writer.set_strings(kFiles, views);
    if (!gguf_) return;
    for (const GgufValue& value : gguf_->metadata.values()) {
      if (!value.key.starts_with("split.") && !value.key.starts_with("moiety.packed_") &&
          value.key != "general.alignment")
        writer.copy(value);
    }
  }

  // Returns the hash of the tensor's bytes in the file.
  uint64_t write_item(GgufWriter& writer, const PackItem& item) {
    Hash hash;
    if (item.to.layout == Layout::kRows) {
      for (std::span<const std::byte> rest(item.from.data, item.from.bytes()); !rest.empty();) {
        const auto piece = rest.first(std::min(rest.size(), piece_of(item.to)));
        write_piece(writer, hash, piece);
        rest = rest.subspan(piece.size());
      }
      return hash.value();
    }
    const auto panel = static_cast<size_t>(item.to.row_bytes * kPanelRows);
    const auto panels = static_cast<int64_t>(item.bytes() / panel),
               at_once = static_cast<int64_t>(piece_of(item.to) / panel);
    for (int64_t first = 0; first < panels; first += at_once) {
      const int64_t count = std::min(at_once, panels - first);
      buffer_.resize(static_cast<size_t>(count) * panel);
      threads_->run(count, [&](int64_t i, int) {
        pack_panel(item.from, (first + i) * kPanelRows, buffer_.data() + static_cast<size_t>(i) * panel);
      });
      write_piece(writer, hash, buffer_);
    }
    return hash.value();
  }

  void write_piece(GgufWriter& writer, Hash& hash, std::span<const std::byte> piece) {
    if (options_.cancel && options_.cancel->cancelled())
      fail(Status::kCancelled, "interrupted; the same command goes on with the file that is missing");
    hash.add(piece);
    writer.write(piece);
    done_ += piece.size();
    report();
  }

  void report() const {
    if (options_.progress) options_.progress(total_ ? static_cast<double>(done_) / static_cast<double>(total_) : 1);
  }

  ModelLocation location_;
  fs::path output_;
  const PackOptions& options_;
  ModelSource source_;
  std::optional<GgufFile> gguf_;  // the source's keys, if it has any
  std::vector<PackItem> items_;
  std::vector<Shard> shards_;
  std::vector<Beside> beside_;
  std::string mark_;
  PackResult result_;
  std::unique_ptr<Threads> threads_;
  std::vector<std::byte> buffer_;
  uint64_t total_ = 0, done_ = 0;
};

// Compares what a packed model's files hold with their hashes.
class Verifier {
 public:
  Verifier(const fs::path& path, const std::function<void(double)>& progress, const CancelToken* cancel)
      : file_(open_gguf(path)), folder_(path.parent_path()), progress_(progress), cancel_(cancel) {
    if (!is_packed(file_))
      fail(Status::kInvalidArgument, "{}: the model is not packed, it has no checksums", printable(path.string()));
    for (const auto& shard : file_.shards) total_ += shard->size();
  }

  uint64_t run() {
    for (uint32_t i = 0; i < file_.shards.size(); ++i) check_shard(i);
    for (std::string_view line : file_.metadata.get_strings(kFiles).value_or(std::vector<std::string_view>{})) {
      const std::string name(line.substr(std::min<size_t>(line.size(), 17)));
      if (name.empty() || name.find('/') != std::string::npos)
        file_.metadata.reject(kFiles, "expected a hash and a file's name");
      if (fmt::format("{:016x} {}", hash_of(folder_ / name), name) != line)
        fail(Status::kFormat, "{}: damaged, its hash is not the one that {} was packed with", printable(name),
             file_.shards[0]->name());
    }
    return done_;
  }

 private:
  void check_shard(uint32_t number) {
    std::vector<const GgufTensor*> tensors;
    for (const GgufTensor& tensor : file_.tensors) {
      if (tensor.shard == number) tensors.push_back(&tensor);
    }
    const std::string name = printable(file_.shards[number]->name());
    const GgufTensor* sums = tensors.empty() ? nullptr : tensors.back();
    if (!sums || is_packed_weight(sums->name) || sums->dtype != DType::kI32 || sums->bytes != 8 * tensors.size())
      fail(Status::kFormat, "{}: its last tensor is not {} for {} tensors", name, kChecksums, tensors.size());
    const std::byte* at = file_.view(*sums).data;
    const auto expected = [&](size_t i) {
      uint64_t value;
      std::memcpy(&value, at + 8 * i, 8);
      return value;
    };
    uint64_t header = UINT64_MAX;
    for (const GgufTensor* tensor : tensors) header = std::min(header, tensor->offset);
    if (hash_of(file_.shards[number]->bytes().first(header)) != expected(0))
      fail(Status::kFormat, "{}: its header is damaged", name);
    done_ += header;
    for (size_t i = 0; i + 1 < tensors.size(); ++i) {
      const Tensor view = file_.view(*tensors[i]);
      Hash hash;
      for (std::span<const std::byte> rest(view.data, view.bytes()); !rest.empty();) {
        if (cancel_ && cancel_->cancelled()) fail(Status::kCancelled, "interrupted");
        const auto piece = rest.first(std::min(rest.size(), piece_of(view)));
        hash.add(piece);
        rest = rest.subspan(piece.size());
        done_ += piece.size();
        if (progress_) progress_(static_cast<double>(done_) / static_cast<double>(total_));
      }
      if (hash.value() != expected(i + 1)) fail(Status::kFormat, "{}: its bytes are damaged", file_.where(*tensors[i]));
    }
  }

  GgufFile file_;
  fs::path folder_;
  const std::function<void(double)>& progress_;
  const CancelToken* cancel_;
  uint64_t total_ = 0, done_ = 0;
};

}  // namespace

PackResult pack_model(const fs::path& model, const fs::path& output, const PackOptions& options) {
  return Packer(model, output, options).run();
}

fs::path packed_weights_in(const fs::path& folder) {
  std::error_code code;
  const fs::path single = folder / fmt::format("{}.gguf", kName), first = fmt::format("{}-00001-of-", kName);
  if (fs::exists(single, code)) return single;
  for (const auto& entry : fs::directory_iterator(folder, code)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(first.string()) && name.ends_with(".gguf")) return entry.path();
  }
  return {};
}

uint64_t verify_packed(const fs::path& model, const std::function<void(double)>& progress, const CancelToken* cancel) {
  const ModelLocation location = find_model(model);
  fs::path file = location.file;
  if (location.kind == ModelKind::kHuggingFace) file = packed_weights_in(location.file);
  if (file.empty() || location.kind == ModelKind::kFairseq)
    fail(Status::kInvalidArgument, "{}: the model is not packed, it has no checksums", printable(model.string()));
  return Verifier(file, progress, cancel).run();
}

bool is_packed(const GgufFile& file) { return file.metadata.contains(kMark); }
bool is_packed_weight(std::string_view name) { return !name.starts_with(kChecksums); }

}  // namespace moiety
