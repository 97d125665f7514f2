#include "formats/name_index.h"

#include <algorithm>

namespace moiety {

void NameIndex::sort(const std::function<std::string_view(size_t)>& name) {
  std::sort(entries_.begin(), entries_.end(), [&](const Entry& a, const Entry& b) {
    if (a.hash != b.hash) return a.hash < b.hash;
    const int order = name(a.position).compare(name(b.position));
    return order != 0 ? order < 0 : a.position < b.position;
  });
  for (size_t i = 1; i < entries_.size(); ++i) {
    const Entry &a = entries_[i - 1], &b = entries_[i];
    if (a.hash != b.hash || name(a.position) != name(b.position)) continue;
    if (!duplicate_ || b.position < duplicate_->second) duplicate_ = {a.position, b.position};
  }
}

size_t NameIndex::lower_bound(uint64_t hash) const {
  const auto at = std::lower_bound(entries_.begin(), entries_.end(), hash,
                                   [](const Entry& entry, uint64_t value) { return entry.hash < value; });
  return static_cast<size_t>(at - entries_.begin());
}

}  // namespace moiety
