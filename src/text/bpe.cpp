#include "text/bpe.h"

#include <algorithm>
#include <bit>

#include "text/unicode.h"

namespace moiety::text {

namespace {

uint64_t pair_key(int32_t left, int32_t right) {
  return (uint64_t{static_cast<uint32_t>(left)} << 32) | static_cast<uint32_t>(right);
}

constexpr uint64_t kFree = ~uint64_t{0};

// Below this length a scan for the best pair is faster than a heap.
constexpr size_t kSmallWord = 24;

}  // namespace

void MergeTable::reserve(size_t count) {
  const size_t wanted = std::bit_ceil(std::max<size_t>(16, count * 2));
  if (wanted <= slots_.size()) return;
  std::vector<Slot> old(wanted);
  old.swap(slots_);
  shift_ = 64 - std::countr_zero(wanted);
  for (const Slot& slot : old) {
    if (slot.key != kFree) slot_of(slot.key) = slot;
  }
}

MergeTable::Slot& MergeTable::slot_of(uint64_t key) {
  size_t at = static_cast<size_t>((key * 0x9E3779B97F4A7C15ull) >> shift_);
  while (slots_[at].key != kFree && slots_[at].key != key) at = (at + 1) & (slots_.size() - 1);
  return slots_[at];
}

void MergeTable::put(int32_t left, int32_t right, Merge merge) {
  if ((size_ + 1) * 2 > slots_.size()) reserve(std::max<size_t>(16, slots_.size()));
  Slot& slot = slot_of(pair_key(left, right));
  if (slot.key == kFree) ++size_;
  slot = {pair_key(left, right), merge};
}

void MergeTable::put_if_better(int32_t left, int32_t right, Merge merge) {
  const Merge* known = find(left, right);
  if (known == nullptr || merge.rank < known->rank) put(left, right, merge);
}

const MergeTable::Merge* MergeTable::find(int32_t left, int32_t right) const {
  if (slots_.empty()) return nullptr;
  const uint64_t key = pair_key(left, right);
  size_t at = static_cast<size_t>((key * 0x9E3779B97F4A7C15ull) >> shift_);
  for (; slots_[at].key != kFree; at = (at + 1) & (slots_.size() - 1)) {
    if (slots_[at].key == key) return &slots_[at].merge;
  }
  return nullptr;
}

WordCache::WordCache(size_t text_bytes) {
  // A short text gains nothing; a long one repeats its words.
  if (text_bytes >= 512) entries_.resize(std::bit_ceil(std::min<size_t>(text_bytes / 8, 16384)));
}

WordCache::Entry* WordCache::slot(std::string_view word) {
  if (entries_.empty() || word.size() > 64 || word.size() < 2) return nullptr;
  const size_t hash = std::hash<std::string_view>{}(word);
  return &entries_[(hash ^ (hash >> 32)) & (entries_.size() - 1)];
}

void Bpe::append(int32_t id, std::vector<int32_t>& out) const {
  if (id < pseudo) {
    out.push_back(id);
    return;
  }
  if (pseudo_text.empty()) {
    if (unk >= 0) out.push_back(unk);
    return;
  }
  for (const char c : pseudo_text[static_cast<size_t>(id - pseudo)]) {
    const int32_t byte_id = byte_ids[static_cast<uint8_t>(c)];
    if (byte_id >= 0) out.push_back(byte_id);
    else if (unk >= 0) out.push_back(unk);
  }
}

void Bpe::encode(std::string_view word, std::vector<int32_t>& out, Scratch& scratch) const {
  if (word.empty()) return;
  WordCache::Entry* entry = scratch.cache.slot(word);
  if (entry != nullptr && entry->word == word) {
    const size_t first = out.size();
    out.resize(first + entry->count);
    std::copy_n(out.begin() + entry->first, entry->count, out.begin() + static_cast<std::ptrdiff_t>(first));
    return;
  }
  const size_t before = out.size();
  const int32_t whole = ignore_merges ? words.find(word) : -1;
  if (whole >= 0) {
    out.push_back(whole);
  } else {
    first_symbols(word, scratch);
    if (scratch.small.size() <= kSmallWord) merge_small(scratch.small);
    else merge_large(scratch);
    for (const int32_t id : scratch.small) append(id, out);
  }
  if (entry != nullptr) {
    *entry = {word, static_cast<uint32_t>(before), static_cast<uint32_t>(out.size() - before)};
  }
}

void Bpe::first_symbols(std::string_view word, Scratch& scratch) const {
  auto& ids = scratch.small;
  ids.clear();
  if (symbols == Symbols::kBytes) {
    for (const char c : word) {
      const int32_t id = byte_ids[static_cast<uint8_t>(c)];
      if (id >= 0) ids.push_back(id);
      else if (unk >= 0 && !(fuse_unk && !ids.empty() && ids.back() == unk)) ids.push_back(unk);
    }
    return;
  }
  bool unknown = false;  // an unknown token that waits: the next one may be fused with it
  for (size_t at = 0; at < word.size();) {
    const size_t bytes = decode_char(word, at).bytes;
    std::string_view piece = word.substr(at, bytes);
    const bool affixed = (at > 0 && !continuing_prefix.empty()) || (at + bytes == word.size() && !end_suffix.empty());
    if (affixed) {
      scratch.spelled = at > 0 ? continuing_prefix : std::string();
      scratch.spelled += piece;
      if (at + bytes == word.size()) scratch.spelled += end_suffix;
      piece = scratch.spelled;
    }
    at += bytes;
    const int32_t id = words.find(piece);
    if (id >= 0) {
      if (unknown) ids.push_back(unk);
      unknown = false;
      ids.push_back(id);
      continue;
    }
    auto has_byte = [&](char c) { return byte_ids[static_cast<uint8_t>(c)] >= 0; };
    if (byte_fallback && std::all_of(piece.begin(), piece.end(), has_byte)) {
      for (const char c : piece) ids.push_back(byte_ids[static_cast<uint8_t>(c)]);
    } else if (unk >= 0) {
      if (unknown && !fuse_unk) ids.push_back(unk);
      unknown = true;
    }
  }
  if (unknown) ids.push_back(unk);
}

void Bpe::merge_small(std::vector<int32_t>& ids) const {
  // ranks[i] belongs to the pair (i, i + 1).
  MergeTable::Merge found[kSmallWord];
  size_t n = ids.size();
  auto look = [&](size_t i) {
    const auto* merge = merges.find(ids[i], ids[i + 1]);
    found[i] = merge ? *merge : MergeTable::Merge{~uint32_t{0}, -1};
  };
  for (size_t i = 0; i + 1 < n; ++i) look(i);
  while (n > 1) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < n; ++i) {
      if (found[i].rank < found[best].rank) best = i;
    }
    if (found[best].id < 0) break;
    ids[best] = found[best].id;
    for (size_t i = best + 1; i + 1 < n; ++i) {
      ids[i] = ids[i + 1];
      found[i] = found[i + 1];
    }
    --n;
    if (best + 1 < n) look(best);
    if (best > 0) look(best - 1);
  }
  ids.resize(n);
}

void Bpe::merge_large(Scratch& scratch) const {
  auto& symbols_of = scratch.symbols;
  auto& heap = scratch.heap;
  const size_t n = scratch.small.size();
  symbols_of.resize(n);
  heap.clear();
  auto worse = [](const Scratch::Candidate& a, const Scratch::Candidate& b) { return a.key > b.key; };
  auto candidate = [&](int32_t left, int32_t right) {
    const auto* merge = merges.find(symbols_of[static_cast<size_t>(left)].id, symbols_of[static_cast<size_t>(right)].id);
    if (merge == nullptr) return false;
    heap.push_back({(uint64_t{merge->rank} << 32) | static_cast<uint32_t>(left), merge->id});
    return true;
  };
  for (size_t i = 0; i < n; ++i) {
    const auto at = static_cast<int32_t>(i);
    symbols_of[i] = {scratch.small[i], at - 1, i + 1 < n ? at + 1 : -1};
  }
  for (size_t i = 0; i + 1 < n; ++i) candidate(static_cast<int32_t>(i), static_cast<int32_t>(i + 1));
  std::make_heap(heap.begin(), heap.end(), worse);
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), worse);
    const Scratch::Candidate top = heap.back();
    heap.pop_back();
    const auto left = static_cast<int32_t>(top.key & 0xFFFFFFFFu);
    auto& symbol = symbols_of[static_cast<size_t>(left)];
    if (symbol.id < 0 || symbol.next < 0) continue;
    auto& right = symbols_of[static_cast<size_t>(symbol.next)];
    // An entry is stale when one of its sides has been merged since.
    const auto* merge = merges.find(symbol.id, right.id);
    if (merge == nullptr || merge->id != top.id) continue;
    symbol.id = top.id;
    symbol.next = right.next;
    right.id = -1;
    if (symbol.next >= 0) symbols_of[static_cast<size_t>(symbol.next)].prev = left;
    if (symbol.prev >= 0 && candidate(symbol.prev, left)) std::push_heap(heap.begin(), heap.end(), worse);
    if (symbol.next >= 0 && candidate(left, symbol.next)) std::push_heap(heap.begin(), heap.end(), worse);
  }
  scratch.small.clear();
  for (const auto& symbol : symbols_of) {
    if (symbol.id >= 0) scratch.small.push_back(symbol.id);
  }
}

}  // namespace moiety::text
