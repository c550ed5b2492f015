// SPDX-License-Identifier: Apache-2.0
// Small strings that the API server would have checked: names (RFC 1123), numbers and paths. The folder
// source has no API server before it, and names end up in fixed-size fields of BPF maps.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace underpass::k8s {

// Name of a Namespace, a Service or a port: at most 63 of a-z, 0-9 and '-', a letter or digit at both ends.
bool is_dns_label(std::string_view text);

// Name of a Pod, a ServiceAccount, an EndpointSlice or a Node: such labels joined by dots, at most 253 characters in
// all.
bool is_dns_subdomain(std::string_view text);

// Of ASCII.
char to_lower(char c);

// Name of a field of HTTP: a token (RFC 9110, section 5.6.2).
bool is_header_name(std::string_view text);

// A whole number in its shortest form, no sign and no leading zero; one above `most` is `most` and one.
std::optional<std::uint32_t> parse_number(std::string_view text, std::uint32_t most);

// A number from 1 to 65535.
std::optional<std::uint16_t> parse_port(std::string_view text);

// A path from the root that a person can read: no control characters, shorter than PATH_MAX.
bool is_absolute_path(std::string_view text);

}  // namespace underpass::k8s
