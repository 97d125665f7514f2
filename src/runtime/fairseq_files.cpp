#include "runtime/fairseq_files.h"

#include <algorithm>
#include <set>
#include <string_view>
#include <tuple>

#include "core/error.h"

namespace moiety {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view kSuffix = ".pt", kShared = "-shared", kRank = "-rank-", kShard = "-shard";

struct Name {
  std::string stem;
  bool shared = false;
  int rank = -1, shard = -1;
};

// Cuts "<mark><digits>" off the end; -1 if it is not there.
int cut_number(std::string& name, std::string_view mark) {
  const size_t at = name.find_last_not_of("0123456789");
  if (at == std::string::npos) return -1;
  const std::string digits = name.substr(at + 1);
  if (digits.empty() || digits.size() > 6 || !name.substr(0, at + 1).ends_with(mark)) return -1;
  name.resize(at + 1 - mark.size());
  return std::stoi(digits);
}

std::optional<Name> parse(const fs::path& path) {
  Name out{path.filename().string()};
  if (!out.stem.ends_with(kSuffix)) return std::nullopt;
  out.stem.resize(out.stem.size() - kSuffix.size());
  out.shard = cut_number(out.stem, kShard);
  out.rank = cut_number(out.stem, kRank);
  if (out.rank < 0 && out.stem.ends_with(kShared)) {
    out.shared = true;
    out.stem.resize(out.stem.size() - kShared.size());
  }
  if (out.stem.empty()) return std::nullopt;
  return out;
}

bool is_alone(const Name& name) { return !name.shared && name.rank < 0 && name.shard < 0; }

// One file or one set of shards for each rank; parts must be sorted.
void check_twice(const std::vector<FairseqPart>& parts) {
  for (size_t i = 1; i < parts.size(); ++i) {
    const FairseqPart &a = parts[i - 1], &b = parts[i];
    if (a.rank != b.rank || (a.shard != b.shard && a.shard >= 0)) continue;
    fail(Status::kInvalidArgument, "{} and {} are the same part of the checkpoint, which stands there twice",
         printable(a.path.string()), printable(b.path.filename().string()));
  }
}

void check_gaps(const FairseqFiles& files) {
  int next = 0;
  for (const FairseqPart& part : files.ranks) {
    if (part.rank > next)
      fail(Status::kIo, "{}: the file is missing, {} is there", printable((files.folder / files.rank_name(next)).string()),
           printable(part.path.filename().string()));
    next = part.rank + 1;
  }
  for (size_t i = 0; i < files.shared.size(); ++i) {
    const int shard = files.shared[i].shard;
    if (shard < 0 || shard == static_cast<int>(i)) continue;
    fail(Status::kIo, "{}: shard {} of the file is missing", printable(files.shared[i].path.string()), i);
  }
}

}  // namespace

bool is_fairseq_path(const fs::path& path) { return parse(path).has_value(); }

FairseqFiles find_fairseq_files(const fs::path& path) {
  std::error_code code;
  const auto named = parse(path);
  if (!named) fail(Status::kInvalidArgument, "{}: expected a .pt file", printable(path.string()));
  FairseqFiles out;
  out.folder = path.has_parent_path() ? path.parent_path() : fs::path(".");
  out.stem = named->stem;
  if (is_alone(*named) && fs::exists(path, code)) {
    out.shared.push_back({path});
    return out;
  }
  for (const auto& entry : fs::directory_iterator(out.folder, code)) {
    const auto name = parse(entry.path());
    if (!name || name->stem != out.stem || is_alone(*name)) continue;
    FairseqPart part{entry.path(), name->rank, name->shard};
    (name->rank < 0 ? out.shared : out.ranks).push_back(std::move(part));
  }
  const auto order = [](const FairseqPart& a, const FairseqPart& b) {
    return std::tie(a.rank, a.shard, a.path) < std::tie(b.rank, b.shard, b.path);
  };
  std::sort(out.shared.begin(), out.shared.end(), order);
  std::sort(out.ranks.begin(), out.ranks.end(), order);
  const std::string shared = out.stem + std::string(kShared) + std::string(kSuffix);
  if (out.shared.empty() && out.ranks.empty())
    fail(Status::kIo, "{}: no such file, and no {} beside it", printable(path.string()), printable(shared));
  if (out.shared.empty())
    fail(Status::kIo, "{}: the file is missing, {} is there", printable((out.folder / shared).string()),
         printable(out.ranks.front().path.filename().string()));
  check_twice(out.shared);
  check_twice(out.ranks);
  check_gaps(out);
  return out;
}

fs::path fairseq_checkpoint_in(const fs::path& folder) {
  std::error_code code;
  std::set<std::string> stems;
  for (const auto& entry : fs::directory_iterator(folder, code)) {
    if (const auto name = parse(entry.path())) stems.insert(name->stem);
  }
  if (stems.empty()) return {};
  if (stems.size() > 1)
    fail(Status::kInvalidArgument, "{}: {} checkpoints in one folder, name one of them: {}", printable(folder.string()),
         stems.size(), printable(*stems.begin() + std::string(kSuffix)));
  return folder / (*stems.begin() + std::string(kSuffix));
}

}  // namespace moiety
