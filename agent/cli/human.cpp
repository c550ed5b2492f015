// SPDX-License-Identifier: Apache-2.0
#include "agent/cli/human.h"

#include <array>
#include <charconv>
#include <utility>

namespace underpass::cli {

std::string human_bytes(std::uint64_t bytes) {
  if (bytes < 1024) return std::to_string(bytes) + " B";
  static constexpr std::array<std::string_view, 6> kUnits{"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  auto value = static_cast<double>(bytes) / 1024;
  std::size_t unit = 0;
  // 1023.95 would be shown as 1024.0.
  while (value >= 1023.95 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  std::array<char, 32> text{};
  const int length = std::snprintf(text.data(), text.size(), "%.1f ", value);
  return std::string(text.data(), static_cast<std::size_t>(length)) + std::string(kUnits[unit]);
}

std::string human_age(std::chrono::seconds age) {
  static constexpr std::array<std::pair<std::int64_t, char>, 4> kUnits{
      {{86400, 'd'}, {3600, 'h'}, {60, 'm'}, {1, 's'}}};
  std::int64_t left = age.count() < 0 ? 0 : age.count();
  for (std::size_t i = 0; i < kUnits.size(); ++i) {
    const auto [seconds, letter] = kUnits[i];
    if (left < seconds) continue;
    std::string text = std::to_string(left / seconds) + letter;
    left %= seconds;
    if (i + 1 == kUnits.size()) return text;
    const auto [next_seconds, next_letter] = kUnits[i + 1];
    return left < next_seconds ? text : text + std::to_string(left / next_seconds) + next_letter;
  }
  return "0s";
}

Result<std::chrono::milliseconds> parse_duration(std::string_view text) {
  static constexpr std::array<std::pair<std::string_view, std::int64_t>, 5> kUnits{
      {{"ms", 1}, {"s", 1000}, {"m", 60'000}, {"h", 3'600'000}, {"", 1000}}};
  constexpr std::int64_t kLongest = 3'600'000;

  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const std::string_view unit = text.substr(static_cast<std::size_t>(end - text.data()));
  if (error == std::errc{} && number >= 0) {
    for (const auto& [name, milliseconds] : kUnits) {
      if (unit != name) continue;
      if (number > kLongest / milliseconds) break;
      return std::chrono::milliseconds(number * milliseconds);
    }
  }
  return fail("\"" + std::string(text) + "\": not a time from 0 to 1h (write 30s, 500ms, 2m or 1h)");
}

std::string endpoint(std::string_view ip, std::uint64_t port) {
  const bool v6 = ip.contains(':');
  return (v6 ? "[" : "") + std::string(ip) + (v6 ? "]:" : ":") + std::to_string(port);
}

}  // namespace underpass::cli
