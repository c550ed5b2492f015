// SPDX-License-Identifier: Apache-2.0
// Which bytes may stand where (RFC 9110 §5.6.2, §5.5; RFC 3986), as tables: a parser asks once per byte.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace underpass::http {

namespace chars {

enum : std::uint8_t {
  kToken = 1,       // of methods and field names
  kTarget = 2,      // of request targets: visible ASCII without "#"
  kUnreserved = 4,  // RFC 3986 §2.3
  kUpper = 8,
};

constexpr std::array<std::uint8_t, 256> make_table() {
  std::array<std::uint8_t, 256> table{};
  for (unsigned c = 0; c < 256; ++c) {
    const bool upper = c >= 'A' && c <= 'Z';
    const bool alnum = upper || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
    if (alnum || std::string_view("!#$%&'*+-.^_`|~").contains(static_cast<char>(c))) table[c] |= kToken;
    if (c > 0x20 && c < 0x7f && c != '#') table[c] |= kTarget;
    if (alnum || std::string_view("-._~").contains(static_cast<char>(c))) table[c] |= kUnreserved;
    if (upper) table[c] |= kUpper;
  }
  // string_view::contains() finds NUL in none of these.
  return table;
}
inline constexpr auto kTable = make_table();

}  // namespace chars

constexpr bool is_of(char c, std::uint8_t kind) { return (chars::kTable[static_cast<unsigned char>(c)] & kind) != 0; }
constexpr bool all_of(std::string_view text, std::uint8_t kind) {
  return std::ranges::all_of(text, [kind](char c) { return is_of(c, kind); });
}
constexpr bool is_token(std::string_view text) { return !text.empty() && all_of(text, chars::kToken); }

// Whether a field may have this value: visible, SP, HTAB, and bytes above 127, which mean nothing here. Without an
// early exit, so that the compiler makes it many bytes at a time.
constexpr bool is_value(std::string_view text) {
  bool bad = false;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    bad |= (byte < 0x20 && byte != '\t') || byte == 0x7f;
  }
  return !bad;
}

constexpr char to_lower(char c) { return is_of(c, chars::kUpper) ? static_cast<char>(c + ('a' - 'A')) : c; }
// `lower` is in lower case.
constexpr bool equals_ignoring_case(std::string_view text, std::string_view lower) {
  return std::ranges::equal(text, lower, [](char a, char b) { return to_lower(a) == b; });
}
inline void make_lower(std::string& text) { std::ranges::transform(text, text.begin(), to_lower); }

constexpr bool is_digit(char c) { return c >= '0' && c <= '9'; }
// The value of a hexadecimal digit, or -1.
constexpr int hex_value(char c) {
  if (is_digit(c)) return c - '0';
  const char lower = to_lower(c);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

}  // namespace underpass::http
