// Sampler: from logits to a token. Order and defaults are llama.cpp's: repetition penalty, top-k, top-p, min-p,
// temperature, draw. Temperature 0 takes the largest logit after the penalty; ties go to the lower id.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace moiety {

struct SamplerOptions {
  float temperature = 0.8f;
  int top_k = 40;            // 0 or less: all
  float top_p = 0.95f;       // 1 or more: off
  float min_p = 0.05f;       // 0: off
  float repeat_penalty = 1;  // 1: off
  int repeat_last_n = 64;    // tokens looked back at; 0: none, -1: all
  uint64_t seed = 0;
};

// Throws Error kInvalidArgument naming the option that is out of range (NaN included).
void check_sampler_options(const SamplerOptions& options);

class Sampler {
 public:
  explicit Sampler(const SamplerOptions& options);
  const SamplerOptions& options() const { return options_; }

  // `history`: the session's tokens so far. Throws Error kNumeric if a logit is NaN or +inf, or none is finite.
  int32_t sample(std::span<const float> logits, std::span<const int32_t> history, uint64_t position);

 private:
  struct Candidate {
    float logit;
    int32_t id;
  };
  void penalise(std::span<const int32_t> history);
  int32_t greedy() const;
  void keep_top_p();

  SamplerOptions options_;
  std::vector<Candidate> candidates_;
  std::vector<double> weights_;
};

}  // namespace moiety
