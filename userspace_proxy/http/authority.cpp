// SPDX-License-Identifier: Apache-2.0
#include "userspace_proxy/http/authority.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "userspace_proxy/http/chars.h"

namespace underpass::http {
namespace {

bool is_ipv6(std::string_view text) {
  std::array<char, INET6_ADDRSTRLEN> copy{};
  if (text.size() >= copy.size() || text.contains('\0')) return false;
  std::ranges::copy(text, copy.begin());
  in6_addr address{};
  return inet_pton(AF_INET6, copy.data(), &address) == 1;
}

bool is_name(std::string_view host) {
  char before = '.';  // no label is empty but the one after a last dot
  for (const char c : host) {
    if (!is_of(c, chars::kUnreserved) || (c == '.' && before == '.')) return false;
    before = c;
  }
  return !host.empty();
}

std::optional<std::uint16_t> parse_port(std::string_view digits) {
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (error != std::errc() || end != digits.data() + digits.size() || digits.front() == '0') return std::nullopt;
  return port;
}

std::string_view without_dot(std::string_view host) {
  if (host.ends_with('.')) host.remove_suffix(1);
  return host;
}

std::optional<std::uint16_t> default_port(std::string_view scheme) {
  if (scheme == "http") return std::uint16_t{80};
  if (scheme == "https") return std::uint16_t{443};
  return std::nullopt;
}

}  // namespace

std::optional<Authority> parse_authority(std::string_view text) {
  std::size_t end = 0;
  if (text.starts_with('[')) {
    end = text.find(']');
    if (end == std::string_view::npos || !is_ipv6(text.substr(1, end - 1))) return std::nullopt;
    ++end;
  } else {
    end = std::min(text.find(':'), text.size());
    if (!is_name(text.substr(0, end))) return std::nullopt;
  }
  if (end == text.size()) return Authority{.host = text, .port = std::nullopt};
  if (text[end] != ':' || end + 1 == text.size()) return std::nullopt;
  const auto port = parse_port(text.substr(end + 1));
  if (!port) return std::nullopt;
  return Authority{.host = text.substr(0, end), .port = port};
}

bool same_authority(const Authority& a, const Authority& b, std::string_view scheme, bool any_port) {
  const bool hosts = std::ranges::equal(without_dot(a.host), without_dot(b.host),
                                        [](char x, char y) { return to_lower(x) == to_lower(y); });
  if (!hosts) return false;
  if (any_port && (!a.port || !b.port)) return true;
  const auto usual = default_port(scheme);
  return (a.port ? a.port : usual) == (b.port ? b.port : usual);
}

}  // namespace underpass::http
