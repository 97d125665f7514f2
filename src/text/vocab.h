// Vocab: token texts by id and ids by text. Filled once, then read-only.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace moiety::text {

// Open-addressing map from text to id; the texts live in a Vocab or another arena that outlives it.
class TextIndex {
 public:
  void reserve(size_t count);
  // Adds text -> id; an entry that is already there keeps its id, and false comes back.
  bool insert(std::string_view text, int32_t id);
  int32_t find(std::string_view text) const;  // -1: not there
  size_t size() const { return size_; }

 private:
  struct Slot {
    std::string_view text;
    uint32_t hash = 0;
    int32_t id = -1;  // -1: free
  };
  void grow(size_t slots);
  std::vector<Slot> slots_;
  size_t size_ = 0;
};

class Vocab {
 public:
  // Space for ids 0 <= id < size; texts are copied into one arena of `bytes` bytes in all.
  void reserve(size_t size, size_t bytes);
  // False if the text is there already (with another id) or the id is taken.
  bool add(std::string_view text, int32_t id);
  void resize(size_t size) { texts_.resize(size); }  // ids that were not added are holes
  int32_t find(std::string_view text) const { return index_.find(text); }
  std::string_view text(int32_t id) const { return texts_[static_cast<size_t>(id)]; }
  bool has(int32_t id) const { return id >= 0 && id < size() && texts_[static_cast<size_t>(id)].data() != nullptr; }
  int32_t size() const { return static_cast<int32_t>(texts_.size()); }

 private:
  std::string_view keep(std::string_view text);
  std::vector<std::vector<char>> arena_;  // chunks never move
  std::vector<std::string_view> texts_;
  TextIndex index_;
};

}  // namespace moiety::text
