// What `moiety trace` says of a trace: text for a terminal, JSON, CSV, a picture.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "eval/usage.h"

namespace cli {

using Json = nlohmann::ordered_json;

class TraceReport {
 public:
  // resident: GiB of experts that caches keep; empty: a tenth, a quarter, a half and three quarters of all experts.
  TraceReport(const moiety::eval::Trace& trace, const std::vector<double>& resident);

  std::string text() const;
  std::string csv() const;
  std::string svg(const std::string& title) const;
  Json json(const std::string& model) const;

 private:
  struct CacheRow {
    uint64_t bytes = 0;
    double share = 0;        // of all experts' bytes
    double hits[3] = {};     // share of the accesses, by CachePolicy
  };
  void heat_map(std::string& out) const;
  void pairs(std::string& out) const;

  const moiety::eval::Trace& trace_;
  std::vector<moiety::eval::LayerUsage> usage_;
  std::vector<CacheRow> caches_;
};

}  // namespace cli
