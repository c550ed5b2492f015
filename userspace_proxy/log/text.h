// SPDX-License-Identifier: Apache-2.0
// Appends what lines of the access log consist of to a string, as JSON (RFC 8259). A string may be any bytes: what
// comes out is valid UTF-8 in one line, for readers too that take U+0085 or U+2028 for the end of one.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace underpass::log {

void append_number(std::string& out, std::uint64_t number);
// With quotes. Control characters are escaped, bytes that are no UTF-8 become U+FFFD.
void append_string(std::string& out, std::string_view text);
// null where it is empty; `key` with what stands around it: ,"pod":
void append_name(std::string& out, std::string_view key, std::string_view text);
// RFC 3339 in UTC, without quotes.
void append_time(std::string& out, std::chrono::system_clock::time_point time);
// A number with three decimals: 1.234.
void append_milliseconds(std::string& out, std::chrono::microseconds time);

// At most `most` bytes of it, whole characters where it is UTF-8.
std::string_view cut(std::string_view text, std::size_t most);
// At most `most` bytes of valid UTF-8 in one line: what is none, or a control character, becomes U+FFFD.
std::string clean(std::string_view text, std::size_t most);

}  // namespace underpass::log
