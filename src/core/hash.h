// A hash of 64 bits for telling models and damaged files apart. No defence against somebody who wants two things to
// have one hash.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <type_traits>

namespace moiety {

class Hash {
 public:
  // The pieces count: two pieces hash unlike the same bytes in one.
  void add(std::span<const std::byte> bytes) {
    for (; bytes.size() >= 8; bytes = bytes.subspan(8)) {
      uint64_t word;
      std::memcpy(&word, bytes.data(), 8);
      mix(word);
    }
    uint64_t rest = bytes.size() << 56;
    if (!bytes.empty()) std::memcpy(&rest, bytes.data(), bytes.size());
    mix(rest);
  }
  void add(std::string_view text) { add(std::as_bytes(std::span(text))); }
  template <class T>
  requires std::is_arithmetic_v<T> || std::is_enum_v<T>
  void add(T value) {
    uint64_t word = 0;
    std::memcpy(&word, &value, sizeof value);
    mix(word);
  }
  template <class... T>
  requires(sizeof...(T) > 1) void add(const T&... values) { (add(values), ...); }
  uint64_t value() const { return state_; }

 private:
  void mix(uint64_t word) {
    state_ = (state_ ^ word) * 0x9e3779b97f4a7c15u;
    state_ ^= state_ >> 32;
  }
  uint64_t state_ = 0xcbf29ce484222325u;
};

}  // namespace moiety
