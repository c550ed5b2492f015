// SPDX-License-Identifier: Apache-2.0
// Times as the outside sees them: RFC 3339 in UTC with milliseconds. BPF counts nanoseconds since boot instead, so a
// ClockOffset, taken once per answer, carries such a time over.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace underpass::admin {

using WallTime = std::chrono::system_clock::time_point;

// "2026-03-01T09:30:00.125Z"
std::string to_rfc3339(WallTime time);

// Accepts what to_rfc3339 writes, with any number of decimals or none; nullopt for anything else, an offset too.
std::optional<WallTime> parse_rfc3339(std::string_view text);

// How far the wall clock is ahead of CLOCK_MONOTONIC (bpf_ktime_get_ns) right now.
class ClockOffset {
 public:
  explicit ClockOffset(std::chrono::nanoseconds ahead) : ahead_(ahead) {}
  static ClockOffset now();

  [[nodiscard]] WallTime to_wall(std::uint64_t monotonic_ns) const;

 private:
  std::chrono::nanoseconds ahead_;
};

}  // namespace underpass::admin
