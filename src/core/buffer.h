// Buffer: aligned memory with one owner.
#pragma once

#include <cstddef>
#include <memory>
#include <new>

namespace moiety {

inline constexpr size_t kAlignment = 64;  // a cache line, and the widest vector

class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(size_t bytes)
      : data_(bytes ? static_cast<std::byte*>(::operator new(bytes, std::align_val_t{kAlignment})) : nullptr),
        size_(bytes) {}
  std::byte* data() const { return data_.get(); }
  size_t size() const { return size_; }
  template <class T>
  T* as() const { return reinterpret_cast<T*>(data_.get()); }

 private:
  struct Free {
    void operator()(std::byte* p) const { ::operator delete(p, std::align_val_t{kAlignment}); }
  };
  std::unique_ptr<std::byte, Free> data_;
  size_t size_ = 0;
};

inline constexpr size_t kHugePage = size_t{2} << 20;
// A hint: what lies in whole huge pages of [at, at + bytes) may come in them, as page walks cost (under a hypervisor,
// twice). Memory that is touched here and there then takes more.
void advise_huge_pages(std::byte* at, size_t bytes);

inline constexpr size_t align_up(size_t value, size_t alignment) { return (value + alignment - 1) / alignment * alignment; }

}  // namespace moiety
