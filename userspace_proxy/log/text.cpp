// SPDX-License-Identifier: Apache-2.0
#include "userspace_proxy/log/text.h"

#include <algorithm>
#include <array>
#include <charconv>

namespace underpass::log {
namespace {

constexpr std::string_view kReplacement = "\xef\xbf\xbd";  // U+FFFD

unsigned char byte_at(std::string_view text, std::size_t at) { return static_cast<unsigned char>(text[at]); }

struct Character {
  std::size_t bytes = 1;
  char32_t point = 0;
  bool valid = false;
};

// The character that `text`, which is not empty, begins with (RFC 3629): no surrogates, nothing past U+10FFFF, and
// nothing longer than it must be.
Character first_of(std::string_view text) {
  const unsigned char first = byte_at(text, 0);
  if (first < 0x80) return {.bytes = 1, .point = first, .valid = true};
  const std::size_t bytes = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || text.size() < bytes) return {};
  char32_t point = first & (0x7fU >> bytes);
  for (std::size_t i = 1; i < bytes; ++i) {
    if ((byte_at(text, i) & 0xc0U) != 0x80U) return {};
    point = (point << 6) | (byte_at(text, i) & 0x3fU);
  }
  constexpr std::array<char32_t, 5> kLeast{0, 0, 0x80, 0x800, 0x10000};
  if (point < kLeast[bytes] || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff)) return {};
  return {.bytes = bytes, .point = point, .valid = true};
}

// Ends a line somewhere, or does things to a terminal.
bool is_control(char32_t point) {
  return point < 0x20 || (point >= 0x7f && point < 0xa0) || point == 0x2028 || point == 0x2029;
}

bool is_plain(char c) { return c >= 0x20 && c < 0x7f && c != '"' && c != '\\'; }

void append_escape(std::string& out, char32_t point) {
  constexpr std::string_view kHex = "0123456789abcdef";
  out += "\\u";
  for (int shift = 12; shift >= 0; shift -= 4) out += kHex[(point >> shift) & 15U];
}

}  // namespace

void append_number(std::string& out, std::uint64_t number) {
  std::array<char, 20> digits{};
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), number).ptr;
  out.append(digits.data(), end);
}

void append_string(std::string& out, std::string_view text) {
  out += '"';
  while (!text.empty()) {
    const auto plain = static_cast<std::size_t>(std::ranges::find_if_not(text, is_plain) - text.begin());
    out += text.substr(0, plain);
    text.remove_prefix(plain);
    if (text.empty()) break;
    const auto [bytes, point, valid] = first_of(text);
    if (!valid) {
      out += kReplacement;
    } else if (point == '"' || point == '\\') {
      out += '\\';
      out += text.front();
    } else if (is_control(point)) {
      append_escape(out, point);
    } else {
      out += text.substr(0, bytes);
    }
    text.remove_prefix(bytes);
  }
  out += '"';
}

void append_name(std::string& out, std::string_view key, std::string_view text) {
  out += key;
  if (text.empty())
    out += "null";
  else
    append_string(out, text);
}

// Not gmtime(), which looks for the timezone's file.
void append_time(std::string& out, std::chrono::system_clock::time_point time) {
  using namespace std::chrono;
  const auto day = floor<days>(time);
  const year_month_day date(day);
  const hh_mm_ss clock(floor<milliseconds>(time - day));
  std::array<char, 40> text{};
  auto put = [at = text.data()](unsigned number, int digits, char after) mutable {
    for (int i = digits; i-- > 0; number /= 10) at[i] = static_cast<char>('0' + number % 10);
    at[digits] = after;
    at += digits + 1;
    return static_cast<const char*>(at);
  };
  put(static_cast<unsigned>(static_cast<int>(date.year())), 4, '-');
  put(static_cast<unsigned>(date.month()), 2, '-');
  put(static_cast<unsigned>(date.day()), 2, 'T');
  put(static_cast<unsigned>(clock.hours().count()), 2, ':');
  put(static_cast<unsigned>(clock.minutes().count()), 2, ':');
  put(static_cast<unsigned>(clock.seconds().count()), 2, '.');
  const char* end = put(static_cast<unsigned>(clock.subseconds().count()), 3, 'Z');
  out.append(static_cast<const char*>(text.data()), end);
}

void append_milliseconds(std::string& out, std::chrono::microseconds time) {
  const auto micros = static_cast<std::uint64_t>(std::max<std::chrono::microseconds::rep>(time.count(), 0));
  append_number(out, micros / 1000);
  out += '.';
  for (std::uint64_t unit = 100; unit > 0; unit /= 10) out += static_cast<char>('0' + micros / unit % 10);
}

std::string_view cut(std::string_view text, std::size_t most) {
  if (text.size() <= most) return text;
  // Back over the bytes of a character that does not fit, which are at most three.
  std::size_t end = most;
  while (end > 0 && most - end < 3 && (byte_at(text, end) & 0xc0U) == 0x80U) --end;
  return text.substr(0, (byte_at(text, end) & 0xc0U) == 0x80U ? most : end);
}

std::string clean(std::string_view text, std::size_t most) {
  std::string out;
  while (!text.empty()) {
    const auto [bytes, point, valid] = first_of(text);
    const auto next = valid && !is_control(point) ? text.substr(0, bytes) : kReplacement;
    if (out.size() + next.size() > most) break;
    out += next;
    text.remove_prefix(bytes);
  }
  return out;
}

}  // namespace underpass::log
