// NameIndex: names to positions, and duplicates found, in O(n log n) whatever the names are: entries are sorted by hash
// and by name among equal hashes, so that names made to collide cost no more than a sort.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

namespace moiety {

class NameIndex {
 public:
  NameIndex() = default;

  // name(i) for i in [0, count): the names; they may not change or move afterwards.
  template <class Name>
  NameIndex(size_t count, const Name& name) {
    entries_.reserve(count);
    for (size_t i = 0; i < count; ++i) entries_.push_back({hash(name(i)), i});
    sort([&](size_t i) -> std::string_view { return name(i); });
  }

  // The first two positions with one name.
  std::optional<std::pair<size_t, size_t>> duplicate() const { return duplicate_; }

  // Position of `wanted`; name(i) as in the constructor.
  template <class Name>
  std::optional<size_t> find(std::string_view wanted, const Name& name) const {
    for (size_t i = lower_bound(hash(wanted)); i < entries_.size() && entries_[i].hash == hash(wanted); ++i) {
      if (name(entries_[i].position) == wanted) return entries_[i].position;
    }
    return std::nullopt;
  }

 private:
  struct Entry {
    uint64_t hash;
    size_t position;
  };
  static uint64_t hash(std::string_view name) { return std::hash<std::string_view>{}(name); }
  void sort(const std::function<std::string_view(size_t)>& name);
  size_t lower_bound(uint64_t hash) const;

  std::vector<Entry> entries_;
  std::optional<std::pair<size_t, size_t>> duplicate_;
};

}  // namespace moiety
