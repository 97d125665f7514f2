// What the machine can do at most, measured now (bench/probes.h).
#pragma once

#include <string>

namespace cli {

struct Limits {
  double bytes_per_second = 0;
  double ops_per_second = 0;  // of the arithmetic that the model's largest weights use
};

// types: MOIETY_TEXT_TYPES; f32: activations are never rounded.
Limits measure_limits(int threads, const std::string& types, bool f32);

// Bytes/s streamed from the model's file, or a folder's largest, as it is mapped; 0 where it isn't in memory.
double measure_file(int threads, const std::string& model);

}  // namespace cli
