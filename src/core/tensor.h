// Tensor: a trivially copyable view. It owns nothing; Buffer, Arena, MappedFile and KvCache own.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include "core/dtype.h"

namespace moiety {

inline constexpr int kMaxRank = 4;
inline constexpr int64_t kPanelRows = 16;  // weight rows that the kernels work on together

// How a matrix lies in memory. kPanels (panels.h): kPanelRows rows lie together, interleaved, and the last panel is
// whole; row() is then where a panel begins, for the multiples of kPanelRows alone.
enum class Layout : uint8_t { kRows, kPanels };

// Shapes are listed outermost first; rows are contiguous along the last dimension.
struct Tensor {
  std::byte* data = nullptr;
  DType dtype = DType::kF32;
  int rank = 0;
  std::array<int64_t, kMaxRank> shape{};
  int64_t row_bytes = 0;  // bytes from one row (last dimension) to the next; rows of higher dimensions follow densely
  Layout layout = Layout::kRows;  // kPanels: rank 2, row_bytes is the part of a row in its panel

  int64_t dim(int i) const { return shape[static_cast<size_t>(i)]; }
  int64_t cols() const { return rank ? shape[static_cast<size_t>(rank - 1)] : 1; }
  int64_t rows() const {
    int64_t n = 1;
    for (int i = 0; i + 1 < rank; ++i) n *= shape[static_cast<size_t>(i)];
    return n;
  }
  int64_t elements() const { return rows() * cols(); }
  size_t bytes() const {
    if (layout == Layout::kPanels)
      return static_cast<size_t>((rows() + kPanelRows - 1) / kPanelRows * kPanelRows * row_bytes);
    return static_cast<size_t>(rows()) * dtype_bytes(dtype, cols());
  }
  std::byte* row(int64_t i) const { return data + i * row_bytes; }
  template <class T>
  T* as() const { return reinterpret_cast<T*>(data); }
  explicit operator bool() const { return data != nullptr; }
};

// A dense tensor over `data`.
Tensor make_tensor(void* data, DType dtype, std::initializer_list<int64_t> shape);

// Rows [first, first + count) of a tensor, as a rank-2 view.
Tensor slice_rows(const Tensor& tensor, int64_t first, int64_t count);

std::string shape_string(const Tensor& tensor);  // "[64, 1024, 2048] q4_0", "[1024, 2048] q4_0 panels"

}  // namespace moiety
