// What the tests of text/ share.
#pragma once

#include <pthread.h>

#include <exception>
#include <functional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "text/unicode.h"

namespace moiety::test {

// Runs `work` on a thread with a stack of 256 KiB; what it throws comes out here.
inline void on_small_stack(std::function<void()> work) {
  struct Job {
    std::function<void()> work;
    std::exception_ptr error;
  } job{std::move(work), nullptr};
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, 256 * 1024);
  pthread_t thread;
  auto run = [](void* raw) -> void* {
    auto* mine = static_cast<Job*>(raw);
    try {
      mine->work();
    } catch (...) {
      mine->error = std::current_exception();
    }
    return nullptr;
  };
  if (pthread_create(&thread, &attributes, run, &job) != 0) throw std::runtime_error("no thread");
  pthread_join(thread, nullptr);
  pthread_attr_destroy(&attributes);
  if (job.error) std::rethrow_exception(job.error);
}

// Valid UTF-8 with every kind of character that a split pattern tells apart.
inline std::string mixed_text(size_t bytes, uint32_t seed) {
  static constexpr std::u32string_view kSets[] = {U"abcdefgXYZ", U"sStTmMdDlLvVeErR", U"0123456789", U" ", U" \t\n\r\u000b\u00a0\u2003\u3000\u0085\u180e\u2028",
                                                  U"\r\n", U"'", U"'\u017f", U"!\"#$%&()*+,-./:;<=>?@[\\]^_`{|}~", U"é中я한ªʰǅ", U"ÑДΩⅧ", U"\u0301\u0323\u093f\u20dd",
                                                  U"²½٣〇①", U"…—«€™∑", U"😀🦙\u200d\ufe0f", U"あアー、。", U"\x01\x7f\ufffd\ue000\u0378"};
  std::mt19937 rng(seed);
  auto below = [&](size_t n) { return static_cast<size_t>(rng() % n); };
  std::string out;
  while (out.size() < bytes) {
    const auto set = kSets[below(std::size(kSets))];
    const size_t run = below(8) == 0 ? 1 + below(12) : 1 + below(3);
    for (size_t i = 0; i < run; ++i) text::append_utf8(out, static_cast<uint32_t>(set[below(set.size())]));
  }
  return out;
}

// What an Error says, or "" if nothing was thrown.
inline std::string error_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace moiety::test
