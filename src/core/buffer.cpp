#include "core/buffer.h"

#include <sys/mman.h>

#include <cstdint>

namespace moiety {

void advise_huge_pages(std::byte* at, size_t bytes) {
  const auto begin = reinterpret_cast<uintptr_t>(at), first = align_up(begin, kHugePage);
  const uintptr_t end = (begin + bytes) / kHugePage * kHugePage;
  if (end > first) ::madvise(reinterpret_cast<void*>(first), end - first, MADV_HUGEPAGE);
}

}  // namespace moiety
