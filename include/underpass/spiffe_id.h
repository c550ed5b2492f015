// SPDX-License-Identifier: Apache-2.0
// Which texts are SPIFFE IDs of service accounts (https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE-ID.md,
// with Istio's form of the path): who makes certificates asks before, who is shown one asks after.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>

#include "underpass/result.h"

namespace underpass {

// Views of the text that was parsed.
struct SpiffeId {
  std::string_view trust_domain;
  std::string_view ns;
  std::string_view account;
};

namespace spiffe_id_text {

inline bool is_domain_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_';
}
inline bool is_path_char(char c) { return is_domain_char(c) || (c >= 'A' && c <= 'Z'); }

inline bool is_domain(std::string_view text) {
  constexpr std::size_t kLongest = 255;
  return !text.empty() && text.size() <= kLongest && std::ranges::all_of(text, is_domain_char);
}
inline bool is_segment(std::string_view text) {
  return !text.empty() && text != "." && text != ".." && std::ranges::all_of(text, is_path_char);
}

// What stands before the next `separator`, which is taken away with it; without one the rest.
inline std::string_view take_until(std::string_view& text, std::string_view separator) {
  const auto at = text.find(separator);
  const auto out = text.substr(0, at);
  text.remove_prefix(at == std::string_view::npos ? text.size() : at + separator.size());
  return out;
}

}  // namespace spiffe_id_text

// spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/ACCOUNT, to the letter, at most 2,048 bytes: of the domain a-z 0-9 . - _, of
// namespace and account A-Z too, and neither is "." or "..". The error names what is wrong.
inline Result<SpiffeId> parse_spiffe_id(std::string_view text) {
  using namespace spiffe_id_text;
  constexpr std::string_view kScheme = "spiffe://";
  constexpr std::size_t kLongest = 2048;
  const auto refuse = [&](const char* cause) { return fail("\"" + std::string(text) + "\": " + cause); };
  if (text.size() > kLongest) return fail("an identity of " + std::to_string(text.size()) + " bytes: too long");
  if (!text.starts_with(kScheme)) return refuse("does not begin with spiffe://");
  auto rest = text.substr(kScheme.size());
  SpiffeId out;
  out.trust_domain = take_until(rest, "/ns/");
  out.ns = take_until(rest, "/sa/");
  out.account = rest;
  if (!is_domain(out.trust_domain)) return refuse("not a trust domain of SPIFFE before /ns/");
  if (!is_segment(out.ns)) return refuse("not a namespace between /ns/ and /sa/");
  if (!is_segment(out.account)) return refuse("not a service account after /sa/");
  return out;
}

}  // namespace underpass
