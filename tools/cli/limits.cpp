#include "limits.h"

#include <algorithm>
#include <exception>

#include "core/dtype.h"
#include "bench/probes.h"

namespace cli {

Limits measure_limits(int threads, const std::string& types, bool f32) {
  const auto pool = moiety::make_threads("tbb", threads);
  const moiety::bench::Peaks peaks = moiety::bench::probe_peaks(*pool, moiety::cpu_info().features);
  const std::string largest = types.substr(0, types.find(','));
  const auto dtype = moiety::dtype_from_name(largest);
  double ops = peaks.f32;
  if (!f32 && dtype && moiety::is_quantised(*dtype)) ops = peaks.int8;
  if (!f32 && largest == "bf16") ops = std::max(peaks.bf16, peaks.f32);
  return {peaks.read, ops};
}

double measure_file(int threads, const std::string& model) {
  try {
    return moiety::bench::probe_file(*moiety::make_threads("tbb", threads), model);
  } catch (const std::exception&) {  // a limit is no reason to fail
    return 0;
  }
}

}  // namespace cli
