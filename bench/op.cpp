// bench_op: what each kernel reaches, for weights in rows and in panels. GEMV: weights streamed from memory, GB/s and the
// share of the read bandwidth. T tokens: 2*N*K*T operations over the time of unpacking the weights, where that is done,
// and multiplying, Gop/s and the share of the peak of the arithmetic that it uses; the weights are in the caches, or with
// --cold in memory, as those of experts are. The limits are probed before and after. --tune: what the tuning of a model
// measures instead, T GEMVs against a GEMM.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "bench/probes.h"
#include "core/blocks.h"
#include "core/buffer.h"
#include "core/error.h"
#include "core/panels.h"
#include "simd/levels.h"
#include "simd/matmul.h"
#include "simd/tune.h"

namespace moiety::bench {
namespace {

using Clock = std::chrono::steady_clock;

struct Options {
  int threads = 0;
  std::string level, only, format = "md";
  ActivationPrecision precision = ActivationPrecision::kAuto;
  size_t stream_bytes = size_t{256} << 20;
  double seconds = 0.3;
  bool tune = false, cold = false;
};

// The best time of one call, repeated for about `seconds`.
template <class Call>
double best_time(double seconds, const Call& call) {
  double best = 1e30;
  const auto begin = Clock::now();
  do {
    const auto start = Clock::now();
    call();
    best = std::min(best, std::chrono::duration<double>(Clock::now() - start).count());
  } while (std::chrono::duration<double>(Clock::now() - begin).count() < seconds);
  return best;
}

// Random codes under sane scales: the kernels' time does not depend on the values, but denormals would.
void fill(const Tensor& weight) {
  std::mt19937_64 rng(1);
  const size_t row = dtype_bytes(weight.dtype, weight.cols()), total = row * static_cast<size_t>(weight.rows());
  for (size_t i = 0; i + 8 <= std::min(total, size_t{1} << 20); i += 8) {
    const uint64_t value = is_quantised(weight.dtype) ? rng() : 0x3c103c203c303c40u;
    std::memcpy(weight.data + i, &value, 8);
  }
  for (size_t done = size_t{1} << 20; done < total;) {
    const size_t count = std::min(done, total - done);
    std::memcpy(weight.data + done, weight.data, count);
    done += count;
  }
  if (weight.dtype == DType::kMXFP4) {  // random exponents would give denormal products
    for (size_t at = 0; at < total; at += dtype_info(weight.dtype).bytes) weight.data[at] = std::byte{120};
  }
}

struct Line {
  std::string type, kernel;
  double gemv = 0, gemm[6] = {};  // bytes/s, operations/s
  double peak = 0;
};
constexpr int64_t kTokens[6] = {2, 4, 8, 12, 60, 480};

// A weight of random values.
struct Weight {
  Buffer memory;
  Tensor tensor;
  Weight(DType type, Layout layout, int64_t rows, int64_t cols)
      : memory(huge_pages(layout == Layout::kPanels
                              ? static_cast<size_t>(rows / kPanelRows * panel_parts(type, cols).bytes)
                              : dtype_bytes(type, cols) * static_cast<size_t>(rows))) {
    if (layout == Layout::kRows) {
      tensor = make_tensor(memory.data(), type, {rows, cols});
      fill(tensor);
      return;
    }
    constexpr int64_t kSome = 8 * kPanelRows;  // packed once, and copied
    const Buffer some(dtype_bytes(type, cols) * kSome);
    const Tensor source = make_tensor(some.data(), type, {kSome, cols});
    fill(source);
    tensor = make_panels(memory.data(), type, rows, cols);
    for (int64_t r = 0; r < rows; r += kPanelRows) {
      if (r < kSome)
        pack_panel(source, r, tensor.row(r));
      else
        std::memcpy(tensor.row(r), tensor.row(r % kSome), static_cast<size_t>(kPanelRows * tensor.row_bytes));
    }
  }
};

double gemv_rate(const Options& o, const simd::Matmul& matmul, DType type, Layout layout, Threads& threads) {
  constexpr int64_t kCols = 2048, kRows = 64;
  const int64_t row = layout == Layout::kPanels ? panel_parts(type, kCols).bytes / kPanelRows
                                                : static_cast<int64_t>(dtype_bytes(type, kCols));
  const int64_t tasks = std::max<int64_t>(threads.size(), static_cast<int64_t>(o.stream_bytes) / (row * kRows));
  const Weight owner(type, layout, tasks * kRows, kCols);
  const Tensor& weight = owner.tensor;
  const std::vector<float> x(kCols, 0.37f);
  const Buffer prepared(simd::Matmul::prepared_bytes(matmul.form(type), kCols) + 64),
      scratch(matmul.panel_bytes(weight) * static_cast<size_t>(threads.size()) + 64);
  matmul.prepare(matmul.form(type), x.data(), kCols, prepared.data());
  std::vector<float> y(static_cast<size_t>(tasks * kRows));
  // A call reads a window of the weights; the windows walk through them, so that each is cold again at its turn.
  const int64_t window = std::max<int64_t>(threads.size(), tasks / 8);
  int64_t first = 0;
  const double time = best_time(o.seconds, [&] {
    first = (first + window) % tasks;
    threads.run(window, [&](int64_t index, int worker) {
      const int64_t task = (first + index) % tasks;
      matmul.gemv(weight, task * kRows, kRows, x.data(), prepared.data(),
                  scratch.data() + static_cast<size_t>(worker) * matmul.panel_bytes(weight), y.data() + task * kRows,
                  nullptr);
    });
  });
  return static_cast<double>(window * kRows * row) / time;
}

double gemm_rate(const Options& o, const simd::Matmul& matmul, DType type, Layout layout, int64_t tokens,
                 Threads& threads) {
  constexpr int64_t kCols = 2048;
  // Cold, they are a window that walks through as many weights as a GEMV streams.
  const int64_t windows = o.cold ? 8 : 1;
  const auto cold_rows = static_cast<int64_t>(o.stream_bytes / 8 / dtype_bytes(type, kCols));
  const int64_t kRows = o.cold ? cold_rows / kPanelRows * kPanelRows : tokens > 100 ? 256 : 1024;
  const simd::Form form = matmul.form(type);
  const Weight owner(type, layout, windows * kRows, kCols);
  const Tensor& weight = owner.tensor;
  const int64_t tiles = (tokens + simd::kTileTokens - 1) / simd::kTileTokens;
  const size_t tile_bytes = simd::Matmul::tile_bytes(form, kCols), panel_bytes = matmul.panel_bytes(weight);
  const Buffer packed(tile_bytes * static_cast<size_t>(tiles)),
      panels(panel_bytes * static_cast<size_t>(threads.size()));
  const Buffer prepared(simd::Matmul::prepared_bytes(form, kCols) + 64);
  const std::vector<float> x(kCols, 0.37f);
  matmul.prepare(form, x.data(), kCols, prepared.data());
  const float* sources[simd::kTileTokens];
  const std::byte* parts[simd::kTileTokens];
  std::fill_n(sources, simd::kTileTokens, x.data());
  std::fill_n(parts, simd::kTileTokens, prepared.data());
  const auto tokens_of = [&](int64_t tile) {
    return std::min<int64_t>(simd::kTileTokens, tokens - tile * simd::kTileTokens);
  };
  for (int64_t t = 0; t < tiles; ++t)
    matmul.pack(form, sources, parts, tokens_of(t), kCols, packed.data() + static_cast<size_t>(t) * tile_bytes);
  std::vector<float> outputs(static_cast<size_t>(threads.size() * tiles * simd::kTileTokens * simd::kPanelRows));
  int64_t window = 0;
  const double time = best_time(o.seconds, [&] {
    window = (window + 1) % windows;
    threads.run(kRows / simd::kPanelRows, [&](int64_t index, int worker) {
      const int64_t task = index + window * (kRows / simd::kPanelRows);
      std::byte* panel = panels.data() + static_cast<size_t>(worker) * panel_bytes;
      float* y = outputs.data() + static_cast<int64_t>(worker) * tiles * simd::kTileTokens * simd::kPanelRows;
      if (tokens < matmul.gemm_rows(weight)) {
        matmul.gemvs(weight, task * kPanelRows, kPanelRows, sources, parts, tokens, panel, y, kPanelRows, nullptr);
        return;
      }
      matmul.gemm(weight, task * kPanelRows, kPanelRows, packed.data(), {y, kPanelRows, tokens}, panel,
                  simd::Matmul::panel_at(weight, (task + 1) * simd::kPanelRows));
    });
  });
  return 2.0 * kCols * static_cast<double>(kRows) * static_cast<double>(tokens) / time;
}

void print_peaks(const Options& o, const Peaks& p) {
  if (o.format != "md") return;
  fmt::print("limits: read {:.1f} GB/s; Gop/s: int8 {:.0f} (AMX {:.0f}), bf16 {:.0f}, f32 {:.0f} ({})\n", p.read * 1e-9,
             p.int8 * 1e-9, p.int8_tiles * 1e-9, p.bf16 * 1e-9, p.f32 * 1e-9, p.instructions);
}

void print_line(const Options& o, const Line& l, const Peaks& peaks, const char* level, int threads) {
  if (o.format == "jsonl") {
    fmt::print(
        "{{\"bench\":\"op\",\"type\":\"{}\",\"kernel\":\"{}\",\"level\":\"{}\",\"threads\":{},\"gemv_gbs\":{:.3f},"
        "\"read_gbs\":{:.3f}",
        l.type, l.kernel, level, threads, l.gemv * 1e-9, peaks.read * 1e-9);
    for (int i = 0; i < 6; ++i) fmt::print(",\"gemm_gops_{}\":{:.2f}", kTokens[i], l.gemm[i] * 1e-9);
    fmt::print(",\"peak_gops\":{:.2f}}}\n", l.peak * 1e-9);
    return;
  }
  fmt::print("| {:7} | {:20} | {:5.1f} | {:3.0f} % |", l.type, l.kernel, l.gemv * 1e-9, 100 * l.gemv / peaks.read);
  for (double g : l.gemm) fmt::print(" {:5.0f} | {:3.0f} % |", g * 1e-9, 100 * g / l.peak);
  fmt::print("\n");
}

// Calls visit(type, layout, a weight of them) for each that was asked for.
template <class Visit>
void for_each_kind(const Options& o, const Visit& visit) {
  for (int i = 0; i < kDTypeCount; ++i) {
    const auto type = static_cast<DType>(i);
    if (type == DType::kI32 || (!o.only.empty() && o.only != dtype_info(type).name)) continue;
    for (const Layout layout : {Layout::kRows, Layout::kPanels}) {
      Tensor sample = make_tensor(nullptr, type, {kPanelRows, 256});
      if (layout == Layout::kPanels) {
        if (!has_panels(type)) continue;
        sample = make_panels(nullptr, type, kPanelRows, 256);
        if (!simd::Matmul::refusal(sample).empty()) continue;
      }
      visit(type, layout, sample);
    }
  }
}

void run_tune(const Options& o) {
  const CpuInfo cpu = cpu_info();
  const simd::Kernels kernels = simd::choose_level(cpu.features, o.level).kernels();
  const simd::Matmul matmul(kernels, o.precision);
  fmt::print("{}, level {}, one thread; GEMV's time over GEMM's for T rows, the median of pairs (its quartiles)\n"
             "| kernel | T=2 | T=3 | T=4 | T=6 | T=8 | T=12 | GEMM from, usual | measured | in ms |\n"
             "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n", cpu.model, kernels.level);
  simd::Tuner tuner;
  for_each_kind(o, [&](DType type, Layout layout, const Tensor& sample) {
    fmt::print("| {} |", matmul.name(sample));
    for (const int64_t tokens : {2, 3, 4, 6, 8, 12}) {
      const simd::Tuner::Times t = tuner.measure(matmul, type, layout, tokens);
      fmt::print(" {:.2f} ({:.2f}-{:.2f}) |", t.gain, t.low, t.high);
    }
    const auto start = Clock::now();
    const int rows = tuner.gemm_rows(matmul, type, layout);
    fmt::print(" {} | {} | {:.1f} |\n", matmul.usual_gemm_rows(sample), rows,
               std::chrono::duration<double, std::milli>(Clock::now() - start).count());
  });
}

void run(const Options& o) {
  if (o.tune) return run_tune(o);
  auto threads = make_threads("team", o.threads);
  const CpuInfo cpu = cpu_info();
  const simd::Level& level = simd::choose_level(cpu.features, o.level);
  const simd::Kernels kernels = level.kernels();
  const simd::Matmul matmul(kernels, o.precision);
  Peaks peaks = probe_peaks(*threads, cpu.features);
  if (o.format == "md") fmt::print("{}, level {}, {} threads\n", cpu.model, level.name, threads->size());
  print_peaks(o, peaks);
  if (o.format == "md") {
    fmt::print(
        "| type    | kernel               | GEMV GB/s | of read | T=2 Gop/s | of peak | T=4 | of peak | T=8 | of peak "
        "| T=12 | of peak | T=60 | of peak | T=480 | of peak |\n");
    fmt::print(
        "|---------|----------------------|------:|------:|------:|------:|------:|------:|------:|------:|------:|"
        "------:|------:|------:|------:|------:|\n");
  }
  for_each_kind(o, [&](DType type, Layout layout, const Tensor& sample) {
    Line line;
    line.type = dtype_info(type).name;
    line.kernel = matmul.name(sample);
    const simd::Form form = matmul.form(type);
    line.peak = form == simd::Form::kInt8 ? peaks.int8 : form == simd::Form::kBf16 ? peaks.bf16 : peaks.f32;
    line.gemv = gemv_rate(o, matmul, type, layout, *threads);
    for (int t = 0; t < 6; ++t) line.gemm[t] = gemm_rate(o, matmul, type, layout, kTokens[t], *threads);
    print_line(o, line, peaks, level.name, threads->size());
  });
  print_peaks(o, probe_peaks(*threads, cpu.features));
}

Options parse(const std::vector<std::string>& words) {
  Options o;
  for (size_t i = 0; i < words.size(); i += 2) {
    if (words[i] == "--tune") {
      o.tune = true, --i;
      continue;
    }
    if (words[i] == "--cold") {
      o.cold = true, --i;
      continue;
    }
    if (i + 1 == words.size()) fail(Status::kInvalidArgument, "{} needs a value", words[i]);
    const std::string& value = words[i + 1];
    if (words[i] == "-t")
      o.threads = std::stoi(value);
    else if (words[i] == "--level")
      o.level = value;
    else if (words[i] == "--type")
      o.only = value;
    else if (words[i] == "-o")
      o.format = value;
    else if (words[i] == "--activations")
      o.precision = value == "f32" ? ActivationPrecision::kF32 : ActivationPrecision::kAuto;
    else if (words[i] == "--stream")
      o.stream_bytes = static_cast<size_t>(std::stod(value) * (1 << 20));
    else if (words[i] == "--seconds")
      o.seconds = std::stod(value);
    else
      fail(Status::kInvalidArgument, "unknown option {}", words[i]);
  }
  return o;
}

}  // namespace
}  // namespace moiety::bench

int main(int argc, char** argv) {
  try {
    moiety::bench::run(moiety::bench::parse({argv + 1, argv + argc}));
    return 0;
  } catch (const std::exception& error) {
    fmt::print(stderr,
               "bench_op: {}\nusage: bench_op [-t THREADS] [--level NAME] [--type TYPE] [--activations auto|f32] [-o "
               "md|jsonl] [--stream MIB] [--seconds S] [--cold] [--tune]\n",
               error.what());
    return 2;
  }
}
