#include "core/panels.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "core/blocks.h"

namespace moiety {
namespace {

// Some bits of a row's block and where they lie in the panel: both directions follow the one list.
struct Move {
  uint16_t from = 0, to = 0;  // bytes; `to` counts from the block's part of the panel, for row 0
  uint8_t from_bit = 0, to_bit = 0, bits = 8, flip = 0;
  uint8_t part = 0, stride = 4;  // part of the panel; bytes from one row to the next
  uint8_t block = 0;             // of 32 columns in the type's own block
};
enum Part : uint8_t { kCodes, kScales, kHead };

constexpr uint16_t at(size_t n) { return static_cast<uint16_t>(n); }
constexpr uint16_t at(int n) { return static_cast<uint16_t>(n); }
constexpr uint8_t bit_of(int n) { return static_cast<uint8_t>(n); }
constexpr uint8_t of(int k) { return static_cast<uint8_t>(k / 32); }

struct Moves {
  int count = 0;
  std::array<Move, 560> list{};
  constexpr void add(const Move& move) { list[static_cast<size_t>(count++)] = move; }

  // Column k of the block, whose code's bits lie at `byte`, `bit`.
  constexpr void nibble(int k, size_t byte, int bit) {
    const int column = k % 32;
    add({at(byte), at(column / 4 % 4 * 64 + k % 4), bit_of(bit), bit_of(column / 16 * 4), 4, 0, kCodes, 4, of(k)});
  }
  constexpr void fifth(int k, size_t byte, int bit) {
    add({at(byte), at(256 + k % 4), bit_of(bit), bit_of(k % 32 / 4), 1, 0, kCodes, 4, of(k)});
  }
  constexpr void pair(int k, size_t byte, int bit) {
    const int column = k % 32;
    add({at(byte), at(256 + column / 16 * 64 + k % 4), bit_of(bit), bit_of(column / 4 % 4 * 2), 2, 0, kCodes, 4,
         of(k)});
  }
  // Bytes of every row: `size` a row, `to` counts in the part.
  constexpr void number(size_t byte, int size, Part part, int to, int block = 0) {
    for (int i = 0; i < size; ++i)
      add({at(byte + static_cast<size_t>(i)), at(to + i), 0, 0, 8, 0, part, bit_of(size), bit_of(block)});
  }
  // The 6 bits of scale or minimum i of Q4_K and Q5_K.
  constexpr void six_bits(size_t packed, int i, bool minimum) {
    const int to = minimum ? 16 : 0, column = minimum ? 4 : 0;
    if (i < 4) {
      add({at(packed + static_cast<size_t>(i + column)), at(to), 0, 0, 6, 0, kScales, 1, bit_of(i)});
    } else {
      add({at(packed + static_cast<size_t>(i + 4)), at(to), bit_of(minimum ? 4 : 0), 0, 4, 0, kScales, 1, bit_of(i)});
      add({at(packed + static_cast<size_t>(i - 4 + column)), at(to), 6, 4, 2, 0, kScales, 1, bit_of(i)});
    }
  }
};

template <class B>
constexpr void k_block(Moves& m) {
  for (int k = 0; k < 256; ++k) m.nibble(k, offsetof(B, q) + static_cast<size_t>(k / 64 * 32 + k % 32), k / 32 % 2 * 4);
  for (int i = 0; i < 8; ++i) m.six_bits(offsetof(B, scales), i, false), m.six_bits(offsetof(B, scales), i, true);
  m.number(offsetof(B, d), 2, kHead, 0);
  m.number(offsetof(B, dmin), 2, kHead, 32);
}

template <class B>
constexpr void halves(Moves& m) {
  for (int k = 0; k < 32; ++k) m.nibble(k, offsetof(B, q) + static_cast<size_t>(k % 16), k / 16 * 4);
}

constexpr Moves moves(DType type) {
  Moves m;
  if (type == DType::kQ8_0) {
    for (int k = 0; k < 32; ++k) {
      Move move{static_cast<uint16_t>(offsetof(BlockQ8_0, q) + static_cast<size_t>(k)),
                static_cast<uint16_t>(k / 4 * 64 + k % 4)};
      move.flip = 128;
      m.add(move);
    }
    m.number(offsetof(BlockQ8_0, d), 2, kScales, 0);
  } else if (type == DType::kQ4_0) {
    halves<BlockQ4_0>(m);
    m.number(offsetof(BlockQ4_0, d), 2, kScales, 0);
  } else if (type == DType::kMXFP4) {
    halves<BlockMXFP4>(m);
    m.number(offsetof(BlockMXFP4, e), 1, kScales, 0);
  } else if (type == DType::kQ4_K) {
    k_block<BlockQ4_K>(m);
  } else if (type == DType::kQ5_K) {
    k_block<BlockQ5_K>(m);
    for (int k = 0; k < 256; ++k) m.fifth(k, offsetof(BlockQ5_K, high) + static_cast<size_t>(k % 32), k / 32);
  } else if (type == DType::kQ6_K) {
    for (int k = 0; k < 256; ++k) {
      const int half = k / 128, s = k / 32 % 4, l = k % 32;
      m.nibble(k, offsetof(BlockQ6_K, low) + static_cast<size_t>(half * 64 + s % 2 * 32 + l), s / 2 * 4);
      m.pair(k, offsetof(BlockQ6_K, high) + static_cast<size_t>(half * 32 + l), 2 * s);
    }
    for (int i = 0; i < 16; ++i)
      m.number(offsetof(BlockQ6_K, scales) + static_cast<size_t>(i), 1, kScales, i % 2 * 16, i / 2);
    m.number(offsetof(BlockQ6_K, d), 2, kHead, 0);
  }
  return m;
}

template <DType type>
constexpr Moves kMoves = moves(type);

const Moves& moves_of(DType type) {
  switch (type) {
    case DType::kQ8_0:
      return kMoves<DType::kQ8_0>;
    case DType::kQ4_0:
      return kMoves<DType::kQ4_0>;
    case DType::kMXFP4:
      return kMoves<DType::kMXFP4>;
    case DType::kQ4_K:
      return kMoves<DType::kQ4_K>;
    case DType::kQ5_K:
      return kMoves<DType::kQ5_K>;
    default:
      return kMoves<DType::kQ6_K>;
  }
}

// Where item i of `count` lies in lane order.
int64_t lane_place(int64_t i, int64_t count, int lanes) {
  int64_t place = i / lanes;
  const auto reversed = [lanes](int64_t lane) {
    int64_t out = 0;
    for (int bit = 1, mirror = lanes / 2; mirror; bit *= 2, mirror /= 2) out |= lane & bit ? mirror : 0;
    return out;
  };
  for (int64_t before = 0; before < reversed(i % lanes); ++before)
    place += (count - reversed(before) + lanes - 1) / lanes;
  return place;
}

// Calls visit(move, byte of the row, byte of the panel) for block `b` (of the type's own) of row r.
template <class Visit>
void each_move(DType type, int64_t k, int64_t b, int64_t r, const Visit& visit) {
  const PanelForm form = panel_form(type);
  const PanelParts parts = panel_parts(type, k);
  const DTypeInfo& info = dtype_info(type);
  const int64_t inside = info.block / 32;
  int64_t base[8][3];
  for (int64_t i = 0; i < inside; ++i) {
    const int64_t place = lane_place(b * inside + i, k / 32, 8);
    base[i][kCodes] = place * form.codes, base[i][kScales] = parts.scales + place * form.scales;
    base[i][kHead] = parts.head + b * form.head;
  }
  const Moves& m = moves_of(type);
  for (int i = 0; i < m.count; ++i) {
    const Move& move = m.list[static_cast<size_t>(i)];
    visit(move, move.from, base[move.block][move.part] + move.to + r * move.stride);
  }
}

constexpr uint32_t low_bits(int bits) { return (1u << bits) - 1; }

// One block of a row in a panel, as it was in the row.
void restore_block(DType type, int64_t k, const uint8_t* panel, int64_t b, int64_t r, uint8_t* block) {
  std::memset(block, 0, dtype_info(type).bytes);
  each_move(type, k, b, r, [&](const Move& move, int64_t from, int64_t at) {
    const uint32_t value = (panel[at] ^ move.flip) >> move.to_bit & low_bits(move.bits);
    block[from] = static_cast<uint8_t>(block[from] | value << move.from_bit);
  });
}

// Where column c of row r of 16-bit floats lies.
int64_t plain_place(DType type, int64_t k, int64_t c, int64_t r) {
  if (type == DType::kF16) return (lane_place(c, k, 16) * kPanelRows + r) * 2;
  return (lane_place(c / 2, (k + 1) / 2, 16) * kPanelRows + r) * 4 + c % 2 * 2;
}

bool is_plain(DType type) { return !is_quantised(type); }

const uint8_t* panel_at(const Tensor& weight, int64_t row) {
  return reinterpret_cast<const uint8_t*>(weight.row(row / kPanelRows * kPanelRows));
}

}  // namespace

Tensor make_panels(void* data, DType type, int64_t rows, int64_t k) {
  Tensor out = make_tensor(data, type, {rows, k});
  out.layout = Layout::kPanels;
  out.row_bytes = panel_parts(type, k).bytes / kPanelRows;
  return out;
}

void pack_panel(const Tensor& weight, int64_t row, std::byte* panel) {
  const int64_t k = weight.cols(), rows = std::min(kPanelRows, weight.rows() - row);
  auto* out = reinterpret_cast<uint8_t*>(panel);
  std::memset(out, 0, static_cast<size_t>(panel_parts(weight.dtype, k).bytes));
  if (is_plain(weight.dtype)) {
    for (int64_t c = 0; c < k; ++c) {
      const int64_t place = plain_place(weight.dtype, k, c, 0), stride = weight.dtype == DType::kF16 ? 2 : 4;
      for (int64_t r = 0; r < rows; ++r) std::memcpy(out + place + r * stride, weight.row(row + r) + 2 * c, 2);
    }
    return;
  }
  const DTypeInfo& info = dtype_info(weight.dtype);
  for (int64_t b = 0; b < k / info.block; ++b) {
    for (int64_t r = 0; r < rows; ++r) {
      const auto* block = reinterpret_cast<const uint8_t*>(weight.row(row + r)) + b * info.bytes;
      each_move(weight.dtype, k, b, r, [&](const Move& move, int64_t from, int64_t at) {
        const uint32_t value = (block[from] ^ move.flip) >> move.from_bit & low_bits(move.bits);
        out[at] = static_cast<uint8_t>(out[at] | value << move.to_bit);
      });
    }
  }
}

void panel_row(const Tensor& weight, int64_t row, std::byte* bytes) {
  const int64_t k = weight.cols(), r = row % kPanelRows;
  const uint8_t* panel = panel_at(weight, row);
  auto* out = reinterpret_cast<uint8_t*>(bytes);
  if (is_plain(weight.dtype)) {
    for (int64_t c = 0; c < k; ++c) std::memcpy(out + 2 * c, panel + plain_place(weight.dtype, k, c, r), 2);
    return;
  }
  const DTypeInfo& info = dtype_info(weight.dtype);
  for (int64_t b = 0; b < k / info.block; ++b) restore_block(weight.dtype, k, panel, b, r, out + b * info.bytes);
}

void decode_row(const Tensor& weight, int64_t row, float* values) {
  if (weight.layout == Layout::kRows) return decode(weight.dtype, weight.row(row), values, weight.cols());
  const int64_t k = weight.cols(), r = row % kPanelRows;
  const uint8_t* panel = panel_at(weight, row);
  if (is_plain(weight.dtype)) {
    for (int64_t c = 0; c < k; ++c) decode(weight.dtype, panel + plain_place(weight.dtype, k, c, r), values + c, 1);
    return;
  }
  const int64_t block = dtype_info(weight.dtype).block;
  uint8_t bytes[sizeof(BlockQ6_K)];
  for (int64_t b = 0; b < k / block; ++b) {
    restore_block(weight.dtype, k, panel, b, r, bytes);
    decode(weight.dtype, bytes, values + b * block, block);
  }
}

}  // namespace moiety
