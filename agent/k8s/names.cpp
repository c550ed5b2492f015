// SPDX-License-Identifier: Apache-2.0
#include "agent/k8s/names.h"

#include <algorithm>
#include <charconv>
#include <climits>
#include <system_error>

namespace underpass::k8s {
namespace {

bool is_alphanumeric(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }

bool is_label_of_any_length(std::string_view text) {
  return !text.empty() && is_alphanumeric(text.front()) && is_alphanumeric(text.back()) &&
         std::ranges::all_of(text, [](char c) { return is_alphanumeric(c) || c == '-'; });
}

}  // namespace

char to_lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; }

bool is_header_name(std::string_view text) {
  constexpr std::string_view kOthers = "!#$%&'*+-.^_`|~";
  return !text.empty() && std::ranges::all_of(text, [&](char c) {
    return is_alphanumeric(c) || (c >= 'A' && c <= 'Z') || kOthers.contains(c);
  });
}

bool is_dns_label(std::string_view text) { return text.size() <= 63 && is_label_of_any_length(text); }

bool is_dns_subdomain(std::string_view text) {
  if (text.size() > 253) return false;
  for (;;) {
    const auto dot = text.find('.');
    if (!is_label_of_any_length(text.substr(0, dot))) return false;
    if (dot == std::string_view::npos) return true;
    text.remove_prefix(dot + 1);
  }
}

std::optional<std::uint32_t> parse_number(std::string_view text, std::uint32_t most) {
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  if (text.empty() || (text != "0" && text.front() == '0') || !std::ranges::all_of(text, is_digit)) return std::nullopt;
  std::uint32_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc{} ? std::min(number, most + 1) : most + 1;
}

std::optional<std::uint16_t> parse_port(std::string_view text) {
  constexpr std::uint32_t kMost = 65535;
  const auto number = parse_number(text, kMost);
  if (!number || *number == 0 || *number > kMost) return std::nullopt;
  return static_cast<std::uint16_t>(*number);
}

bool is_absolute_path(std::string_view text) {
  return text.starts_with('/') && text.size() < PATH_MAX &&
         std::ranges::none_of(text, [](unsigned char c) { return c < 0x20 || c == 0x7f; });
}

}  // namespace underpass::k8s
