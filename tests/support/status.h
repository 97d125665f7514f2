// The status with which an action fails.
#pragma once

#include <functional>

#include "core/error.h"

namespace moiety::test {

inline Status status_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.status();
  }
  return Status::kOk;
}

}  // namespace moiety::test
