// SPDX-License-Identifier: Apache-2.0
// Waiting for a condition with a deadline: the only way in which a test here waits.
#pragma once

#include <poll.h>

#include <algorithm>
#include <chrono>
#include <utility>

namespace underpass::test {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;
using std::chrono::seconds;

// True as soon as `predicate()` is; false when it still is not at the deadline. It is asked at least twice.
template <typename Predicate>
[[nodiscard]] bool eventually(milliseconds deadline, Predicate&& predicate) {
  const auto end = Clock::now() + deadline;
  for (int pause_ms = 1; Clock::now() < end; pause_ms = std::min(pause_ms * 2, 20)) {
    if (predicate()) return true;
    ::poll(nullptr, 0, pause_ms);
  }
  return predicate();
}

}  // namespace underpass::test
