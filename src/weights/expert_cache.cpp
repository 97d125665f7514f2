#include "weights/expert_cache.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "core/error.h"

namespace moiety {
namespace {

// Calls f(tensor, offset) for an expert's tensors and where they lie in a slot; returns the bytes of all.
template <class E, class F>
size_t lay_out(E& expert, const F& f) {
  size_t used = 0;
  for (auto* tensor : expert.tensors()) {
    if (!*tensor) continue;
    f(*tensor, used);
    used += align_up(tensor->bytes(), kAlignment);
  }
  return used;
}

constexpr double kKeep = 1 - 1.0 / 16;  // what a call leaves of the weight of those before it

}  // namespace

size_t ExpertCache::slot_bytes(std::span<ExpertBank* const> banks) {
  size_t bytes = 0;
  for (const ExpertBank* bank : banks) {
    for (const Expert& expert : bank->experts_) bytes = std::max(bytes, lay_out(expert, [](const Tensor&, size_t) {}));
  }
  return bytes;
}

ExpertCache::ExpertCache(std::vector<ExpertBank*> banks, const WeightStore& store, size_t bytes)
    : banks_(std::move(banks)), store_(store), slot_bytes_(slot_bytes(banks_)) {
  for (ExpertBank* bank : banks_) {
    std::vector<Place>& places = places_.emplace_back();
    for (const Expert& expert : bank->experts_) places.push_back({expert});
    experts_ += bank->size();
    calls_.push_back(0);
    bank->cache_ = this;
  }
  const auto fit = static_cast<size_t>(experts_);
  slots_.resize(slot_bytes_ ? std::min(bytes / slot_bytes_, fit) : fit);
  if (slots_.empty()) fail(Status::kInternal, "an expert cache of {} bytes, an expert takes {}", bytes, slot_bytes_);
  memory_ = Buffer(slots_.size() * slot_bytes_);
  advise_huge_pages(memory_.data(), memory_.size());  // a slot is read from end to end
}

ExpertCache::~ExpertCache() {
  for (Slot& slot : slots_) empty(slot);
  for (ExpertBank* bank : banks_) bank->cache_ = nullptr;
}

size_t ExpertCache::index(const ExpertBank& bank) const {
  return static_cast<size_t>(std::ranges::find(banks_, &bank) - banks_.begin());
}

void ExpertCache::empty(Slot& slot) {
  if (slot.expert < 0) return;
  const auto bank = static_cast<size_t>(slot.bank), expert = static_cast<size_t>(slot.expert);
  places_[bank][expert].slot = kNowhere;
  banks_[bank]->experts_[expert] = places_[bank][expert].stored;
  slot = {};
}

// In how many banks' time the expert is expected to be used again. Banks take turns, so the one that has just run comes
// last; an expert that a share p of its bank's calls use is used again after 1/p of them. (Leaving by the longest time
// since the last use would drop each expert just before its turn where a token's experts do not fit.)
double ExpertCache::expected_wait(const Slot& slot, size_t current) const {
  const auto bank = static_cast<size_t>(slot.bank);
  const Place& p = places_[bank][static_cast<size_t>(slot.expert)];
  const double share = p.share * std::pow(kKeep, static_cast<double>(calls_[bank] - p.used));
  const size_t turn = bank > current ? bank - current : bank + banks_.size() - current;
  return static_cast<double>(turn) + static_cast<double>(banks_.size()) * (1 / std::max(share, 1e-9) - 1);
}

// A slot, emptied; never one of this call, which has no more experts than there are slots.
int32_t ExpertCache::make_room(size_t current) {
  size_t best = slots_.size();
  double longest = -1;
  for (size_t i = 0; i < slots_.size(); ++i) {
    if (slots_[i].busy) continue;
    if (slots_[i].expert < 0) {
      best = i;
      break;
    }
    const double wait = expected_wait(slots_[i], current);
    if (wait > longest) longest = wait, best = i;
  }
  empty(slots_[best]);
  return static_cast<int32_t>(best);
}

void ExpertCache::read_expert(const Expert& stored, std::byte* memory) const {
  lay_out(stored, [&](const Tensor& t, size_t offset) { store_.read(t.data, {memory + offset, t.bytes()}); });
}

void ExpertCache::acquire(const ExpertBank& bank, std::span<const int32_t> ids, Threads& threads) {
  if (ids.size() > slots_.size()) fail(Status::kInternal, "{} experts for {} slots", ids.size(), slots_.size());
  const size_t b = index(bank);
  const uint64_t call = ++calls_[b];
  counts_.uses += ids.size();
  for (Slot& slot : slots_) slot.busy = false;
  std::vector<int32_t> missing;
  for (const int32_t id : ids) {
    Place& place = places_[b][static_cast<size_t>(id)];
    place.share = place.share * std::pow(kKeep, static_cast<double>(call - place.used)) + (1 - kKeep);
    place.used = call;
    if (place.slot == kNowhere) missing.push_back(id);
    else slots_[static_cast<size_t>(place.slot)].busy = true;
  }
  std::vector<int32_t> targets;
  for (size_t i = 0; i < missing.size(); ++i) {
    targets.push_back(make_room(b));
    slots_[static_cast<size_t>(targets.back())].busy = true;
  }
  const auto memory = [&](size_t i) { return memory_.data() + static_cast<size_t>(targets[i]) * slot_bytes_; };
  std::vector<std::optional<Error>> errors(missing.size());
  const auto task = [&](int64_t i, int) {
    const auto n = static_cast<size_t>(i);
    try {
      read_expert(places_[b][static_cast<size_t>(missing[n])].stored, memory(n));
    } catch (const Error& error) {
      errors[n] = error;
    }
  };
  threads.run(static_cast<int64_t>(missing.size()), task);
  for (size_t i = 0; i < missing.size(); ++i) {
    Slot& slot = slots_[static_cast<size_t>(targets[i])];
    if (errors[i]) slot = {};
    if (errors[i]) continue;
    Place& place = places_[b][static_cast<size_t>(missing[i])];
    place.slot = targets[i];
    slot.bank = static_cast<int32_t>(b), slot.expert = missing[i];
    Expert& expert = banks_[b]->experts_[static_cast<size_t>(missing[i])];
    counts_.read_bytes += lay_out(expert, [&](Tensor& t, size_t offset) {
      t.data = memory(i) + offset;
    });
    ++counts_.reads;
  }
  for (const auto& error : errors) {
    if (error) throw *error;
  }
}

}  // namespace moiety
