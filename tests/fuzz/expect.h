// What a fuzz target may expect: hostile input makes the library throw Error and nothing else.
#pragma once

#include "core/error.h"

namespace moiety::test {

template <class Action>
void expect_error_only(const Action& action) {
  try {
    action();
  } catch (const Error&) {
  }
}

// Stops the fuzzer, and a replay, at a wrong result.
inline void require(bool condition) {
  if (!condition) __builtin_trap();
}

}  // namespace moiety::test
