#include "runtime/fairseq_checkpoint.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <set>
#include <unordered_map>

#include "core/blocks.h"
#include "core/error.h"

namespace moiety {
namespace {

constexpr int64_t kMaxExperts = 65536;

// "decoder.layers.1.moe_layer.experts.0.fc1.weight": where the number stands.
struct ExpertKey {
  std::string_view before, after;  // "decoder.layers.1.moe_layer.experts.", ".fc1.weight"
  int64_t number = 0;
};

std::optional<ExpertKey> expert_key(std::string_view key) {
  constexpr std::string_view kMark = ".experts.";
  const size_t at = key.find(kMark);
  if (at == std::string_view::npos) return std::nullopt;
  ExpertKey out;
  out.before = key.substr(0, at + kMark.size());
  const char* begin = key.data() + out.before.size();
  const auto parsed = std::from_chars(begin, key.data() + key.size(), out.number);
  if (parsed.ec != std::errc() || out.number < 0 || out.number >= kMaxExperts) return std::nullopt;
  out.after = key.substr(static_cast<size_t>(parsed.ptr - key.data()));
  return out.after.starts_with('.') ? std::optional(out) : std::nullopt;
}

// Uninitialised memory that fairseq keeps for its type, and tables that it computes again.
bool is_ignored(std::string_view key) { return key.ends_with("._float_tensor") || key.ends_with("embed_positions.weights"); }

// What tells runs and steps apart, by name; values as text.
using Marks = std::map<std::string, std::string>;

void add_mark(Marks& marks, std::string name, PickleValue value) {
  if (const auto number = value.number()) marks.emplace(std::move(name), fmt::format("{}", *number));
  else if (const auto text = value.text()) marks.emplace(std::move(name), printable(*text));
}

Marks marks_of(PickleValue root) {
  constexpr size_t kMost = 1000;
  Marks marks;
  const PickleValue cfg = root.find("cfg"), args = root.find("args");
  const PickleValue model = cfg.find("model");
  for (const PickleValue section : {model ? model : args}) {
    section.members([&](PickleValue key, PickleValue value) {
      const std::string name(key.text().value_or(""));
      const bool own = name == "distributed_rank" || name == "device_id" || name == "local_rank" || name == "checkpoint_suffix";
      if (!own && name.starts_with("decoder_") && marks.size() < kMost) add_mark(marks, name, value);
      if (!own && name.starts_with("moe_") && marks.size() < kMost) add_mark(marks, name, value);
    });
  }
  add_mark(marks, "seed", cfg.has_members() ? cfg.find("common").find("seed") : args.find("seed"));
  add_mark(marks, "save_dir", cfg.has_members() ? cfg.find("checkpoint").find("save_dir") : args.find("save_dir"));
  const PickleValue history = root.find("optimizer_history");
  if (history.count() > 0) add_mark(marks, "num_updates", history.at(history.count() - 1).find("num_updates"));
  const PickleValue iterator = root.find("extra_state").find("train_iterator");
  add_mark(marks, "epoch", iterator.find("epoch"));
  add_mark(marks, "iterations_in_epoch", iterator.find("iterations_in_epoch"));
  return marks;
}

class Joiner {
 public:
  explicit Joiner(const FairseqFiles& files) : files_(files) {}

  FairseqCheckpoint join() {
    for (const FairseqPart& part : files_.shared) add_shared(open(part));
    count_experts();
    if (!files_.ranks.empty()) add_ranks();
    else if (gates_ > 0 && inside_.empty())
      fail(Status::kIo, "{}: the file is missing: the gates of {} choose among {} experts", missing(0), name(0), gates_);
    else if (!inside_.empty() && *inside_.rbegin() + 1 != gates_)
      fail(Status::kFormat, "{}: it has experts up to {}, its gates choose among {}", name(0), *inside_.rbegin(), gates_);
    out_.experts = static_cast<int>(gates_);
    if (const FairseqTensor* version = out_.find("decoder.version")) read_version(*version);
    return std::move(out_);
  }

 private:
  std::string name(size_t file) const { return out_.files[file]->name(); }
  std::string missing(int rank) const { return printable((files_.folder / files_.rank_name(rank)).string()); }

  size_t open(const FairseqPart& part) {
    out_.files.push_back(std::make_unique<TorchFile>(part.path));
    const TorchFile& file = *out_.files.back();
    if (!model(out_.files.size() - 1).has_members())
      fail(Status::kFormat, "{}: it has no dict 'model': no fairseq checkpoint", file.name());
    refuse_flat(file);
    return out_.files.size() - 1;
  }
  PickleValue model(size_t file) const { return out_.files[file]->root().find("model"); }

  // Fully sharded training leaves pieces of flattened parameters where they were not gathered for saving.
  static void refuse_flat(const TorchFile& file) {
    file.root().find("model").members([&](PickleValue key, PickleValue) {
      if (key.text().value_or("").find("flat_param_") == std::string_view::npos) return;
      fail(Status::kUnsupported,
           "{}: key '{}' is a flat piece of a fully sharded run (FSDP); consolidate the checkpoint first, with fairseq's "
           "scripts/consolidate_fsdp_shards.py, and load its result",
           file.name(), printable(*key.text()));
    });
  }

  template <class Visit>
  void each_tensor(size_t file, const Visit& visit) {
    model(file).members([&](PickleValue key, PickleValue value) {
      if (!key.text()) fail(Status::kFormat, "{}: a key of 'model' is no string", key.where());
      if (!is_ignored(*key.text())) visit(*key.text(), out_.files[file]->tensor(value, *key.text()));
    });
  }

  // Shards may repeat a parameter, in one shape.
  void add(std::string name, TorchTensor tensor, size_t file) {
    const auto [at, fresh] = names_.try_emplace(name, out_.tensors.size());
    if (fresh) return out_.tensors.push_back({std::move(name), std::move(tensor), file});
    const FairseqTensor& before = out_.tensors[at->second];
    if (before.tensor.shape != tensor.shape || before.tensor.type_name != tensor.type_name)
      fail(Status::kFormat, "{}: it stands in {} too, in another shape or type", tensor.origin, this->name(before.file));
  }

  void add_shared(size_t file) {
    each_tensor(file, [&](std::string_view key, TorchTensor tensor) {
      if (const auto expert = expert_key(key)) inside_.insert(expert->number);
      add(std::string(key), std::move(tensor), file);
    });
    if (file > 0) compare_runs(file);
  }

  void count_experts() {
    for (const FairseqTensor& t : out_.tensors) {
      if (!t.name.ends_with(".moe_layer.gate.wg.weight")) continue;
      const int64_t rows = t.tensor.shape.empty() ? 0 : t.tensor.shape[0];
      if (rows < 1 || rows > kMaxExperts || (gates_ != 0 && rows != gates_))
        fail(Status::kFormat, "{}: it has {} rows, expected {}", t.tensor.origin, rows,
             gates_ ? std::to_string(gates_) : fmt::format("1 to {}", kMaxExperts));
      gates_ = rows;
    }
  }

  // Experts of a rank file, by local number; the file's own keys say how many.
  void add_ranks() {
    if (gates_ == 0) fail(Status::kFormat, "{}: it has no gate, but there are rank files", name(0));
    if (!inside_.empty()) fail(Status::kFormat, "{}: it holds experts, and there are rank files", name(0));
    const size_t first = out_.files.size();
    std::vector<size_t> file_of;
    for (const FairseqPart& part : files_.ranks) file_of.push_back(open(part));
    local_ = locals_in(first);
    const int64_t held = gates_ / local_, ranks = files_.ranks.back().rank + 1;
    if (gates_ % local_ != 0)
      fail(Status::kFormat, "{}: {} experts, no part of the {} that the gates choose among", name(first), local_, gates_);
    if (ranks < held || (local_ == 1 && ranks % held != 0))
      fail(Status::kIo, "{}: the file is missing: {} experts, {} in a file", missing(static_cast<int>(ranks)), gates_, local_);
    if (ranks > held && local_ > 1)
      fail(Status::kFormat, "{}: there are {} rank files of {} experts, the gates choose among {}",
           name(file_of.back()), ranks, local_, gates_);
    for (size_t i = 0; i < files_.ranks.size(); ++i) add_rank(files_.ranks[i].rank, file_of[i], held);
    check_ranks(file_of);
  }

  int64_t locals_in(size_t file) const {
    int64_t highest = -1;
    model(file).members([&](PickleValue key, PickleValue) {
      if (const auto expert = expert_key(key.text().value_or(""))) highest = std::max(highest, expert->number);
    });
    if (highest < 0) fail(Status::kFormat, "{}: it has no expert", name(file));
    return highest + 1;
  }

  void add_rank(int rank, size_t file, int64_t held) {
    if (const int64_t own = locals_in(file); own != local_)
      fail(Status::kFormat, "{}: it holds {} experts of a layer, {} holds {}", name(file), own,
           printable(files_.ranks.front().path.filename().string()), local_);
    compare_runs(file);
    std::vector<uint32_t> content;
    each_tensor(file, [&](std::string_view key, TorchTensor tensor) {
      const auto expert = expert_key(key);
      if (!expert) {
        if (names_.contains(std::string(key))) return;
        fail(Status::kFormat, "{}: no expert's, but it stands in a rank file", tensor.origin);
      }
      if (tensor.crc) content.push_back(*tensor.crc);
      if (rank >= held) return;  // a replica
      add(fmt::format("{}{}{}", expert->before, rank * local_ + expert->number, expert->after), std::move(tensor), file);
    });
    if (rank >= held || content.empty()) return;
    const auto [at, fresh] = contents_.try_emplace(std::move(content), std::pair{rank, file});
    if (!fresh && at->second.first != rank)
      fail(Status::kFormat, "{}: it holds the same experts as {}: one file stands there twice, another is missing",
           name(file), name(at->second.second));
  }

  // Of two runs, or of two steps of one run.
  void compare_runs(size_t file) {
    if (marks_.empty()) marks_ = marks_of(out_.files[0]->root());
    for (const auto& [key, value] : marks_of(out_.files[file]->root())) {
      const auto same = marks_.find(key);
      if (same == marks_.end() || same->second == value) continue;
      fail(Status::kFormat, "{}: it is of another run than {}: {} is {}, there {}", name(file), name(0), key, value,
           same->second);
    }
  }

  // Files say which rank wrote them, unless they were made by another tool: then all say the same, or another number of
  // ranks.
  void check_ranks(const std::vector<size_t>& file_of) const {
    std::set<int64_t> said;
    std::vector<int64_t> own;
    for (size_t file : file_of) {
      const PickleValue training = out_.files[file]->root().find("cfg").find("distributed_training");
      const auto rank = training.find("distributed_rank").integer();
      const auto world = training.find("distributed_world_size").integer();
      if (!rank || world != files_.ranks.back().rank + 1) return;
      said.insert(*rank), own.push_back(*rank);
    }
    for (size_t i = 0; i < own.size() && said.size() > 1; ++i) {
      if (own[i] != files_.ranks[i].rank)
        fail(Status::kFormat, "{}: rank {} wrote it, its name says {}", name(file_of[i]), own[i], files_.ranks[i].rank);
    }
  }

  void read_version(const FairseqTensor& version) {
    const TorchFile& file = *out_.files[version.file];
    if (version.tensor.elements() != 1) fail(Status::kFormat, "{}: expected one value", version.tensor.origin);
    float value = 0;
    const Tensor view = file.view(version.tensor);
    if (view.dtype == DType::kI32) fail(Status::kFormat, "{}: expected a float", version.tensor.origin);
    decode(view.dtype, view.data, &value, 1);
    out_.version = static_cast<double>(value);
    std::erase_if(out_.tensors, [](const FairseqTensor& t) { return t.name == "decoder.version"; });
  }

  const FairseqFiles& files_;
  FairseqCheckpoint out_;
  std::unordered_map<std::string, size_t> names_;
  std::set<int64_t> inside_;  // experts that the shared files hold
  int64_t gates_ = 0, local_ = 0;
  Marks marks_;
  std::map<std::vector<uint32_t>, std::pair<int, size_t>> contents_;  // CRCs of the experts -> rank, file
};

}  // namespace

const FairseqTensor* FairseqCheckpoint::find(std::string_view name) const {
  const auto at = std::ranges::find(tensors, name, &FairseqTensor::name);
  return at == tensors.end() ? nullptr : &*at;
}

PickleValue FairseqCheckpoint::setting(std::string_view name) const {
  const PickleValue root = files.front()->root();
  const PickleValue cfg = root.find("cfg");
  for (const PickleValue section : {cfg.find("model"), cfg.find("task"), root.find("args")}) {
    if (const PickleValue value = section.find(name); value && !value.is_none()) return value;
  }
  return {};
}

FairseqCheckpoint read_fairseq_checkpoint(const FairseqFiles& files) { return Joiner(files).join(); }

}  // namespace moiety
