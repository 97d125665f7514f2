// Tuning: from how many rows a GEMM pays, measured on this CPU. Both ways give the same bits, so that a number that came
// out wrong costs time and nothing else.
#pragma once

#include <cstdint>
#include <vector>

#include "core/buffer.h"
#include "graph/backend.h"
#include "simd/matmul.h"

namespace moiety::simd {

// A tensor of each type and layout that the graph's matmuls have, the one with most bytes first; those that Matmul
// refuses are left out. share: only what has this part of all the bytes.
std::vector<Tensor> weight_kinds(const Graph& graph, double share = 0);

// Measures what `tuning` lacks for the graph's weights, but for those of less than a twentieth of the bytes. Takes
// `seconds`, and what the last kind needs (some 20 ms).
void tune(const Graph& graph, const Matmul& matmul, double seconds, Tuning& tuning);

// One core's times, which are those of compute: where all cores wait for memory, both ways take as long.
class Tuner {
 public:
  Tuner();  // with kWeightBytes of weights, for every type

  struct Times {
    double gemv = 0, gemm = 0;  // seconds for a row of the weight, medians
    double gain = 1;            // gemv over gemm, the median of pairs that were taken one after the other
    double low = 1, high = 1;   // its quartiles
  };
  // `tokens` rows of activations times weights of a type and layout that come from beyond the core's caches.
  Times measure(const Matmul& matmul, DType type, Layout layout, int64_t tokens);
  // What Matmul::gemm_rows() should be: the usual number, unless with another the numbers of rows that then run the other
  // way are more than 5 % faster on average.
  int gemm_rows(const Matmul& matmul, DType type, Layout layout);

  static constexpr int kMostRows = kTileTokens;  // that are tried; where GEMVs win even there, the number is one more

 private:
  class Run;
  Buffer weights_;
  int64_t next_ = 0;  // the window that was not read for the longest time
};

}  // namespace moiety::simd
