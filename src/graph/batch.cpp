#include "graph/batch.h"

#include <sys/mman.h>

#include "core/checked.h"
#include "core/error.h"

namespace moiety {

namespace {

size_t row_bytes(DType type, int head_dim, const char* which) {
  if (type != DType::kF32 && type != DType::kF16)
    fail(Status::kUnsupported, "KV cache: the {} type must be f32 or f16, got {}", which, dtype_info(type).name);
  return dtype_bytes(type, head_dim);
}

}  // namespace

KvCache::KvCache(int layers, int kv_heads, int head_dim, int capacity, DType key_type, DType value_type)
    : layers_(layers), kv_heads_(kv_heads), capacity_(capacity), key_type_(key_type), value_type_(value_type) {
  if (layers < 0 || kv_heads < 0 || head_dim < 0 || capacity < 1)
    fail(Status::kInvalidArgument, "KV cache: {} layers, {} heads of {}, {} positions is not a shape", layers, kv_heads,
         head_dim, capacity);
  key_row_bytes_ = row_bytes(key_type, head_dim, "key");
  value_row_bytes_ = row_bytes(value_type, head_dim, "value");
  const auto heads = checked_mul(static_cast<uint64_t>(layers), static_cast<uint64_t>(kv_heads));
  const auto rows = heads ? checked_mul(*heads, static_cast<uint64_t>(capacity)) : std::nullopt;
  const auto total = rows ? checked_mul(*rows, key_row_bytes_ + value_row_bytes_) : std::nullopt;
  if (!total || *total > SIZE_MAX / 2)
    fail(Status::kOutOfMemory, "KV cache: {} layers of {} heads with {} positions exceed the address space", layers,
         kv_heads, capacity);
  bytes_ = *total;
  if (bytes_ == 0) return;
  // Anonymous pages read as zero and take memory only when a position is written.
  void* memory = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) fail(Status::kOutOfMemory, "KV cache: the system refused {} bytes", bytes_);
  data_ = static_cast<std::byte*>(memory);
  const size_t small = align_up(bytes_ / static_cast<size_t>(capacity) * static_cast<size_t>(kFirstSegment), kHugePage);
  if (small < bytes_) advise_huge_pages(data_ + small, bytes_ - small);
}

KvCache::~KvCache() {
  if (data_) munmap(data_, bytes_);
}

std::byte* KvCache::head_of(int layer, int segment) const {
  const size_t row = static_cast<size_t>(kv_heads_) * (key_row_bytes_ + value_row_bytes_);
  const auto begin = static_cast<size_t>(segment_begin(segment)), end = static_cast<size_t>(segment_end(segment));
  return data_ + (begin * static_cast<size_t>(layers_) + (end - begin) * static_cast<size_t>(layer)) * row;
}

std::byte* KvCache::keys(int layer, int head, int64_t position) const {
  const int segment = segment_of(position);
  const int64_t begin = segment_begin(segment), row = head * (segment_end(segment) - begin) + position - begin;
  return head_of(layer, segment) + static_cast<size_t>(row) * key_row_bytes_;
}

std::byte* KvCache::values(int layer, int head, int64_t position) const {
  const int segment = segment_of(position);
  const int64_t begin = segment_begin(segment), length = segment_end(segment) - begin;
  return head_of(layer, segment) + static_cast<size_t>(kv_heads_ * length) * key_row_bytes_ +
         static_cast<size_t>(head * length + position - begin) * value_row_bytes_;
}

size_t Routing::bytes(int64_t rows, int experts, int top_k) {
  const size_t choices = static_cast<size_t>(rows) * top_k;
  return align_up((static_cast<size_t>(experts) + 1) * sizeof(int32_t), kAlignment) +
         2 * align_up(choices * sizeof(int32_t), kAlignment) + align_up(choices * sizeof(float), kAlignment);
}

Routing Routing::at(std::byte* memory, int64_t rows, int experts, int top_k) {
  const size_t choices = align_up(static_cast<size_t>(rows) * top_k * sizeof(int32_t), kAlignment);
  std::byte* entries = memory + align_up((static_cast<size_t>(experts) + 1) * sizeof(int32_t), kAlignment);
  return {experts,
          top_k,
          reinterpret_cast<int32_t*>(memory),
          reinterpret_cast<int32_t*>(entries),
          reinterpret_cast<int32_t*>(entries + choices),
          reinterpret_cast<float*>(entries + 2 * choices)};
}

}  // namespace moiety
