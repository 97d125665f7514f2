#include "core/tensor.h"

#include <fmt/format.h>

namespace moiety {

Tensor make_tensor(void* data, DType dtype, std::initializer_list<int64_t> shape) {
  Tensor tensor;
  tensor.data = static_cast<std::byte*>(data);
  tensor.dtype = dtype;
  for (int64_t n : shape) tensor.shape[static_cast<size_t>(tensor.rank++)] = n;
  tensor.row_bytes = static_cast<int64_t>(dtype_bytes(dtype, tensor.cols()));
  return tensor;
}

Tensor slice_rows(const Tensor& tensor, int64_t first, int64_t count) {
  Tensor slice = tensor;
  slice.data = tensor.row(first);
  slice.rank = 2;
  slice.shape = {count, tensor.cols(), 0, 0};
  return slice;
}

std::string shape_string(const Tensor& tensor) {
  std::string out = "[";
  for (int i = 0; i < tensor.rank; ++i) out += fmt::format("{}{}", i ? ", " : "", tensor.dim(i));
  return out + "] " + dtype_info(tensor.dtype).name + (tensor.layout == Layout::kPanels ? " panels" : "");
}

}  // namespace moiety
