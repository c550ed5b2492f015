// SPDX-License-Identifier: Apache-2.0
#include "agent/admin/wall_clock.h"

#include <doctest/doctest.h>

#include <ctime>

using namespace underpass;
using namespace std::chrono;
using admin::WallTime;

TEST_CASE("wall clock: RFC 3339 in UTC with milliseconds") {
  CHECK(admin::to_rfc3339(WallTime{}) == "1970-01-01T00:00:00.000Z");
  CHECK(admin::to_rfc3339(sys_days(2024y / February / 29) + 23h + 59min + 59s + 999ms) == "2024-02-29T23:59:59.999Z");
  CHECK(admin::to_rfc3339(sys_days(2026y / March / 1) + 9h + 30min + 125ms + 999us) == "2026-03-01T09:30:00.125Z");
  CHECK(admin::to_rfc3339(WallTime{} - 1ms) == "1969-12-31T23:59:59.999Z");
}

TEST_CASE("wall clock: parses what it writes, and other fractions") {
  const WallTime time = sys_days(2026y / March / 1) + 9h + 30min + 125ms;
  CHECK(admin::parse_rfc3339("2026-03-01T09:30:00.125Z") == time);
  CHECK(admin::parse_rfc3339("2026-03-01T09:30:00.125000001Z") == time + 1ns);
  CHECK(admin::parse_rfc3339("2026-03-01T09:30:00Z") == time - 125ms);
  for (const char* bad :
       {"", "Z", "2026-03-01", "2026-03-01T09:30:00", "2026-03-01T09:30:00+01:00", "2026-03-01 09:30:00Z",
        "2026-02-30T09:30:00Z", "2026-13-01T09:30:00Z", "2026-03-01T24:00:00Z", "2026-03-01T09:60:00Z",
        "2026-03-01T09:30:00.Z", "2026-03-01T09:30:00.1xZ", "2026-03-01T-9:30:00Z", "+026-03-01T09:30:00Z"}) {
    CAPTURE(bad);
    CHECK(admin::parse_rfc3339(bad) == std::nullopt);
  }
}

TEST_CASE("wall clock: a time since boot becomes the same moment") {
  const admin::ClockOffset offset(hours(1));
  CHECK(offset.to_wall(5'000'000'000) == WallTime(hours(1) + seconds(5)));

  timespec boot{};
  const WallTime before = system_clock::now();
  ::clock_gettime(CLOCK_MONOTONIC, &boot);
  const auto now_ns =
      static_cast<std::uint64_t>(boot.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(boot.tv_nsec);
  const WallTime converted = admin::ClockOffset::now().to_wall(now_ns);
  CHECK(converted > before - 1s);
  CHECK(converted < system_clock::now() + 1s);
}
