// Byte pair encoding of one word: the pair of the lowest rank is merged first, the leftmost of equals.
// O(n log n) in time, constant stack.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "text/vocab.h"

namespace moiety::text {

// (left, right) -> (rank, merged id). Open addressing, read-only once filled.
class MergeTable {
 public:
  struct Merge {
    uint32_t rank;
    int32_t id;
  };
  void reserve(size_t count);
  void put(int32_t left, int32_t right, Merge merge);  // the last of equal pairs counts
  void put_if_better(int32_t left, int32_t right, Merge merge);
  const Merge* find(int32_t left, int32_t right) const;

 private:
  struct Slot {
    uint64_t key = ~uint64_t{0};
    Merge merge{0, -1};
  };
  Slot& slot_of(uint64_t key);
  std::vector<Slot> slots_;
  size_t size_ = 0;
  int shift_ = 64;
};

// Words of one encode() call that were seen already, as ranges of the output. Direct-mapped: a miss costs one compare.
class WordCache {
 public:
  explicit WordCache(size_t text_bytes);
  struct Entry {
    std::string_view word;
    uint32_t first = 0, count = 0;
  };
  Entry* slot(std::string_view word);  // null if this word is not worth caching

 private:
  std::vector<Entry> entries_;
};

class Bpe {
 public:
  // How a word's first symbols are found.
  enum class Symbols : uint8_t { kBytes, kChars };

  // Scratch space of one encode() call.
  struct Scratch {
    explicit Scratch(size_t text_bytes) : cache(text_bytes) {}
    struct Symbol {
      int32_t id, prev, next;
    };
    struct Candidate {
      uint64_t key;  // rank, then position: smaller is better
      int32_t id;
    };
    std::vector<Symbol> symbols;
    std::vector<Candidate> heap;
    std::vector<int32_t> small;
    std::string spelled;
    WordCache cache;
  };

  Symbols symbols = Symbols::kBytes;
  bool ignore_merges = false;  // a word that is a token stays whole
  bool fuse_unk = false;
  bool byte_fallback = false;        // a character without a token becomes its bytes' tokens
  int32_t unk = -1;                  // -1: characters without a token vanish
  std::string continuing_prefix, end_suffix;
  std::array<int32_t, 256> byte_ids{};  // kBytes: the byte's token; kChars: its fallback token; -1: none
  MergeTable merges;
  TextIndex words;       // by what the pipeline hands over: raw bytes (kBytes) or text (kChars)
  int32_t pseudo = 0;    // ids from here on stand for characters that are in merges but are no token
  std::vector<std::string> pseudo_text;  // empty: each of them becomes one `unk`
  std::deque<std::string> word_texts;  // keeps what `words` points to, where it is not the vocabulary

  // Appends the ids of one word. `out` is also where cached words are copied from.
  void encode(std::string_view word, std::vector<int32_t>& out, Scratch& scratch) const;

 private:
  void first_symbols(std::string_view word, Scratch& scratch) const;
  void merge_small(std::vector<int32_t>& ids) const;
  void merge_large(Scratch& scratch) const;
  void append(int32_t id, std::vector<int32_t>& out) const;
};

}  // namespace moiety::text
