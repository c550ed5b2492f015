// SPDX-License-Identifier: Apache-2.0
// host[:port] of Host, :authority and request targets (RFC 3986 §3.2), stricter than the RFC where two readers could
// disagree: no userinfo, no escapes, no empty label or port, names of letters, digits and "-._~" alone, IPv6 in
// brackets and without a zone.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace underpass::http {

struct Authority {
  std::string_view host;  // as it came: upper case, one trailing dot, IPv6 with its brackets
  std::optional<std::uint16_t> port;

  bool operator==(const Authority&) const = default;
};

// None: it is not one.
[[nodiscard]] std::optional<Authority> parse_authority(std::string_view text);

// Whether both name the same host and port; a missing port is the scheme's. `any_port`: a missing port is any.
[[nodiscard]] bool same_authority(const Authority& a, const Authority& b, std::string_view scheme, bool any_port);

}  // namespace underpass::http
