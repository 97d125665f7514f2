#include "text/vocab.h"

#include <algorithm>
#include <bit>

namespace moiety::text {

namespace {
uint32_t hash_of(std::string_view text) {
  const size_t h = std::hash<std::string_view>{}(text);
  return static_cast<uint32_t>(h ^ (h >> 32));
}
}  // namespace

void TextIndex::reserve(size_t count) { grow(std::bit_ceil(std::max<size_t>(16, count * 2))); }

void TextIndex::grow(size_t slots) {
  if (slots <= slots_.size()) return;
  std::vector<Slot> old(slots);
  old.swap(slots_);
  for (const Slot& slot : old) {
    if (slot.id < 0) continue;
    size_t at = slot.hash & (slots - 1);
    while (slots_[at].id >= 0) at = (at + 1) & (slots - 1);
    slots_[at] = slot;
  }
}

bool TextIndex::insert(std::string_view text, int32_t id) {
  if ((size_ + 1) * 2 > slots_.size()) grow(std::max<size_t>(16, slots_.size() * 2));
  const uint32_t hash = hash_of(text);
  size_t at = hash & (slots_.size() - 1);
  for (; slots_[at].id >= 0; at = (at + 1) & (slots_.size() - 1)) {
    if (slots_[at].hash == hash && slots_[at].text == text) return false;
  }
  slots_[at] = {text, hash, id};
  ++size_;
  return true;
}

int32_t TextIndex::find(std::string_view text) const {
  if (slots_.empty()) return -1;
  const uint32_t hash = hash_of(text);
  for (size_t at = hash & (slots_.size() - 1); slots_[at].id >= 0; at = (at + 1) & (slots_.size() - 1)) {
    if (slots_[at].hash == hash && slots_[at].text == text) return slots_[at].id;
  }
  return -1;
}

void Vocab::reserve(size_t size, size_t bytes) {
  texts_.reserve(size);
  index_.reserve(size);
  arena_.emplace_back().reserve(bytes);
}

std::string_view Vocab::keep(std::string_view text) {
  constexpr size_t kChunk = size_t{1} << 16;
  if (arena_.empty() || arena_.back().capacity() - arena_.back().size() < text.size() + 1) {
    arena_.emplace_back().reserve(std::max(kChunk, text.size() + 1));
  }
  auto& chunk = arena_.back();
  const char* start = chunk.data() + chunk.size();
  chunk.insert(chunk.end(), text.begin(), text.end());
  chunk.push_back('\0');  // so an empty text has an address of its own too
  return {start, text.size()};
}

bool Vocab::add(std::string_view text, int32_t id) {
  if (id >= size()) texts_.resize(static_cast<size_t>(id) + 1);
  if (texts_[static_cast<size_t>(id)].data() != nullptr) return false;
  const std::string_view kept = keep(text);
  texts_[static_cast<size_t>(id)] = kept;
  return index_.insert(kept, id);
}

}  // namespace moiety::text
