// Experts: grouped execution. Tokens are sorted by expert (Routing); an expert's group runs as a GEMM or, if it is
// small, row by row as GEMVs. Two kinds of tasks: hidden = act(gate x) * up x for an expert and a range of outputs,
// then y = sum of weight * down hidden, where a task owns output columns and walks the experts in ascending order. No
// barrier lies between them: such a task waits for the one expert that it comes to, and helps to prepare what that one
// left.
#include <algorithm>
#include <vector>

#include "core/blocks.h"
#include "core/buffer.h"
#include "core/spin.h"
#include "simd/expert_step.h"
#include "simd/prepare.h"

namespace moiety::simd {
namespace {

class ExpertsKernel final : public Kernel {
 public:
  ExpertsKernel(const Experts& op, int top_k, const Context& context)
      : op_(op),
        top_k_(top_k),
        matmul_(context.matmul),
        width_(op.bank->expert(0).up.cols()),
        hidden_(op.bank->expert(0).up.rows()) {
    for (int e = 0; e < op.bank->size(); ++e) {
      const Expert& expert = op.bank->expert(e);
      for (const Tensor* t : {&expert.gate, &expert.up}) {
        if (*t) uses_[index(*t)] = true, panel_ = std::max(panel_, matmul_.panel_bytes(*t));
      }
      hidden_uses_[index(expert.down)] = true;
      for (const Tensor* t : {&expert.gate, &expert.up, &expert.down}) {
        if (*t) gemm_rows_ = std::max(gemm_rows_, matmul_.gemm_rows(*t));
      }
      panel_ = std::max(panel_, matmul_.panel_bytes(expert.down));
    }
  }

  std::string name() const override {
    const Expert& expert = op_.bank->expert(0);
    return "experts " + matmul_.name(expert.up) + ", " + matmul_.name(expert.down) + ", " +
           matmul_.kernels().level;
  }

  size_t scratch_bytes(int64_t rows, int workers) const override {
    Step step;
    return lay_out(step, nullptr, rows, rows * top_k_, workers);
  }

  void run(const KernelCall& call) const noexcept override {
    const Routing& routing = call.inputs[1].routing;
    Step step;
    lay_out(step, call.scratch, call.inputs[0].tensor.rows(), routing.count(), call.threads->size());
    make_groups(routing, step);
    prepare_inputs(call, step);
    const bool one = call.inputs[0].tensor.rows() == 1 && step.tile_count == 0;
    const int workers = call.threads->size();
    // Long tasks where a group is few tokens; of many tokens even 4 panels are some work, and stealing evens it out.
    const bool few = routing.count() <= kTileTokens * step.group_count;
    const int64_t chunk = one   ? task_chunk(hidden_, step.group_count, workers, 2, kMostChunk)
                          : few ? task_chunk(hidden_, step.group_count, workers, 8, 4 * kChunk)
                                : kChunk;
    const int64_t chunks = (hidden_ + chunk - 1) / chunk;
    // On several memory nodes a worker's tasks are the same part of every expert, so that it finds their pages near.
    const bool by_rows = call.threads->nodes() > 1;
    for (int64_t g = 0; g < step.group_count; ++g) {
      new (&step.progress[g]) Step::Progress{};
      step.progress[g].writing.store(static_cast<int32_t>(chunks), std::memory_order_relaxed);
    }
    const auto up = [&](int64_t task, int worker) {
      const int64_t group = by_rows ? task % step.group_count : task / chunks;
      up_chunk(call, step, group, (by_rows ? task / step.group_count : task % chunks) * chunk, chunk, worker);
      if (step.progress[group].writing.fetch_sub(1, std::memory_order_acq_rel) == 1) prepare_hidden(step, group);
    };
    const int64_t columns = one ? task_chunk(width_, 1, workers, 2, kMostChunk) : down_chunk(workers);
    const auto down = [&](int64_t task, int worker) {
      down_columns(call, step, task * columns, std::min(columns, width_ - task * columns), worker);
    };
    call.threads->run_both(step.group_count * chunks, up, (width_ + columns - 1) / columns, down);
  }

 private:
  // Columns of a task of the second phase. Each task reads every expert's tiles: the more columns, the less often.
  int64_t down_chunk(int workers) const noexcept {
    return std::clamp<int64_t>(width_ / (4 * workers) / kPanelRows * kPanelRows, kPanelRows, 4 * kChunk);
  }

  size_t index(const Tensor& weight) const { return static_cast<size_t>(matmul_.form(weight.dtype)); }

  // Places a step's parts one behind the other; returns their size. n: entries of the routing.
  size_t lay_out(Step& step, std::byte* memory, int64_t rows, int64_t n, int workers) const noexcept {
    size_t used = 0;
    const auto take = [&](size_t size) {
      std::byte* at = memory ? memory + used : nullptr;
      used += align_up(size, kAlignment);
      return at;
    };
    const int64_t experts = op_.bank->size();
    const int64_t tiles = n / kTileTokens + std::min(experts, n);  // each group may end in a partial tile
    for (int f = 0; f < kForms; ++f) {
      const auto form = static_cast<Form>(f);
      const auto i = static_cast<size_t>(f);
      step.prepared[f] = take(uses_[i] ? static_cast<size_t>(rows) * Matmul::prepared_bytes(form, width_) : 0);
      step.tiles[f] = take(uses_[i] ? static_cast<size_t>(tiles) * Matmul::tile_bytes(form, width_) : 0);
      step.hidden_prepared[f] =
          take(hidden_uses_[i] ? static_cast<size_t>(n) * Matmul::prepared_bytes(form, hidden_) : 0);
      step.hidden_tiles[f] = take(hidden_uses_[i] ? static_cast<size_t>(tiles) * Matmul::tile_bytes(form, hidden_) : 0);
    }
    step.hidden = reinterpret_cast<float*>(take(static_cast<size_t>(n * hidden_) * sizeof(float)));
    step.panels = take(static_cast<size_t>(workers) * panel_);
    step.groups = reinterpret_cast<Step::Group*>(take(static_cast<size_t>(experts) * sizeof(Step::Group)));
    step.progress = reinterpret_cast<Step::Progress*>(take(static_cast<size_t>(experts) * sizeof(Step::Progress)));
    return used;
  }

  void make_groups(const Routing& routing, Step& step) const noexcept {
    step.group_count = step.tile_count = 0;
    for (int32_t e = 0; e < routing.experts; ++e) {
      const int32_t first = routing.offsets[e], count = routing.offsets[e + 1] - first;
      if (count == 0) continue;
      const bool gemm = count >= gemm_rows_;
      step.groups[step.group_count++] = {e, first, count, gemm ? static_cast<int32_t>(step.tile_count) : -1};
      if (gemm) step.tile_count += (count + kTileTokens - 1) / kTileTokens;
    }
  }

  std::byte* prepared_row(Form form, std::byte* base, int64_t k, int64_t row) const noexcept {
    return base + static_cast<size_t>(row) * Matmul::prepared_bytes(form, k);
  }

  void prepare_inputs(const KernelCall& call, const Step& step) const noexcept {
    const Tensor& x = call.inputs[0].tensor;
    const Routing& routing = call.inputs[1].routing;
    for (int f = 0; f < kForms; ++f) {
      if (!uses_[static_cast<size_t>(f)]) continue;
      const auto form = static_cast<Form>(f);
      const auto prepare = [&](int64_t row, int) {
        matmul_.prepare(form, reinterpret_cast<const float*>(x.row(row)), width_,
                        prepared_row(form, step.prepared[f], width_, row));
      };
      if (x.rows() == 1)
        prepare(0, 0);
      else
        call.threads->run(x.rows(), prepare);
      if (step.tile_count == 0) continue;
      const auto pack = [&](int64_t index, int) {
        const Step::Group& group = step.groups[index];
        for (int32_t part = 0; group.tile >= 0 && part < group.parts(); ++part) {
          const int32_t first = group.first + part * kTileTokens, count = group.count_of(part);
          const float* sources[kTileTokens];
          const std::byte* parts[kTileTokens];
          for (int32_t t = 0; t < count; ++t) {
            sources[t] = reinterpret_cast<const float*>(x.row(routing.row[first + t]));
            parts[t] = prepared_row(form, step.prepared[f], width_, routing.row[first + t]);
          }
          matmul_.pack(form, sources, parts, count, width_, tile_at(step.tiles, form, width_, group.tile + part));
        }
      };
      call.threads->run(step.group_count, pack);
    }
  }

  // Prepares those parts of a group's hidden rows, all written, that nobody else does.
  void prepare_hidden(const Step& step, int64_t group) const noexcept {
    Step::Progress& progress = step.progress[group];
    const int32_t parts = step.groups[group].parts();
    for (int32_t part; (part = progress.begun.fetch_add(1, std::memory_order_relaxed)) < parts;) {
      prepare_part(step, step.groups[group], part);
      progress.prepared.fetch_add(1, std::memory_order_release);
    }
  }

  // Waits until a group's hidden rows are prepared, and helps.
  void await_hidden(const Step& step, int64_t group) const noexcept {
    Step::Progress& progress = step.progress[group];
    const int32_t parts = step.groups[group].parts();
    const auto prepared = [&] { return progress.prepared.load(std::memory_order_acquire) == parts; };
    if (prepared()) return;
    spin_until([&] { return progress.writing.load(std::memory_order_acquire) == 0; });
    prepare_hidden(step, group);
    spin_until(prepared);
  }

  void prepare_part(const Step& step, const Step::Group& group, int32_t part) const noexcept {
    const int32_t first = group.first + part * kTileTokens, count = group.count_of(part);
    for (int f = 0; f < kForms; ++f) {
      if (!hidden_uses_[static_cast<size_t>(f)]) continue;
      const auto form = static_cast<Form>(f);
      const float* sources[kTileTokens];
      const std::byte* parts[kTileTokens];
      for (int32_t t = 0; t < count; ++t) {
        const float* source = step.hidden + (first + t) * hidden_;
        std::byte* prepared = prepared_row(form, step.hidden_prepared[f], hidden_, first + t);
        matmul_.prepare(form, source, hidden_, prepared);
        if (group.tile >= 0) sources[t] = source, parts[t] = prepared;
      }
      if (group.tile >= 0)
        matmul_.pack(form, sources, parts, count, hidden_,
                     tile_at(step.hidden_tiles, form, hidden_, group.tile + part));
    }
  }

  // hidden[entries of the group][first, first + chunk) = act(gate x) * up x
  void up_chunk(const KernelCall& call, const Step& step, int64_t group_index, int64_t first, int64_t chunk,
                int worker) const noexcept {
    const Step::Group& group = step.groups[group_index];
    const Expert& expert = op_.bank->expert(group.expert);
    const int64_t count = std::min(chunk, hidden_ - first);
    if (group.tile < 0) {
      const Tensor& x = call.inputs[0].tensor;
      alignas(kAlignment) float gate[kFewOutputs], up[kFewOutputs];
      std::byte* scratch = step.panels + static_cast<size_t>(worker) * panel_;
      for_entries(group, count, [&](int32_t entry, int32_t tokens) {
        const int32_t* rows = call.inputs[1].routing.row + entry;
        const auto multiply = [&](const Tensor& weight, float* y, const std::byte* next) {
          const float* sources[kTileTokens];
          const std::byte* parts[kTileTokens];
          for (int32_t t = 0; t < tokens; ++t) {
            sources[t] = reinterpret_cast<const float*>(x.row(rows[t]));
            parts[t] = prepared_row(matmul_.form(weight.dtype), step.prepared[index(weight)], width_, rows[t]);
          }
          matmul_.gemvs(weight, first, count, sources, parts, tokens, scratch, y, count,
                        entry > group.first ? weight.row(first) : next);
        };
        if (expert.gate) multiply(expert.gate, gate, expert.up.row(first));
        multiply(expert.up, up, chunk_after(step, group_index, first + count));
        for (int32_t t = 0; t < tokens; ++t)
          activate(expert, first, count, gate + t * count, up + t * count, step.hidden + (entry + t) * hidden_ + first);
      });
      return;
    }
    std::byte* panel = step.panels + static_cast<size_t>(worker) * panel_;
    alignas(kAlignment) float gate[kManyOutputs], up[kManyOutputs];  // [token][span]
    for_batches(group, [&](int64_t tile, int32_t entry, int64_t tokens, int64_t span) {
      for (int64_t at = first; at < first + count; at += kPanelRows) {
        const int64_t rows = std::min<int64_t>(kPanelRows, first + count - at), begin = at - (at - first) % span;
        const bool more = at + kPanelRows < hidden_;
        const Expert& after = more ? expert : next_expert(step, group_index);
        const int64_t after_row = more ? at + kPanelRows : 0;
        const auto multiply = [&](const Tensor& weight, float* y, const Tensor& next) {
          matmul_.gemm(weight, at, rows, tile_at(step.tiles, weight, tile), {y + at - begin, span, tokens}, panel,
                       Matmul::panel_at(next, after_row));
        };
        if (expert.gate) multiply(expert.gate, gate, after.gate);
        multiply(expert.up, up, after.up);
        const int64_t end = at + rows;
        if (end < first + count && end < begin + span) continue;
        float* hidden = step.hidden + entry * hidden_ + begin;
        if (end - begin == span) {
          activate_rows(expert, begin, span, tokens, gate, up, hidden);
          continue;
        }
        for (int64_t t = 0; t < tokens; ++t)
          activate(expert, begin, end - begin, gate + t * span, up + t * span, hidden + t * hidden_);
      }
    });
  }

  // The expert of the group behind this one; of the last one, itself.
  const Expert& next_expert(const Step& step, int64_t group) const noexcept {
    return op_.bank->expert(step.groups[std::min(group + 1, step.group_count - 1)].expert);
  }

  // Where the chunk behind one that ends at row `first` of a group starts.
  const std::byte* chunk_after(const Step& step, int64_t group, int64_t first) const noexcept {
    if (first >= hidden_) ++group, first = 0;
    if (group >= step.group_count) return nullptr;
    const Expert& expert = op_.bank->expert(step.groups[group].expert);
    return (expert.gate ? expert.gate : expert.up).row(first);
  }

  static std::byte* tile_at(std::byte* const* tiles, Form form, int64_t k, int64_t tile) noexcept {
    return tiles[static_cast<int>(form)] + static_cast<size_t>(tile) * Matmul::tile_bytes(form, k);
  }
  const std::byte* tile_at(std::byte* const* tiles, const Tensor& weight, int64_t tile) const noexcept {
    return tile_at(tiles, matmul_.form(weight.dtype), weight.cols(), tile);
  }

  // hidden[count] = act(gate) * up, with the biases of the outputs from `first` on.
  void activate(const Expert& expert, int64_t first, int64_t count, float* gate, float* up,
                float* hidden) const noexcept {
    add_bias(expert.gate_bias, first, count, gate);
    add_bias(expert.up_bias, first, count, up);
    activate(expert, count, gate, up, hidden);
  }
  void activate(const Expert& expert, int64_t count, const float* gate, const float* up, float* hidden) const noexcept {
    const auto kind = static_cast<RowActivation>(op_.kind);
    if (expert.gate)
      matmul_.kernels().rows.glu(kind, op_.limit, op_.alpha, gate, up, count, hidden);
    else
      matmul_.kernels().rows.act(kind, up, count, hidden);
  }

  // The same for whole rows [tokens][span].
  void activate_rows(const Expert& expert, int64_t first, int64_t span, int64_t tokens, float* gate, float* up,
                     float* hidden) const noexcept {
    for (int64_t t = 0; t < tokens; ++t) {
      add_bias(expert.gate_bias, first, span, gate + t * span);
      add_bias(expert.up_bias, first, span, up + t * span);
    }
    activate(expert, tokens * span, gate, up, up);
    for (int64_t t = 0; t < tokens; ++t) std::copy_n(up + t * span, span, hidden + t * hidden_);
  }

  static void add_bias(const Tensor& bias, int64_t first, int64_t count, float* y) noexcept {
    const auto add = [&](int64_t bytes, auto load) {
      for (int64_t i = 0; i < count; ++i) y[i] += load(bias.data + (first + i) * bytes);
    };
    if (!bias) return;
    if (bias.dtype == DType::kF32) add(4, load_f32);
    if (bias.dtype == DType::kF16) add(2, load_f16);
    if (bias.dtype == DType::kBF16) add(2, load_bf16);
  }

  // Columns [first, first + count) of every row's output; count <= kMostChunk.
  void down_columns(const KernelCall& call, const Step& step, int64_t first, int64_t count, int worker) const noexcept {
    const Tensor& out = call.output.tensor;
    const Routing& routing = call.inputs[1].routing;
    for (int64_t row = 0; call.first && row < out.rows(); ++row)
      std::fill_n(reinterpret_cast<float*>(out.row(row)) + first, count, 0.0f);
    std::byte* panel = step.panels + static_cast<size_t>(worker) * panel_;
    alignas(kAlignment) float y[kManyOutputs];
    const auto combine = [&](const Expert& expert, int32_t entry, int64_t at, int64_t columns, float* values) {
      add_bias(expert.down_bias, at, columns, values);
      float* to = reinterpret_cast<float*>(out.row(routing.row[entry])) + at;
      matmul_.kernels().rows.add(to, values, routing.weight[entry], columns, to);
    };
    for (int64_t g = 0; g < step.group_count; ++g) {
      const Step::Group& group = step.groups[g];
      const Expert& expert = op_.bank->expert(group.expert);
      const Form form = matmul_.form(expert.down.dtype);
      await_hidden(step, g);
      if (group.tile < 0) {
        const bool more = g + 1 < step.group_count;
        const Expert& after = op_.bank->expert(step.groups[more ? g + 1 : 0].expert);
        const std::byte* next = after.down.row(std::min(more ? first : first + count, width_ - 1));
        for_entries(group, count, [&](int32_t entry, int32_t tokens) {
          const float* sources[kTileTokens];
          const std::byte* parts[kTileTokens];
          for (int32_t t = 0; t < tokens; ++t) {
            sources[t] = step.hidden + (entry + t) * hidden_;
            parts[t] = prepared_row(form, step.hidden_prepared[index(expert.down)], hidden_, entry + t);
          }
          matmul_.gemvs(expert.down, first, count, sources, parts, tokens, panel, y, count,
                        entry > group.first ? expert.down.row(first) : next);
          for (int32_t t = 0; t < tokens; ++t) combine(expert, entry + t, first, count, y + t * count);
        });
        continue;
      }
      for_batches(group, [&](int64_t tile, int32_t entry, int64_t tokens, int64_t span) {
        for (int64_t at = first; at < first + count; at += kPanelRows) {
          const int64_t columns = std::min<int64_t>(kPanelRows, first + count - at), begin = at - (at - first) % span;
          const Soon soon = at + kPanelRows < first + count ? Matmul::panel_at(expert.down, at + kPanelRows)
                            : g + 1 < step.group_count
                                ? Matmul::panel_at(next_expert(step, g).down, first)
                                : Matmul::panel_at(op_.bank->expert(step.groups[0].expert).down, first + count);
          matmul_.gemm(expert.down, at, columns, tile_at(step.hidden_tiles, expert.down, tile),
                       {y + at - begin, span, tokens}, panel, soon);
          const int64_t end = at + columns;
          if (end < first + count && end < begin + span) continue;
          for (int32_t t = 0; t < tokens; ++t) combine(expert, entry + t, begin, end - begin, y + t * span);
        }
      });
    }
  }

  Experts op_;
  int top_k_;
  Matmul matmul_;
  int64_t width_, hidden_;
  bool uses_[kForms] = {}, hidden_uses_[kForms] = {};
  size_t panel_ = 0;
  int64_t gemm_rows_ = 0;  // of a group: the most that a matrix of the bank asks for
};

}  // namespace

Offer prepare(const Experts& op, const Context& context) {
  for (int e = 0; e < op.bank->size(); ++e) {
    const Expert& expert = op.bank->expert(e);
    if (!expert.gate && op.kind == Activation::kSwigluOai) return refuse("swiglu_oai needs a gate");
    for (const Tensor* t : {&expert.gate, &expert.up, &expert.down}) {
      if (std::string reason = *t ? Matmul::refusal(*t) : ""; !reason.empty()) return refuse(std::move(reason));
    }
    for (const Tensor* t : {&expert.gate_bias, &expert.up_bias, &expert.down_bias}) {
      if (*t && !is_bias_type(t->dtype))
        return refuse(std::string("expert biases are f32, f16 or bf16, not ") + dtype_info(t->dtype).name);
    }
  }
  const int top_k = static_cast<int>(context.graph.node(context.node.inputs[1]).cols);
  return {std::make_unique<ExpertsKernel>(op, top_k, context), {}};
}

}  // namespace moiety::simd
