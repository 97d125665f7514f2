// TuneFile: what was measured (Tuning, graph/backend.h), kept for the next process. One file for all CPUs and targets:
//   {"moiety": "0.1.0, kernels 3", "rows": {"AMD EPYC 9654 96-Core Processor, avx512_bf16, q4_0 x int8": 4, ...}}
// Nothing in it is trusted, and nothing in it changes a result. A file of another version of moiety or a broken one is
// ignored, which a warning says, and replaced. Processes may use one file at the same time: each sees a whole one, and
// what one of them loses is measured again.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "graph/backend.h"

namespace moiety {

// Whose measurements the file has. The number is raised when kernels change so much that they should be measured anew.
inline constexpr std::string_view kTunedWith = MOIETY_VERSION ", kernels 3";

class TuneFile {
 public:
  // Reads the file; one that is not there is empty. cpu: CpuInfo::model.
  TuneFile(std::filesystem::path path, std::string_view cpu, std::vector<std::string>& warnings);

  Tuning get(std::string_view target) const;  // of this CPU
  void put(std::string_view target, const Tuning& tuning);
  // Writes what put() changed, if it did, beside what other processes put there meanwhile. Missing folders are made.
  // What cannot be written is not kept; that is no error.
  void save() const;

 private:
  using Entries = std::map<std::string, int, std::less<>>;
  Entries read() const;  // throws Error
  std::string prefix(std::string_view target) const;

  std::filesystem::path path_;
  std::string cpu_;
  Entries entries_, changed_;
};

}  // namespace moiety
