// SPDX-License-Identifier: Apache-2.0
#include "agent/k8s/yaml_scalar.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <limits>
#include <optional>
#include <string_view>
#include <system_error>

namespace underpass::k8s {
namespace json = boost::json;

namespace {

template <typename T>
std::optional<T> parse_whole(std::string_view digits, int base) {
  T out{};
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), out, base);
  if (error != std::errc{} || end != digits.data() + digits.size()) return std::nullopt;
  return out;
}

bool all_digits(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

std::optional<json::value> parse_integer(std::string_view text) {
  if (text.starts_with("0o") || text.starts_with("0x")) {
    if (text.size() == 2 || text[2] == '-') return std::nullopt;
    if (const auto value = parse_whole<std::uint64_t>(text.substr(2), text[1] == 'o' ? 8 : 16)) return *value;
    return std::nullopt;
  }
  const bool negative = text.starts_with('-');
  const auto digits = negative || text.starts_with('+') ? text.substr(1) : text;
  if (!all_digits(digits)) return std::nullopt;
  if (const auto value = parse_whole<std::int64_t>(negative ? text : digits, 10)) return *value;
  if (negative) return std::nullopt;
  if (const auto value = parse_whole<std::uint64_t>(digits, 10)) return *value;
  return std::nullopt;
}

// [-+]? ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )?
bool looks_like_float(std::string_view text) {
  const auto skip_digits = [&text] {
    const auto count = std::min(text.find_first_not_of("0123456789"), text.size());
    text.remove_prefix(count);
    return count;
  };
  const auto skip_one_of = [&text](std::string_view choices) {
    if (text.empty() || !choices.contains(text.front())) return false;
    text.remove_prefix(1);
    return true;
  };
  skip_one_of("+-");
  const auto whole = skip_digits();
  const auto fraction = skip_one_of(".") ? skip_digits() : 0;
  if (whole == 0 && fraction == 0) return false;
  if (!skip_one_of("eE")) return text.empty();
  skip_one_of("+-");
  return skip_digits() > 0 && text.empty();
}

std::optional<double> parse_float(std::string_view text) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  if (text == ".inf" || text == ".Inf" || text == ".INF") return kInfinity;
  if (text == "+.inf" || text == "+.Inf" || text == "+.INF") return kInfinity;
  if (text == "-.inf" || text == "-.Inf" || text == "-.INF") return -kInfinity;
  if (text == ".nan" || text == ".NaN" || text == ".NAN") return std::numeric_limits<double>::quiet_NaN();
  if (!looks_like_float(text)) return std::nullopt;
  if (text.starts_with('+')) text.remove_prefix(1);  // from_chars does not know it
  double out = 0;
  // Out of range: the text is a number all the same, and no field of ours takes one that large.
  static_cast<void>(std::from_chars(text.data(), text.data() + text.size(), out));
  return out;
}

}  // namespace

json::value resolve_plain_scalar(const std::string& text) {
  if (text.empty() || text == "~" || text == "null" || text == "Null" || text == "NULL") return nullptr;
  if (text == "true" || text == "True" || text == "TRUE") return true;
  if (text == "false" || text == "False" || text == "FALSE") return false;
  if (auto integer = parse_integer(text)) return std::move(*integer);
  if (const auto number = parse_float(text)) return *number;
  return json::string(text);
}

}  // namespace underpass::k8s
