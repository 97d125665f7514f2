// Shared by the kernel files of a level. Each is compiled once a level, with that level's flags, in its own namespace.
#pragma once

#include <hwy/highway.h>

#include <cstdint>

#include "simd/kernels.h"

// Steps that are worth a call of their own where an operation is a loop or checked: the compilers take minutes
// otherwise.
#if HWY_TARGET == HWY_EMU128 || HWY_IS_ASAN || HWY_IS_TSAN
#define MOIETY_STEP inline HWY_NOINLINE
#else
#define MOIETY_STEP HWY_INLINE
#endif

namespace moiety::simd::MOIETY_LEVEL {

namespace hn = hwy::HWY_NAMESPACE;

// 8 int32 and 8 floats are one vector, or two on 128-bit targets; 16 floats are 1, 2 or 4.
using DI = hn::CappedTag<int32_t, 8>;
using DF = hn::CappedTag<float, 8>;
using D16 = hn::CappedTag<float, 16>;
using DI16 = hn::CappedTag<int32_t, 16>;
inline constexpr DI di;
inline constexpr DF df;
inline constexpr D16 d16;
inline constexpr DI16 di16;
using VI = hn::Vec<DI>;
using VF = hn::Vec<DF>;
using V16 = hn::Vec<D16>;
inline constexpr int kParts = static_cast<int>(8 / hn::MaxLanes(df));      // vectors of 8 lanes
inline constexpr int kParts16 = static_cast<int>(16 / hn::MaxLanes(d16));  // vectors of 16 floats
inline constexpr size_t kPart = hn::MaxLanes(df);

// 8 int32, 8 floats.
struct I8 {
  VI v[kParts];
};
struct F8 {
  VF v[kParts];
};

template <class F>
HWY_INLINE F8 f8(const F& part) {
  F8 r;
  for (int p = 0; p < kParts; ++p) r.v[p] = part(p);
  return r;
}
template <class F>
HWY_INLINE I8 i8(const F& part) {
  I8 r;
  for (int p = 0; p < kParts; ++p) r.v[p] = part(p);
  return r;
}
HWY_INLINE F8 load_f8(const float* at) {
  return f8([&](int p) { return hn::LoadU(df, at + static_cast<size_t>(p) * kPart); });
}
HWY_INLINE I8 load_i8(const int32_t* at) {
  return i8([&](int p) { return hn::LoadU(di, at + static_cast<size_t>(p) * kPart); });
}

// Prefetches what a GEMV will read some microseconds later, in the order of addresses: the rows are read side by side,
// which the CPU's own prefetcher does not follow. Into L2: 24 KiB ahead into L1 is half as fast on Zen 4. To be called
// between the loads, a line at a time: prefetches in a row hold the buffers that loads need (a fifth of the speed).
class Ahead {
 public:
  // `next`: what is read after the `bytes` at `from`; null: what lies behind them; `from`: the caches have it all.
  Ahead(const uint8_t* from, int64_t bytes, const uint8_t* next)
      : at_(address(from)), due_(at_ + kDistance), end_(at_ + static_cast<uintptr_t>(bytes)),
        next_(next ? address(next) : end_) {
    if (fetched > at_ && fetched <= due_ + 256) at_ = fetched;  // the call before has announced this one, give or take a few lines
    if (next == from) at_ = kOff, end_ = kNever, due_ = 0;
  }
  // bytes: what is read until the next call. What lags behind catches up.
  template <uintptr_t bytes>
  HWY_INLINE void fetch() {
    due_ += bytes;
    for (uintptr_t line = 0; line < 2 * bytes && at_ < due_; line += 64, at_ += 64)
      __builtin_prefetch(reinterpret_cast<const void*>(at_), 0, 2);
  }
  // Once in a while: goes on to what is next.
  HWY_INLINE void turn() {
    if (at_ >= end_) at_ = next_ + (at_ - end_), due_ = next_ + (due_ - end_), end_ = kNever;
  }
  // At the end of a call.
  void done() const {
    if (at_ != kOff) fetched = at_;
  }

 private:
  // Addresses as numbers, as no object may be where they lead.
  static uintptr_t address(const uint8_t* at) { return reinterpret_cast<uintptr_t>(at); }
  static constexpr uintptr_t kNever = UINTPTR_MAX, kOff = UINTPTR_MAX - 1, kDistance = 24 << 10;
  static inline thread_local uintptr_t fetched = 0;  // how far the last one has come
  uintptr_t at_, due_, end_, next_;
};

// Fetches what is read soon, spread over the steps of a GEMM: all at once they would stall it.
class Spread {
 public:
  Spread(const Soon& soon, int64_t steps)
      : at_(soon.at), end_(soon.at + soon.bytes), each_((soon.bytes / (steps > 0 ? steps : 1) + 64) / 64 * 64) {}
  HWY_INLINE void step() {
    for (const uint8_t* end = end_ - at_ < each_ ? end_ : at_ + each_; at_ < end; at_ += 64)
      __builtin_prefetch(at_, 0, 2);
  }

 private:
  const uint8_t *at_, *end_;
  int64_t each_;
};

// The same for few tokens, whose GEMM takes no longer than memory: kBytes of `soon` a block, line by line between the
// loads of its 8 dwords of columns, with no condition on the way. Nothing to fetch: what is being read anyway.
template <int64_t kBytes>
class FetchBlocks {
 public:
  FetchBlocks(const Soon& soon, const uint8_t* here) : at_(reinterpret_cast<uintptr_t>(soon.at ? soon.at : here)) {}
  HWY_INLINE void block() { at_ += kBytes; }
  template <int k4>
  HWY_INLINE void dword() {
    constexpr int64_t kFrom = (k4 * kLines + 7) / 8, kTo = ((k4 + 1) * kLines + 7) / 8;
    for (int64_t i = kFrom; i < kTo; ++i)
      __builtin_prefetch(reinterpret_cast<const void*>(at_ + static_cast<uintptr_t>(i * kBytes / kLines)), 0, 2);
  }

 private:
  static constexpr int64_t kLines = (kBytes + 63) / 64;
  uintptr_t at_;
};

// Puts a vector of rows from r0 on of token t.
HWY_INLINE void put(const GemmOut& out, int64_t t, int64_t r0, V16 values) {
  if (t < out.tokens) hn::StoreU(values, d16, out.y + t * out.stride + r0);
}
// The same of a panel's lanes.
HWY_INLINE void put(const GemmOut& out, int64_t t, int64_t r0, V16 values, Lanes lanes) {
  if (lanes == Lanes::kLast && t < out.tokens) values = hn::Add(hn::LoadU(d16, out.y + t * out.stride + r0), values);
  put(out, t, r0, values);
}

// The fixed tree over 8 or 16 lanes.
HWY_INLINE float tree_sum(float* lanes, int count) {
  for (int half = count / 2; half; half /= 2) {
    for (int i = 0; i < half; ++i) lanes[i] += lanes[i + half];
  }
  return lanes[0];
}

}  // namespace moiety::simd::MOIETY_LEVEL
