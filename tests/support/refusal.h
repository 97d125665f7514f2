// The message with which an action fails; checks that it does, with this status.
#pragma once

#include <doctest/doctest.h>

#include <functional>
#include <string>

#include "core/error.h"

namespace moiety::test {

inline std::string refusal(const std::function<void()>& action, Status status) {
  try {
    action();
  } catch (const Error& error) {
    CHECK(error.status() == status);
    return error.what();
  }
  FAIL_CHECK("no error was thrown");
  return "";
}

}  // namespace moiety::test
