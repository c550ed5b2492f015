// SPDX-License-Identifier: Apache-2.0
#include "agent/jwks/uri.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "underpass/ip_address.h"

namespace underpass::jwks {

namespace {

constexpr std::size_t kLongest = 2048;

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_host_char(char c) {
  return is_digit(c) || (lower(c) >= 'a' && lower(c) <= 'z') || c == '-' || c == '_' || c == '.';
}

// Takes "https://" off; nothing: it is another's.
std::optional<bool> take_scheme(std::string_view& text) {
  for (const std::string_view scheme : {"https://", "http://"}) {
    if (text.size() < scheme.size() || !std::ranges::equal(text.substr(0, scheme.size()), scheme, {}, lower)) continue;
    text.remove_prefix(scheme.size());
    return scheme == "https://";
  }
  return std::nullopt;
}

Result<std::string> parse_port(std::string_view text) {
  unsigned port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc{} || end != text.data() + text.size() || port == 0 || port > 65535)
    return fail("port \"" + std::string(text) + "\": not from 1 to 65535");
  return std::to_string(port);
}

// Whether a C library may take it for an address (as browsers' URL standard puts it: it ends in a number).
bool ends_in_number(std::string_view host) {
  const auto label = host.substr(host.rfind('.') + 1);
  return std::ranges::all_of(label, is_digit) || label.starts_with("0x");
}

Result<std::string> parse_name(std::string_view text) {
  std::string host(text);
  std::ranges::transform(host, host.begin(), lower);
  if (host.ends_with('.')) host.pop_back();
  const bool bad = host.empty() || host.size() > 253 || !std::ranges::all_of(host, is_host_char) ||
                   host.starts_with('.') || host.contains("..");
  if (bad) return fail("host \"" + host + "\": not a name");
  if (ends_in_number(host) && !IpAddress::parse(host)) return fail("host \"" + host + "\": not an IP address");
  return host;
}

// "host", "host:port", "[address]:port"; the port with its colon is left in `text`.
Result<std::string> take_host(std::string_view& text) {
  if (!text.starts_with('[')) {
    const auto end = std::min(text.find(':'), text.size());
    const auto host = text.substr(0, end);
    text.remove_prefix(end);
    return parse_name(host);
  }
  const auto end = text.find(']');
  const std::string host(text.substr(1, end == std::string_view::npos ? 0 : end - 1));
  if (!host.contains(':') || !IpAddress::parse(host)) return fail("host: not an IPv6 address in brackets");
  text.remove_prefix(end + 1);
  return host;
}

}  // namespace

Result<Uri> parse_uri(std::string_view text) {
  if (text.size() > kLongest) return fail("longer than " + std::to_string(kLongest) + " bytes");
  if (!std::ranges::all_of(text, [](char c) { return c > 0x20 && c < 0x7f && c != '\\'; }))
    return fail("has a character that no URI has");
  const auto tls = take_scheme(text);
  if (!tls) return fail("neither https:// nor http://");
  if (text.contains('#')) return fail("has a fragment");
  const auto end = std::min(text.find_first_of("/?"), text.size());
  auto authority = text.substr(0, end);
  text.remove_prefix(end);
  if (authority.contains('@')) return fail("has a user's name");
  const auto host = take_host(authority);
  if (!host) return std::unexpected(host.error());
  Uri uri{.tls = *tls, .host = *host, .port = *tls ? "443" : "80", .target = std::string(text)};
  if (!uri.target.starts_with('/')) uri.target.insert(0, "/");
  if (authority.empty()) return uri;
  if (authority.front() != ':') return fail("host: something follows the address");
  auto port = parse_port(authority.substr(1));
  if (!port) return std::unexpected(port.error());
  uri.port = std::move(*port);
  return uri;
}

}  // namespace underpass::jwks
