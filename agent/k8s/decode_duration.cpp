// SPDX-License-Identifier: Apache-2.0
#include "agent/k8s/decode_duration.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>

namespace underpass::k8s {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;

constexpr nanoseconds kLongest = kLongestDuration;

// Longer units that begin like shorter ones come first.
constexpr std::pair<std::string_view, nanoseconds> kUnits[] = {
    {"ns", nanoseconds(1)},
    {"us", std::chrono::microseconds(1)},
    {"\u00b5s", std::chrono::microseconds(1)},  // the micro sign
    {"\u03bcs", std::chrono::microseconds(1)},  // the Greek letter
    {"ms", milliseconds(1)},
    {"s", std::chrono::seconds(1)},
    {"m", std::chrono::minutes(1)},
    {"h", std::chrono::hours(1)},
};

std::string_view take_digits(std::string_view& text) {
  const auto end = std::ranges::find_if_not(text, [](char c) { return c >= '0' && c <= '9'; });
  const auto digits = text.substr(0, static_cast<std::size_t>(end - text.begin()));
  text.remove_prefix(digits.size());
  return digits;
}

// `number` times `unit`, and its `digits` behind the point; nothing where that is too long or no whole nanoseconds.
std::optional<nanoseconds> measure(std::string_view whole, std::string_view fraction, nanoseconds unit) {
  std::int64_t sum = 0;
  for (const char digit : whole) {
    sum = sum * 10 + (digit - '0');
    if (sum > kLongest / unit) return std::nullopt;
  }
  sum *= unit.count();
  std::int64_t part = unit.count();
  for (const char digit : fraction) {
    if (digit != '0' && part % 10 != 0) return std::nullopt;
    part /= 10;
    sum += part * (digit - '0');
  }
  return nanoseconds(sum);
}

// "1.5s" at the beginning of `text`, which it is taken from.
std::optional<nanoseconds> take_part(std::string_view& text) {
  const auto whole = take_digits(text);
  std::string_view fraction;
  if (text.starts_with('.')) {
    text.remove_prefix(1);
    fraction = take_digits(text);
  }
  if (whole.empty() && fraction.empty()) return std::nullopt;
  for (const auto& [name, unit] : kUnits) {
    if (!text.starts_with(name)) continue;
    text.remove_prefix(name.size());
    return measure(whole, fraction, unit);
  }
  return std::nullopt;
}

}  // namespace

std::optional<milliseconds> parse_duration(std::string_view text) {
  if (text == "0") return milliseconds(0);
  if (text.empty()) return std::nullopt;
  nanoseconds sum{0};
  while (!text.empty()) {
    const auto part = take_part(text);
    if (!part) return std::nullopt;
    sum += *part;
    if (sum > kLongest) return std::nullopt;
  }
  const auto out = std::chrono::duration_cast<milliseconds>(sum);
  return out == sum ? std::optional(out) : std::nullopt;
}

std::optional<milliseconds> decode_duration(const Field& field, milliseconds least) {
  const auto text = field.string();
  if (!text) return std::nullopt;
  const auto duration = parse_duration(*text);
  if (!duration) {
    field.refuse("not a duration in whole milliseconds of at most 8760h, for example 10s, 500ms or 1h30m");
  } else if (*duration < least) {
    field.refuse("must be at least " + std::to_string(least.count()) + "ms");
  }
  return duration;
}

}  // namespace underpass::k8s
