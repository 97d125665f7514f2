// ExpertCache: a fixed amount of memory for the experts of a model. A step's experts are read from their files; those make
// room whose next use is expected last. What it holds is its own memory: no page of a mapping is touched.
// One user at a time: the step that runs.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/buffer.h"
#include "core/threads.h"
#include "weights/expert_bank.h"
#include "weights/weight_store.h"

namespace moiety {

class ExpertCache {
 public:
  // Bytes that the largest expert of the banks takes: what the smallest cache holds.
  static size_t slot_bytes(std::span<ExpertBank* const> banks);

  // As many slots as fit into `bytes`, which hold one at least. The experts lie in mapped files of the store; banks and
  // store outlive the cache.
  ExpertCache(std::vector<ExpertBank*> banks, const WeightStore& store, size_t bytes);
  ~ExpertCache();
  ExpertCache(const ExpertCache&) = delete;
  ExpertCache& operator=(const ExpertCache&) = delete;

  int slots() const { return static_cast<int>(slots_.size()); }
  size_t bytes() const { return memory_.size(); }
  int experts() const { return experts_; }  // of all banks

  // Brings experts of a bank into memory, where they stay until the next call. At most slots() of them, each once.
  // Throws Error kIo if a file can't be read.
  void acquire(const ExpertBank& bank, std::span<const int32_t> ids, Threads& threads);

  // Bytes as they lie in the file behind a view that an expert had before any call; throws Error kIo.
  void read(const std::byte* at, std::span<std::byte> out) const { store_.read(at, out); }
  // The expert's views in its file.
  const Expert& stored(const ExpertBank& bank, int id) const { return place(bank, id).stored; }

  // Since the start: experts that steps asked for, those that had to be read, and their bytes.
  struct Counts { uint64_t uses = 0, reads = 0, read_bytes = 0; };
  const Counts& counts() const { return counts_; }

 private:
  static constexpr int32_t kNowhere = -1;
  struct Place {
    Expert stored;
    int32_t slot = kNowhere;
    double share = 0;   // of the bank's calls that used it, older ones counting less
    uint64_t used = 0;  // the bank's call that used it last
  };
  struct Slot {
    int32_t bank = -1, expert = -1;  // -1: empty
    bool busy = false;               // in this call
  };
  const Place& place(const ExpertBank& bank, int id) const { return places_[index(bank)][static_cast<size_t>(id)]; }
  size_t index(const ExpertBank& bank) const;
  double expected_wait(const Slot& slot, size_t current) const;
  int32_t make_room(size_t current);
  void empty(Slot& slot);
  void read_expert(const Expert& stored, std::byte* memory) const;

  std::vector<ExpertBank*> banks_;
  const WeightStore& store_;
  Buffer memory_;
  size_t slot_bytes_ = 0;
  int experts_ = 0;
  std::vector<std::vector<Place>> places_;  // [bank][expert]
  std::vector<uint64_t> calls_;             // [bank]
  std::vector<Slot> slots_;
  Counts counts_;
};

}  // namespace moiety
