// What fairseq's own code computed, against us: gate cases and checkpoints of a folder as its README.md describes it.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include <fmt/format.h>

namespace moiety::test {

struct Outcome {
  int checked = 0;                 // comparisons of a case on a backend
  int information = 0;             // cases that need not match
  std::vector<std::string> notes;  // what was skipped, and why
  std::vector<std::string> wrong;
  std::map<std::string, int> rows;  // of checkpoints: what there was to check, by name

  // The first difference of a pair of arrays that is greater than absolute + relative * |want|, NaN included.
  template <class Got, class Want>
  void compare(const std::string& what, const Got& got, const Want& want, double absolute, double relative = 0) {
    if (got.size() != want.size()) return report(what, fmt::format("{} values, expected {}", got.size(), want.size()));
    for (size_t i = 0; i < want.size(); ++i) {
      const double a = static_cast<double>(got[i]), b = static_cast<double>(want[i]);
      const double off = a > b ? a - b : b - a;
      if (!(off <= absolute + relative * (b < 0 ? -b : b)))
        return report(what, fmt::format("element {} is {:.9g}, expected {:.9g}", i, a, b));
    }
  }
  void report(const std::string& what, const std::string& why) { wrong.push_back(what + ": " + why); }
};

// gate/cases.json: the route op, on the reference and every SIMD level.
Outcome check_gate_cases(const std::filesystem::path& data);

// ckpt/*: expect.npz and score.npz.
Outcome check_checkpoints(const std::filesystem::path& data);

}  // namespace moiety::test
