// The KV cache and attention: how rows become blocks of queries.
#include <cstring>

#include "graph/routing.h"
#include "simd/row_ops_parts.h"

namespace moiety::simd {

static_assert(kFirstSegment == KvCache::kFirstSegment && kMaxSegments == KvCache::kMaxSegments && kFirstSegment % kAttentionTile == 0);

Offer prepare(const KvStore& op, const Context& from) {
  const RowContext context(from);
  const int heads = context.graph.state.kv_heads;
  const int64_t head_dim = context.graph.state.head_dim;
  if (context.input_cols(0) != heads * head_dim || context.input_cols(1) != heads * head_dim)
    return refuse("kv_store: keys or values do not fit the cache");
  const auto run = [=, layer = op.layer, to_f16 = context.kernels.to_f16](const KernelCall& call) {
    const auto put = [&](const float* row, DType type, std::byte* to) {
      if (type == DType::kF16) to_f16(row, head_dim, reinterpret_cast<uint16_t*>(to));
      else std::memcpy(to, row, static_cast<size_t>(head_dim) * sizeof(float));
    };
    for (const Span& span : call.batch->spans) {
      if (span.pad) continue;
      const KvCache& cache = *span.cache;
      for_rows(*call.threads, span.count, 2 * heads * head_dim, [&](int64_t i, int) {
        const int64_t position = span.position + i;
        const float* k = row_of(call.inputs[0].tensor, span.row + i);
        const float* v = row_of(call.inputs[1].tensor, span.row + i);
        for (int h = 0; h < heads; ++h) {
          put(k + h * head_dim, cache.key_type(), cache.keys(layer, h, position));
          put(v + h * head_dim, cache.value_type(), cache.values(layer, h, position));
        }
      });
    }
  };
  return make_offer(context.name("kv_store"), [](int64_t, int) { return size_t{0}; }, run);
}

namespace {

// Keys times heads times head size, in 8ths, that one thread gets through in about 10 us: five times what a run costs.
constexpr int64_t kSerialKeys = 1 << 11;

// Consecutive rows of one session.
struct RowBlock {
  int32_t span, row, count, position;
};

class AttentionKernel : public Kernel {
 public:
  AttentionKernel(const Attention& op, const RowContext& context)
      : op_(op), kernels_(context.kernels), name_(context.name("attention")), wanted_(context.wanted()),
        sinks_(decode_small(op.sinks)) {
    const int group = op.heads / op.kv_heads;
    block_heads_ = std::min<int>(group, kMaxQueries);
    head_blocks_ = (group + block_heads_ - 1) / block_heads_;
  }

  std::string name() const override { return name_; }

  size_t scratch_bytes(int64_t rows, int workers) const override {
    return list_bytes(rows) + static_cast<size_t>(workers) * worker_floats() * sizeof(float);
  }

  void run(const KernelCall& call) const noexcept override {
    const int64_t rows = call.output.tensor.rows();
    auto* blocks = reinterpret_cast<RowBlock*>(call.scratch);
    const int64_t count = list_blocks(*call.batch, rows, block_rows(rows, call.threads->size()), blocks);
    auto* scratch = reinterpret_cast<float*>(call.scratch + list_bytes(rows));
    const int64_t heads = int64_t{op_.kv_heads} * head_blocks_;
    // Late positions see most keys: the last blocks first, so that no long task is left for the end.
    const auto task = [&](int64_t index, int worker) {
      const RowBlock& block = blocks[count - 1 - index / heads];
      attend(call, block, static_cast<int>(index % heads), scratch + static_cast<size_t>(worker) * worker_floats());
    };
    if (call.threads->size() == 1 || work(blocks, count) < kSerialKeys) {
      for (int64_t i = 0; i < count * heads; ++i) task(i, 0);
    } else {
      call.threads->run(count * heads, task);
    }
  }

 private:
  static size_t list_bytes(int64_t rows) { return align_up(static_cast<size_t>(rows) * sizeof(RowBlock), kAlignment); }
  size_t worker_floats() const {
    return align_up(static_cast<size_t>(kernels_.attention_floats(kMaxQueries, op_.head_dim)), 16);
  }

  // Rows of a block: the more, the less often a tile becomes floats, as long as each worker has some blocks.
  int64_t block_rows(int64_t rows, int workers) const {
    return std::clamp<int64_t>(rows * op_.heads / (4 * workers), kMaxQueries / 4, kMaxQueries) / block_heads_;
  }

  int64_t list_blocks(const Batch& batch, int64_t rows, int64_t block_rows, RowBlock* blocks) const {
    int64_t count = 0;
    int32_t span = 0;
    for (int64_t row = 0; row < rows; ++row) {
      const int32_t token = token_row(batch, wanted_, row);
      while (token >= batch.spans[static_cast<size_t>(span)].row + batch.spans[static_cast<size_t>(span)].count) ++span;
      const Span& of = batch.spans[static_cast<size_t>(span)];
      const int32_t position = of.position + (token - of.row);
      RowBlock* last = count ? &blocks[count - 1] : nullptr;
      if (last && last->span == span && last->count < block_rows && last->position + last->count == position)
        ++last->count;
      else
        blocks[count++] = {span, static_cast<int32_t>(row), 1, position};
    }
    return count;
  }

  int64_t work(const RowBlock* blocks, int64_t count) const {
    int64_t keys = 0;
    for (int64_t i = 0; i < count; ++i) keys += int64_t{blocks[i].count} * (blocks[i].position + blocks[i].count);
    return keys * op_.heads * op_.head_dim / 8;
  }

  void attend(const KernelCall& call, const RowBlock& rows, int head_block, float* scratch) const {
    const int kv_head = head_block / head_blocks_, group = op_.heads / op_.kv_heads;
    const int first = kv_head * group + head_block % head_blocks_ * block_heads_;
    const KvCache& cache = *call.batch->spans[static_cast<size_t>(rows.span)].cache;
    AttentionBlock block{};
    block.q = row_of(call.inputs[0].tensor, rows.row) + int64_t{first} * op_.head_dim;
    block.y = row_of(call.output.tensor, rows.row) + int64_t{first} * op_.head_dim;
    block.row_stride = int64_t{op_.heads} * op_.head_dim;
    block.rows = rows.count;
    block.heads = std::min(block_heads_, (kv_head + 1) * group - first);
    block.head_dim = op_.head_dim;
    for (int s = 0; s < cache.segments(); ++s) {
      block.key_segments[s] = reinterpret_cast<const uint8_t*>(cache.keys(op_.layer, kv_head, cache.segment_begin(s)));
      block.value_segments[s] = reinterpret_cast<const uint8_t*>(cache.values(op_.layer, kv_head, cache.segment_begin(s)));
    }
    block.key_bytes = static_cast<int64_t>(cache.key_row_bytes());
    block.value_bytes = static_cast<int64_t>(cache.value_row_bytes());
    block.keys_f16 = cache.key_type() == DType::kF16;
    block.values_f16 = cache.value_type() == DType::kF16;
    block.position = rows.position;
    block.scale = op_.scale;
    block.softcap = op_.softcap;
    block.window = op_.window;
    block.sinks = sinks_.empty() ? nullptr : sinks_.data() + first;
    block.scratch = scratch;
    kernels_.attention(block);
  }

  Attention op_;
  const RowKernels& kernels_;
  std::string name_;
  bool wanted_;
  std::vector<float> sinks_;
  int block_heads_, head_blocks_;
};

}  // namespace

Offer prepare(const Attention& op, const Context& from) {
  const RowContext context(from);
  if (std::string why = attention_misfit(context.graph, context.node, op); !why.empty()) return refuse(std::move(why));
  return {std::make_unique<AttentionKernel>(op, context), {}};
}

}  // namespace moiety::simd
