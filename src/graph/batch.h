// Batch: the rows of one step. Rows are ragged over sessions; a session's rows are contiguous and ascend in position.
// Pads are rows that only gates see: they have no position, store nothing, and attend to what is before them.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <vector>

#include "core/buffer.h"
#include "core/dtype.h"

namespace moiety {

// The keys and values of one session, f32 or f16. Positions lie in segments, [0, 512), [512, 1024), [1024, 2048) and so on,
// each [layer][keys, values][kv head][position][head dim]: pages are touched on use, and from the second segment on they are
// huge ones where the system has them, which attention reads faster, without taking more than twice of what is used.
class KvCache {
 public:
  KvCache(int layers, int kv_heads, int head_dim, int capacity, DType key_type, DType value_type);
  ~KvCache();
  KvCache(const KvCache&) = delete;
  KvCache& operator=(const KvCache&) = delete;

  static constexpr int64_t kFirstSegment = 512;  // positions
  static constexpr int kMaxSegments = 24;
  static int segment_of(int64_t position) {
    return static_cast<int>(std::bit_width(static_cast<uint64_t>(position / kFirstSegment)));
  }
  int segments() const { return segment_of(capacity_ - 1) + 1; }
  int64_t segment_begin(int segment) const { return segment == 0 ? 0 : kFirstSegment << (segment - 1); }
  int64_t segment_end(int segment) const { return std::min<int64_t>(kFirstSegment << segment, capacity_); }

  // A position's row; those behind it follow, up to its segment's end.
  std::byte* keys(int layer, int head, int64_t position) const;
  std::byte* values(int layer, int head, int64_t position) const;
  DType key_type() const { return key_type_; }
  DType value_type() const { return value_type_; }
  size_t key_row_bytes() const { return key_row_bytes_; }
  size_t value_row_bytes() const { return value_row_bytes_; }
  int capacity() const { return capacity_; }
  size_t bytes() const { return bytes_; }        // reserved; bytes a position: bytes() / capacity()

 private:
  std::byte* head_of(int layer, int segment) const;

  int layers_, kv_heads_, capacity_;
  DType key_type_, value_type_;
  size_t key_row_bytes_, value_row_bytes_, bytes_;
  std::byte* data_ = nullptr;
};

// Rows [row, row+count) of a session, at `position` and on. Of a pad, always one row, `position` is that of the token
// before it.
struct Span {
  KvCache* cache = nullptr;
  int32_t row = 0, count = 0, position = 0;
  bool pad = false;
  uint64_t session = 0;  // for random numbers
};

inline constexpr int32_t kPadPosition = -1;

struct GatingGroup { int32_t row = 0, count = 0; };  // rows [row, row+count) that share capacities

// Random numbers that are given rather than drawn: what another program drew, to be compared with it.
struct GivenNoise {
  std::vector<float> uniform;  // [T] for Keep::kByChance
  std::vector<float> gumbel;   // [T,E]
};

// Why a row failed: the first node that found a non-finite router logit.
struct RowStatus { int32_t failed_node = -1; };

struct Batch {
  std::vector<int32_t> ids;        // [T]
  std::vector<int32_t> positions;  // [T] kPadPosition: a pad
  std::vector<Span> spans;         // cover [0, T) in order
  std::vector<int32_t> wanted;     // [N] ascending rows whose logits are wanted
  std::vector<GatingGroup> groups; // cover [0, T) in order; empty: one group of all rows
  std::vector<RowStatus> status;   // [T], written by route kernels
  const GivenNoise* noise = nullptr;

  int64_t tokens() const { return static_cast<int64_t>(ids.size()); }
  int64_t rows(bool wanted_rows) const { return wanted_rows ? static_cast<int64_t>(wanted.size()) : tokens(); }
};

// A token's choices, sorted by expert: expert e owns entries [offsets[e], offsets[e+1]). A dropped choice is absent.
struct Routing {
  int32_t experts = 0, top_k = 0;
  int32_t* offsets = nullptr;  // [E+1]
  int32_t* row = nullptr;      // [n] the token's row, ascending inside an expert
  int32_t* slot = nullptr;     // [n] which of the token's k choices (0: the best)
  float* weight = nullptr;     // [n]
  int32_t count() const { return offsets[experts]; }
  static size_t bytes(int64_t rows, int experts, int top_k);  // arena bytes of a routing of `rows` rows
  static Routing at(std::byte* memory, int64_t rows, int experts, int top_k);
};

}  // namespace moiety
