// SPDX-License-Identifier: Apache-2.0
#include "agent/admin/wall_clock.h"

#include <array>
#include <charconv>
#include <cstdio>
#include <ctime>

namespace underpass::admin {
namespace {

std::chrono::nanoseconds read_clock(clockid_t clock) {
  timespec now{};
  ::clock_gettime(clock, &now);
  return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
}

// Digits only: from_chars alone would take a sign.
bool parse_digits(std::string_view text, std::size_t at, std::size_t count, int& out) {
  const std::string_view digits = text.substr(at, count);
  if (digits.size() != count || digits.find_first_not_of("0123456789") != std::string_view::npos) return false;
  return std::from_chars(digits.data(), digits.data() + count, out).ec == std::errc{};
}

}  // namespace

std::string to_rfc3339(WallTime time) {
  using namespace std::chrono;
  const auto day = floor<days>(time);
  const year_month_day date{day};
  const hh_mm_ss clock{floor<milliseconds>(time - day)};
  std::array<char, 64> text{};
  const int length =
      std::snprintf(text.data(), text.size(), "%04d-%02u-%02uT%02d:%02d:%02d.%03dZ", static_cast<int>(date.year()),
                    static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                    static_cast<int>(clock.hours().count()), static_cast<int>(clock.minutes().count()),
                    static_cast<int>(clock.seconds().count()), static_cast<int>(clock.subseconds().count()));
  return {text.data(), static_cast<std::size_t>(length)};
}

std::optional<WallTime> parse_rfc3339(std::string_view text) {
  using namespace std::chrono;
  constexpr std::string_view kShape = "0000-00-00T00:00:00";
  if (text.size() <= kShape.size() || text.back() != 'Z') return std::nullopt;
  for (const std::size_t at : {4U, 7U, 10U, 13U, 16U}) {
    if (text[at] != kShape[at]) return std::nullopt;
  }
  int y = 0, mon = 0, d = 0, h = 0, min = 0, s = 0;
  if (!parse_digits(text, 0, 4, y) || !parse_digits(text, 5, 2, mon) || !parse_digits(text, 8, 2, d) ||
      !parse_digits(text, 11, 2, h) || !parse_digits(text, 14, 2, min) || !parse_digits(text, 17, 2, s)) {
    return std::nullopt;
  }
  const year_month_day date{year(y), month(static_cast<unsigned>(mon)), day(static_cast<unsigned>(d))};
  if (!date.ok() || h > 23 || min > 59 || s > 60) return std::nullopt;

  std::string_view decimals = text.substr(kShape.size(), text.size() - kShape.size() - 1);
  nanoseconds fraction{0};
  if (!decimals.empty()) {
    if (decimals.front() != '.' || decimals.size() == 1) return std::nullopt;
    decimals.remove_prefix(1);
    if (decimals.find_first_not_of("0123456789") != std::string_view::npos) return std::nullopt;
    std::int64_t unit = 100'000'000;
    for (const char digit : decimals) {
      fraction += nanoseconds((digit - '0') * unit);
      unit /= 10;
    }
  }
  return sys_days(date) + hours(h) + minutes(min) + seconds(s) + fraction;
}

ClockOffset ClockOffset::now() { return ClockOffset(read_clock(CLOCK_REALTIME) - read_clock(CLOCK_MONOTONIC)); }

WallTime ClockOffset::to_wall(std::uint64_t monotonic_ns) const {
  return WallTime(std::chrono::duration_cast<WallTime::duration>(
      ahead_ + std::chrono::nanoseconds(static_cast<std::int64_t>(monotonic_ns))));
}

}  // namespace underpass::admin
