// SPDX-License-Identifier: Apache-2.0
#include "agent/ca/spiffe.h"

#include <algorithm>
#include <string>

namespace underpass::ca {
namespace {

constexpr std::string_view kScheme = "spiffe://";
constexpr std::size_t kLongest = 2048;
constexpr std::size_t kLongestDomain = 255;

bool is_domain_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_';
}
bool is_path_char(char c) { return is_domain_char(c) || (c >= 'A' && c <= 'Z'); }

// What stands before the next `separator`, which is taken away with it; without one the rest.
std::string_view take_until(std::string_view& text, std::string_view separator) {
  const auto at = text.find(separator);
  const auto out = text.substr(0, at);
  text.remove_prefix(at == std::string_view::npos ? text.size() : at + separator.size());
  return out;
}

bool is_segment(std::string_view text) {
  return !text.empty() && text != "." && text != ".." && std::ranges::all_of(text, is_path_char);
}

}  // namespace

Result<void> check_identity(std::string_view identity) {
  const auto refuse = [&](const char* cause) { return fail("\"" + std::string(identity) + "\": " + cause); };
  if (identity.size() > kLongest) return fail("an identity of " + std::to_string(identity.size()) + " bytes: too long");
  if (!identity.starts_with(kScheme)) return refuse("does not begin with spiffe://");
  auto rest = identity.substr(kScheme.size());
  const auto domain = take_until(rest, "/ns/");
  if (domain.empty() || domain.size() > kLongestDomain || !std::ranges::all_of(domain, is_domain_char))
    return refuse("not a trust domain of SPIFFE before /ns/");
  if (!is_segment(take_until(rest, "/sa/"))) return refuse("not a namespace between /ns/ and /sa/");
  if (!is_segment(rest)) return refuse("not a service account after /sa/");
  return {};
}

}  // namespace underpass::ca
