// ExpertBank: the experts of one layer as views, so that fused [E, N, K] tensors and one tensor an expert look alike.
// Kernels ask the bank for an expert's views in each step and keep no weight pointer.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/tensor.h"

namespace moiety {

// One expert: h = act(gate x) * (up x), y = down h. Without `gate` the expert is down act(up x) (fc1, fc2).
struct Expert {
  Tensor gate, up;                 // [F, D]; gate may be absent
  Tensor down;                     // [D, F]
  Tensor gate_bias, up_bias;       // [F], f32, f16 or bf16, or absent
  Tensor down_bias;                // [D], the same
};

// What biases may be.
inline bool is_bias_type(DType type) { return type == DType::kF32 || type == DType::kF16 || type == DType::kBF16; }

class ExpertBank {
 public:
  ExpertBank(std::string name, std::vector<Expert> experts) : name_(std::move(name)), experts_(std::move(experts)) {}
  const std::string& name() const { return name_; }  // "model.layers.3.mlp.experts"
  int size() const { return static_cast<int>(experts_.size()); }
  const Expert& expert(int id) const { return experts_[static_cast<size_t>(id)]; }

 private:
  std::string name_;
  std::vector<Expert> experts_;
};

}  // namespace moiety
