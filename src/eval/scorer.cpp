#include "eval/scorer.h"

#include <algorithm>
#include <cmath>

namespace moiety::eval {

double log_sum_exp(std::span<const float> logits) {
  float best = logits[0];
  for (float v : logits) best = v > best ? v : best;
  double sum = 0;
  for (float v : logits) sum += std::exp(static_cast<double>(v) - static_cast<double>(best));
  return static_cast<double>(best) + std::log(sum);
}

Scorer::Scorer(const Model& model) : model_(model), session_(model), scheduler_(model) {}

// Queues input so that `sink` gets the logits after input[first] and later ones.
void Scorer::submit(std::span<const int32_t> input, size_t first, size_t padded, const LogitsSink& sink) {
  if (model_.whole_groups()) {
    session_.rewind(0);
    std::vector<int32_t> group(input.begin(), input.end());
    if (model_.config().pad_id >= 0 && group.size() < padded) group.resize(padded, model_.config().pad_id);
    return scheduler_.submit(session_, group, Want::kAll, [sink, first](int position, std::span<const float> logits) {
      if (position != kPadPosition && position >= static_cast<int>(first)) sink(position, logits);
    });
  }
  const std::span<const int32_t> held = session_.tokens();
  size_t same = 0;
  while (same < held.size() && same < first && held[same] == input[same]) ++same;
  session_.rewind(static_cast<int>(same));
  if (same < first) scheduler_.submit(session_, input.subspan(same, first - same), Want::kNone);
  scheduler_.submit(session_, input.subspan(first), Want::kAll, sink);
}

std::vector<double> Scorer::score(std::span<const int32_t> sequence, size_t first, size_t padded,
                                  const CancelToken* cancel) {
  if (first < 1 || first > sequence.size()) {
    fail(Status::kInvalidArgument, "score: first is {}, expected 1 to {}", first, sequence.size());
  }
  std::vector<double> out;
  if (first == sequence.size()) return out;
  const LogitsSink sink = [&](int position, std::span<const float> logits) {
    const auto target = static_cast<size_t>(sequence[static_cast<size_t>(position) + 1]);
    if (target >= logits.size()) fail(Status::kInvalidArgument, "token {} is outside the vocabulary", target);
    out.push_back(static_cast<double>(logits[target]) - log_sum_exp(logits));
    if (!std::isfinite(out.back())) {
      fail(Status::kNumeric, "{}: the logits after position {} are not finite", model_.name(), position);
    }
  };
  try {
    submit(sequence.first(sequence.size() - 1), first - 1, padded, sink);
    scheduler_.run(cancel);
  } catch (...) {
    scheduler_.drop(session_);
    session_.rewind(0);
    throw;
  }
  if (session_.status() != Status::kOk) {
    const std::string message = session_.message();
    session_.rewind(0);
    fail(Status::kNumeric, "{}", message);
  }
  return out;
}

}  // namespace moiety::eval
