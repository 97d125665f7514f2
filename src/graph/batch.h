// Batch: the rows of one step. Rows are ragged over sessions; a session's rows are contiguous and ascend in position.
// Pads are rows that only gates see: they have no position, store nothing, and attend to what is before them.
#pragma once

#include <cstdint>
#include <vector>

#include "core/buffer.h"
#include "core/dtype.h"

namespace moiety {

// The keys and values of one session, f32 or f16, [layer][kv head][position][head dim]. Pages are touched on use.
class KvCache {
 public:
  KvCache(int layers, int kv_heads, int head_dim, int capacity, DType key_type, DType value_type);
  ~KvCache();
  KvCache(const KvCache&) = delete;
  KvCache& operator=(const KvCache&) = delete;

  std::byte* keys(int layer, int head) const;    // row p at keys + p * key_row_bytes()
  std::byte* values(int layer, int head) const;
  DType key_type() const { return key_type_; }
  DType value_type() const { return value_type_; }
  size_t key_row_bytes() const { return key_row_bytes_; }
  size_t value_row_bytes() const { return value_row_bytes_; }
  int capacity() const { return capacity_; }
  size_t bytes() const { return bytes_; }        // reserved; bytes a position: bytes() / capacity()

 private:
  int kv_heads_, capacity_;
  DType key_type_, value_type_;
  size_t key_row_bytes_, value_row_bytes_, value_offset_, bytes_;
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
