// ExpertBank: the experts of one layer as views, so that fused [E, N, K] tensors and one tensor an expert look alike.
// Kernels ask the bank for an expert's views in each step and keep no weight pointer.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "core/tensor.h"

namespace moiety {

class ExpertCache;

// One expert: h = act(gate x) * (up x), y = down h. Without `gate` the expert is down act(up x) (fc1, fc2).
struct Expert {
  Tensor gate, up;                 // [F, D]; gate may be absent
  Tensor down;                     // [D, F]
  Tensor gate_bias, up_bias;       // [F], f32, f16 or bf16, or absent
  Tensor down_bias;                // [D], the same

  std::array<Tensor*, 6> tensors() { return {&gate, &up, &down, &gate_bias, &up_bias, &down_bias}; }
  std::array<const Tensor*, 6> tensors() const { return {&gate, &up, &down, &gate_bias, &up_bias, &down_bias}; }
};

// What biases may be.
inline bool is_bias_type(DType type) { return type == DType::kF32 || type == DType::kF16 || type == DType::kBF16; }

class ExpertBank {
 public:
  ExpertBank(std::string name, std::vector<Expert> experts) : name_(std::move(name)), experts_(std::move(experts)) {}
  const std::string& name() const { return name_; }  // "model.layers.3.mlp.experts"
  int size() const { return static_cast<int>(experts_.size()); }
  // Where the expert lies now: in its file, or in the cache.
  const Expert& expert(int id) const { return experts_[static_cast<size_t>(id)]; }
  // Under a memory budget: who brings experts into memory for a step; an expert that was not brought lies in its file.
  // Null: all stay where they are.
  ExpertCache* cache() const { return cache_; }

 private:
  friend class ExpertCache;
  std::string name_;
  std::vector<Expert> experts_;
  ExpertCache* cache_ = nullptr;
};

}  // namespace moiety
