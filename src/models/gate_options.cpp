#include "models/gate_options.h"

#include <charconv>
#include <cmath>

#include "core/error.h"

namespace moiety {

void parse_gate(std::string_view text, GateOptions& options) {
  constexpr std::string_view kFraction = "frac=";
  if (text == "nodrop" || text == "train") {
    options.capacity = text == "train" ? Capacity::kTwiceMean : Capacity::kNone;
    return;
  }
  double fraction = 0;
  if (text.starts_with(kFraction)) {
    const char* end = text.data() + text.size();
    const auto [at, code] = std::from_chars(text.data() + kFraction.size(), end, fraction);
    if (code != std::errc() || at != end || !std::isfinite(fraction)) fraction = 0;
  }
  if (!(fraction > 0))
    fail(Status::kInvalidArgument, "gate: '{}', expected nodrop, train or frac=X with X above 0", printable(text));
  options.capacity = fraction < 1 ? Capacity::kFraction : Capacity::kNone;
  options.fraction = fraction;
}

void parse_second_expert(std::string_view text, GateOptions& options) {
  if (text == "all") options.second = SecondExpert::kAll;
  else if (text == "random") options.second = SecondExpert::kRandom;
  else if (text == "sampling") options.second = SecondExpert::kSampling;
  else fail(Status::kInvalidArgument, "second expert: '{}', expected all, random or sampling", printable(text));
}

void parse_normalise(std::string_view text, GateOptions& options) {
  if (text != "before" && text != "after")
    fail(Status::kInvalidArgument, "gate weights are normalised '{}', expected before or after", printable(text));
  options.normalise_before = text == "before";
}

std::string describe(const GateOptions& o) {
  std::string out = o.capacity == Capacity::kTwiceMean  ? "train"
                    : o.capacity == Capacity::kFraction ? fmt::format("frac={}", o.fraction)
                                                        : "nodrop";
  if (o.second != SecondExpert::kAll)
    out += fmt::format(", second expert {} (seed {})", o.second == SecondExpert::kRandom ? "random" : "sampling", o.seed);
  if (o.normalise_before) out += *o.normalise_before ? ", normalised before dropping" : ", normalised after dropping";
  if (o.batch_prioritised) out += ", batch-prioritised";
  if (o.pad_mask) out += ", pads masked";
  return out;
}

}  // namespace moiety
