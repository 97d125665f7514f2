// The golden cases (tests/golden, made by tools/make_golden.py): tokens, exact logits, and models to run.
#pragma once

#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/blocks.h"
#include "core/error.h"

namespace moiety::test {

struct GoldenCase {
  std::string name, kind, dtype;
  std::filesystem::path model, logits;
  std::vector<std::vector<int32_t>> prompts;  // all of one length
  std::vector<int32_t> greedy;                // what follows the first prompt
  int context = 0;                            // to load it with; 0: the model's own
  double tolerance = 0;                       // of a logit, times the largest magnitude
  double llama_kl = -1;                       // llama.cpp's own mean KL on the file; -1: not a quantised file

  bool quantised() const { return llama_kl >= 0; }
};

inline std::string read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) fail(Status::kIo, "{}: can't open", path.string());
  return std::string(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
}

inline std::vector<GoldenCase> golden_cases() {
  const std::filesystem::path root = std::filesystem::path(MOIETY_SOURCE_DIR) / "tests" / "golden";
  const nlohmann::json book = nlohmann::json::parse(read_file(root / "cases.json"));
  std::vector<GoldenCase> cases;
  for (const nlohmann::json& entry : book.at("cases")) {
    GoldenCase c;
    c.name = entry.at("name");
    c.kind = entry.at("kind");
    c.dtype = entry.at("dtype");
    c.model = root / entry.at("model").get<std::string>();
    c.logits = root / entry.at("logits").get<std::string>();
    c.prompts = entry.at("tokens").get<std::vector<std::vector<int32_t>>>();
    c.greedy = entry.at("greedy").get<std::vector<int32_t>>();
    c.tolerance = entry.at("tolerance");
    c.context = entry.value("context", 0);
    if (entry.contains("llama_cpp")) c.llama_kl = entry.at("llama_cpp").at("mean_kl");
    cases.push_back(std::move(c));
  }
  return cases;
}

// The values of a .npy file of little-endian f32; `count` is how many there must be.
inline std::vector<float> read_npy(const std::filesystem::path& path, size_t count) {
  const std::string data = read_file(path);
  const size_t header = data.size() >= 10 ? 10 + load_u16(data.data() + 8) : 0;
  if (header == 0 || data.compare(1, 5, "NUMPY") != 0 || data.find("'<f4'") > header) {
    fail(Status::kFormat, "{}: expected a .npy file of f32", path.string());
  }
  if (data.size() != header + 4 * count) {
    fail(Status::kFormat, "{}: expected {} values, got {}", path.string(), count, (data.size() - header) / 4);
  }
  std::vector<float> values(count);
  for (size_t i = 0; i < count; ++i) values[i] = load_f32(data.data() + header + 4 * i);
  return values;
}

// Mean over rows of KL(softmax(exact) || softmax(other)).
inline double mean_kl(const std::vector<float>& exact, const std::vector<float>& other, size_t vocab) {
  const auto log_sum = [vocab](const float* row) {
    double top = row[0], sum = 0;
    for (size_t i = 1; i < vocab; ++i) top = std::fmax(top, row[i]);
    for (size_t i = 0; i < vocab; ++i) sum += std::exp(row[i] - top);
    return top + std::log(sum);
  };
  double total = 0;
  for (size_t at = 0; at < exact.size(); at += vocab) {
    const double p_norm = log_sum(&exact[at]), q_norm = log_sum(&other[at]);
    for (size_t i = at; i < at + vocab; ++i) {
      const double p = exact[i] - p_norm, q = other[i] - q_norm;
      total += std::exp(p) * (p - q);
    }
  }
  return total / static_cast<double>(exact.size() / vocab);
}

}  // namespace moiety::test
