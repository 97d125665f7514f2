#include "weights/weight_store.h"

#include <algorithm>
#include <functional>

#include "core/error.h"

namespace moiety {

std::byte* WeightStore::own(Buffer buffer) {
  buffers_.push_back(std::move(buffer));
  return buffers_.back().data();
}

void WeightStore::add(std::string name, Weight weight) {
  const Tensor& t = weight.tensor;
  if (t.dtype == DType::kI32) {  // integers are no weights
    const auto shape = fmt::format("[{}]", fmt::join(t.shape.begin(), t.shape.begin() + t.rank, ", "));
    return add({std::move(name), dtype_info(t.dtype).name, shape, t.bytes(), weight.origin});
  }
  const std::string origin = weight.origin;
  auto [it, inserted] = weights_.try_emplace(name, std::move(weight));
  if (!inserted) {
    fail(Status::kFormat, "{}: tensor '{}' is there twice, first at {}", origin, printable(name), it->second.origin);
  }
  names_.push_back(std::move(name));
}

void WeightStore::add(UnsupportedWeight weight) { unsupported_.push_back(std::move(weight)); }

const Weight* WeightStore::find(std::string_view name) const {
  auto it = weights_.find(name);
  if (it != weights_.end()) return &it->second;
  for (const UnsupportedWeight& weight : unsupported_) {
    if (weight.name == name)
      fail(Status::kUnsupported, "{} has the type {}, which is not supported", weight.origin, printable(weight.type));
  }
  return nullptr;
}

const Weight& WeightStore::require(std::string_view name) const {
  if (const Weight* weight = find(name)) return *weight;
  fail(Status::kFormat, "{}: tensor '{}' is missing", files_.empty() ? "model" : printable(files_.front()->name()),
       printable(name));
}

const MappedFile* WeightStore::file_of(const std::byte* at) const {
  const auto holds = [&](const auto& file) {
    return std::less_equal<>()(file->bytes().data(), at) && std::less<>()(at, file->bytes().data() + file->size());
  };
  const auto found = std::ranges::find_if(files_, holds);
  return found == files_.end() ? nullptr : found->get();
}

void WeightStore::read(const std::byte* at, std::span<std::byte> out) const {
  const MappedFile* file = file_of(at);
  if (!file) fail(Status::kInternal, "an address outside the model's files was to be read");
  file->read(static_cast<uint64_t>(at - file->bytes().data()), out);
}

size_t WeightStore::bytes(MemoryClass memory) const {
  size_t total = 0;
  for (const auto& [name, weight] : weights_) {
    if (weight.memory == memory) total += weight.tensor.bytes();
  }
  return total;
}

}  // namespace moiety
