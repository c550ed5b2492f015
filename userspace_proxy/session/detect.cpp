// SPDX-License-Identifier: Apache-2.0
#include "userspace_proxy/session/detect.h"

#include <algorithm>

namespace underpass::session {
namespace {

constexpr std::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
constexpr std::size_t kLongestMethod = 24;

// RFC 9110 §5.6.2, but for lower-case letters, which no method in use has and many other protocols begin with.
bool is_of_method(char c) {
  constexpr std::string_view kMarks = "-_";
  return (c >= 'A' && c <= 'Z') || kMarks.contains(c);
}

// What may still become "GET /a" or "OPTIONS *" or "CONNECT a:1".
bool may_be_request_line(std::string_view begin) {
  const auto method = static_cast<std::size_t>(std::ranges::find_if_not(begin, is_of_method) - begin.begin());
  if (method > kLongestMethod) return false;
  if (method == begin.size()) return true;
  if (method == 0 || begin[method] != ' ') return false;
  return std::ranges::all_of(begin.substr(method + 1), [](char c) { return c >= ' ' && c < 0x7f; });
}

// With its blank, "HTTP/1.1" or another 1.x.
bool names_version(std::string_view line) {
  constexpr std::string_view kVersion = " HTTP/1.";
  return line.size() > kVersion.size() && line.substr(0, line.size() - 1).ends_with(kVersion);
}

}  // namespace

Spoken detect_version(std::string_view begin) {
  const auto common = std::min(begin.size(), kPreface.size());
  if (begin.substr(0, common) != kPreface.substr(0, common)) return Spoken::kHttp1;
  return common == kPreface.size() ? Spoken::kHttp2 : Spoken::kUndecided;
}

Spoken detect(std::string_view begin) {
  if (begin.empty()) return Spoken::kUndecided;
  if (const auto version = detect_version(begin); version != Spoken::kHttp1) return version;
  auto line = begin.substr(0, begin.find('\n'));
  const bool is_whole = line.size() < begin.size();
  if (is_whole && line.ends_with('\r')) line.remove_suffix(1);
  if (!is_whole && line.ends_with('\r')) line.remove_suffix(1);  // its line feed is on the way
  if (!may_be_request_line(line)) return Spoken::kTcp;
  if (is_whole) return names_version(line) ? Spoken::kHttp1 : Spoken::kTcp;
  // A target of that length that nothing else has either.
  return begin.size() >= kDetectBytes ? Spoken::kHttp1 : Spoken::kUndecided;
}

Spoken detect_late(std::string_view begin) {
  const auto spoken = detect(begin);
  if (spoken != Spoken::kUndecided) return spoken;
  const auto blank = begin.find(' ');
  if (blank == std::string_view::npos) return Spoken::kTcp;
  return begin.substr(blank).starts_with(" /") || begin.starts_with("PRI *") ? Spoken::kHttp1 : Spoken::kTcp;
}

}  // namespace underpass::session
