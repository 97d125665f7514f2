// Memory: where a backend's kernels read and write, if that is not the host's. The plan places every value in the
// memory of the backend that writes it and adds a transfer where a kernel elsewhere reads it.
#pragma once

#include <cstddef>

namespace moiety {

class Memory {
 public:
  virtual ~Memory() = default;
  // Aligned to kAlignment; the host must not touch it. Throws Error kOutOfMemory.
  virtual std::byte* allocate(size_t bytes) = 0;
  virtual void release(std::byte* data) noexcept = 0;
  // `device` points into what allocate() gave. Both come after the kernels that were started before, and have ended
  // when they return.
  virtual void upload(std::byte* device, const std::byte* host, size_t bytes) noexcept = 0;
  virtual void download(std::byte* host, const std::byte* device, size_t bytes) noexcept = 0;
};

}  // namespace moiety
