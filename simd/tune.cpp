#include "simd/tune.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <tuple>

#include "core/panels.h"

namespace moiety::simd {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int64_t kCols = 2048, kRows = 512, kChunk = 64;  // of a window; rows that a GEMV takes together
constexpr int64_t kMatrixRows = 1024;                       // for which a tile is packed once
constexpr size_t kWeightBytes = size_t{32} << 20;           // beyond a core's own caches
constexpr int kPairs = 7;
constexpr double kGain = 1.05, kWindowSeconds = 1e-4;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

double at_quarter(std::array<double, kPairs> values, int quarter) {
  std::ranges::sort(values);
  return values[static_cast<size_t>((kPairs - 1) * quarter / 4)];
}

Tensor kind_of(DType type, Layout layout, std::byte* data, int64_t rows) {
  return layout == Layout::kPanels ? make_panels(data, type, rows, kCols) : make_tensor(data, type, {rows, kCols});
}

}  // namespace

std::vector<Tensor> weight_kinds(const Graph& graph, double share) {
  struct Kind {
    Tensor tensor;
    size_t bytes;
  };
  std::vector<Kind> kinds;
  size_t all = 0;
  const auto add = [&](const Tensor& weight) {
    if (!weight || !Matmul::refusal(weight).empty()) return;
    all += weight.bytes();
    const auto same = [&](const Kind& k) { return k.tensor.dtype == weight.dtype && k.tensor.layout == weight.layout; };
    if (const auto kind = std::ranges::find_if(kinds, same); kind != kinds.end())
      kind->bytes += weight.bytes();
    else
      kinds.push_back({weight, weight.bytes()});
  };
  for (const Node& node : graph.nodes()) {
    if (const auto* linear = std::get_if<Linear>(&node.op)) add(linear->weight);
    const auto* experts = std::get_if<Experts>(&node.op);
    for (int e = 0; experts && e < experts->bank->size(); ++e) {
      const Expert& expert = experts->bank->expert(e);
      add(expert.gate), add(expert.up), add(expert.down);
    }
  }
  std::ranges::sort(kinds, std::greater(), [](const Kind& k) { return std::tuple(k.bytes, -static_cast<int>(k.tensor.dtype), k.tensor.layout); });
  std::vector<Tensor> tensors;
  for (const Kind& kind : kinds) {
    if (static_cast<double>(kind.bytes) >= share * static_cast<double>(all)) tensors.push_back(kind.tensor);
  }
  return tensors;
}

void tune(const Graph& graph, const Matmul& matmul, double seconds, Tuning& tuning) {
  const auto start = Clock::now();
  std::unique_ptr<Tuner> tuner;
  for (const Tensor& weight : weight_kinds(graph, 0.05)) {
    if (tuning.contains(matmul.name(weight)) || seconds_since(start) >= seconds) continue;
    if (!tuner) tuner = std::make_unique<Tuner>();
    tuning[matmul.name(weight)] = tuner->gemm_rows(matmul, weight.dtype, weight.layout);
  }
}

// Bytes that are sane numbers in every type: no denormal, infinity or NaN as f16, bf16 or f32, and none in the scales.
Tuner::Tuner() : weights_(kWeightBytes) {
  constexpr size_t kSome = size_t{64} << 10;
  std::minstd_rand random(1);
  for (size_t i = 0; i < kSome; ++i) weights_.data()[i] = static_cast<std::byte>(0x30 | (random() >> 8 & 15));
  for (size_t i = kSome; i < kWeightBytes; i += kSome) std::memcpy(weights_.data() + i, weights_.data(), kSome);
}

// One kind of weight times `tokens` rows, in the two ways that Linear and Experts have.
class Tuner::Run {
 public:
  Run(const Matmul& matmul, DType type, Layout layout, int64_t tokens)
      : matmul_(matmul),
        form_(matmul.form(type)),
        tokens_(tokens),
        x_(static_cast<size_t>(kCols), 0.37f),
        prepared_(Matmul::prepared_bytes(form_, kCols) + kAlignment),
        tile_(Matmul::tile_bytes(form_, kCols)),
        panel_(matmul.panel_bytes(kind_of(type, layout, nullptr, kRows))) {
    matmul_.prepare(form_, x_.data(), kCols, prepared_.data());
    const float* sources[kTileTokens];
    const std::byte* rows[kTileTokens];
    std::fill_n(sources, tokens_, x_.data());
    std::fill_n(rows, tokens_, prepared_.data());
    for (int i = 0; i < 2; ++i) {  // memory is new at first
      const auto start = Clock::now();
      matmul_.pack(form_, sources, rows, tokens_, kCols, tile_.data());
      pack_seconds_ = seconds_since(start);
    }
    std::memset(panel_.data(), 0, panel_.size());
  }

  double gemv(const Tensor& weight) const {
    const auto start = Clock::now();
    float y[kTileTokens * kChunk];
    const float* x[kTileTokens];
    const std::byte* prepared[kTileTokens];
    std::fill_n(x, tokens_, x_.data());
    std::fill_n(prepared, tokens_, prepared_.data());
    for (int64_t row = 0; row < weight.rows(); row += kChunk)
      matmul_.gemvs(weight, row, kChunk, x, prepared, tokens_, panel_.data(), y, kChunk, nullptr);
    return seconds_since(start);
  }

  double gemm(const Tensor& weight) const {
    const auto start = Clock::now();
    float y[kTileTokens * kPanelRows];
    for (int64_t row = 0; row < weight.rows(); row += kPanelRows)
      matmul_.gemm(weight, row, kPanelRows, tile_.data(), {y, kPanelRows, tokens_}, panel_.data(),
                   Matmul::panel_at(weight, row + kPanelRows));
    return seconds_since(start) + pack_seconds_ * static_cast<double>(weight.rows()) / kMatrixRows;
  }

 private:
  const Matmul& matmul_;
  Form form_;
  int64_t tokens_;
  std::vector<float> x_;
  Buffer prepared_, tile_, panel_;
  double pack_seconds_ = 0;
};

Tuner::Times Tuner::measure(const Matmul& matmul, DType type, Layout layout, int64_t tokens) {
  const Run run(matmul, type, layout, tokens);
  const auto row_bytes = static_cast<size_t>(kind_of(type, layout, nullptr, kChunk).row_bytes);
  const auto window = [&](int64_t rows) {
    const size_t bytes = row_bytes * static_cast<size_t>(kRows);
    const auto windows = static_cast<int64_t>((kWeightBytes - row_bytes * kPanelRows) / bytes);  // a GEMM looks ahead
    next_ = (next_ + 1) % windows;
    return kind_of(type, layout, weights_.data() + static_cast<size_t>(next_) * bytes, rows);
  };
  // The levels differ in speed by a factor of a hundred.
  const double chunk = std::max(run.gemv(window(kChunk)), run.gemm(window(kChunk)));
  const int64_t rows = std::clamp(static_cast<int64_t>(kWindowSeconds / chunk), int64_t{1}, kRows / kChunk) * kChunk;
  std::array<double, kPairs> gemv, gemm, gain;
  for (size_t i = 0; i < kPairs; ++i) {
    gemv[i] = run.gemv(window(rows)) / static_cast<double>(rows);
    gemm[i] = run.gemm(window(rows)) / static_cast<double>(rows);
    gain[i] = gemv[i] / gemm[i];
  }
  return {at_quarter(gemv, 2), at_quarter(gemm, 2), at_quarter(gain, 2), at_quarter(gain, 1), at_quarter(gain, 3)};
}

int Tuner::gemm_rows(const Matmul& matmul, DType type, Layout layout) {
  const auto usual = static_cast<int>(matmul.usual_gemm_rows(kind_of(type, layout, nullptr, kPanelRows)));
  // GEMMs like some numbers of rows more than others, so that every one is asked, not where the first one wins.
  std::array<double, kMostRows + 1> gain{};  // of a GEMM, in logarithms, as far as most of the pairs agree
  for (int tokens = 2; tokens <= kMostRows; ++tokens) {
    const Times t = measure(matmul, type, layout, tokens);
    gain[static_cast<size_t>(tokens)] = t.low > 1 ? std::log(t.low) : t.high < 1 ? std::log(t.high) : 0;
  }
  int best = usual;
  double most = 0;
  for (const int step : {-1, 1}) {
    double sum = 0;  // over the numbers of rows that run the other way
    for (int rows = usual; step < 0 ? rows > 2 : rows <= kMostRows; rows += step) {
      sum -= step * gain[static_cast<size_t>(step < 0 ? rows - 1 : rows)];
      const int changed = std::abs(rows + step - usual);
      if (sum > most && sum > changed * std::log(kGain)) most = sum, best = rows + step;
    }
  }
  return best;
}

}  // namespace moiety::simd
