// A kernel made of callables, for backends whose kernels are a function and what it captures.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "graph/backend.h"

namespace moiety {

// scratch(rows, workers) -> bytes, and run(call).
template <class Scratch, class Run>
class FunctionKernel final : public Kernel {
 public:
  FunctionKernel(std::string name, Scratch scratch, Run run)
      : name_(std::move(name)), scratch_(std::move(scratch)), run_(std::move(run)) {}
  std::string name() const override { return name_; }
  size_t scratch_bytes(int64_t rows, int workers) const override { return scratch_(rows, workers); }
  void run(const KernelCall& call) const noexcept override { run_(call); }

 private:
  std::string name_;
  Scratch scratch_;
  Run run_;
};

template <class Scratch, class Run>
Offer make_offer(std::string name, Scratch scratch, Run run) {
  return {std::make_unique<FunctionKernel<Scratch, Run>>(std::move(name), std::move(scratch), std::move(run)), {}};
}

template <class Run>
Offer make_offer(std::string name, Run run) {
  return make_offer(std::move(name), [](int64_t, int) { return size_t{0}; }, std::move(run));
}

inline float* row_of(const Tensor& tensor, int64_t row) { return reinterpret_cast<float*>(tensor.row(row)); }

}  // namespace moiety
