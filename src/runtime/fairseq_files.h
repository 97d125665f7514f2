// The files of a fairseq checkpoint. What a user calls X.pt may be that file, or X-shared.pt with X-rank-N.pt (a
// Mixture-of-Experts model), each of them perhaps in several files X-...-shardI.pt; X.pt then does not exist itself.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace moiety {

struct FairseqPart {
  std::filesystem::path path;
  int rank = -1, shard = -1;  // -1: none
};

struct FairseqFiles {
  std::filesystem::path folder;
  std::string stem;                  // "checkpoint_last"
  std::vector<FairseqPart> shared;   // X.pt or X-shared.pt, or their shards, ascending; never empty
  std::vector<FairseqPart> ranks;    // ascending by rank, then shard; ranks 0 to the highest are all there

  // "X-rank-3.pt", for messages.
  std::string rank_name(int rank) const { return stem + "-rank-" + std::to_string(rank) + ".pt"; }
};

// True for X.pt, whether it is there or not.
bool is_fairseq_path(const std::filesystem::path& path);

// Finds the files that `path` (X.pt or any of them) belongs to. Throws Error kIo naming what is missing, kInvalidArgument
// if a part stands there twice (rank-1 and rank-01, whole and in shards).
FairseqFiles find_fairseq_files(const std::filesystem::path& path);

// The checkpoint of a folder: its only one. Empty if there is none; throws Error kInvalidArgument if there are several.
std::filesystem::path fairseq_checkpoint_in(const std::filesystem::path& folder);

}  // namespace moiety
