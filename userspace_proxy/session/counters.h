// SPDX-License-Identifier: Apache-2.0
// What a traffic thread counts, for the worker's report: written by that thread alone, read by another.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "userspace_proxy/session/outcome.h"

namespace underpass::session {

// Not a read-modify-write: there is one writer.
class Counter {
 public:
  void add(std::uint64_t more = 1) { value_.store(get() + more, std::memory_order_relaxed); }
  void sub(std::uint64_t less = 1) { value_.store(get() - less, std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t get() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_ = 0;
};

struct Counters {
  Counter connections;  // that are open now
  Counter accepted;
  std::array<Counter, kFlags> ended;
  Counter accept_pauses;
  std::atomic<bool> paused = false;
};

}  // namespace underpass::session
