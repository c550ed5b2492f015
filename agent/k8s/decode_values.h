// SPDX-License-Identifier: Apache-2.0
// Values that stand in objects of several kinds: choices, names, addresses, ports. Each reads as nothing, empty or its
// default where the field is absent.
#pragma once

#include <initializer_list>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "agent/k8s/field.h"
#include "underpass/ip_address.h"
#include "underpass/model/service.h"

namespace underpass::k8s {

inline constexpr std::string_view kNotALabel = "not an RFC 1123 label (a-z, 0-9 and -, at most 63)";
inline constexpr std::string_view kNotASubdomain = "not an RFC 1123 subdomain (a-z, 0-9, - and ., at most 253)";
inline constexpr std::string_view kListedTwice = "listed twice";

template <typename T>
std::optional<T> decode_choice(const Field& field, std::initializer_list<std::pair<std::string_view, T>> choices) {
  const auto text = field.string();
  if (!text) return std::nullopt;
  for (const auto& [name, value] : choices) {
    if (*text == name) return value;
  }
  std::string allowed;
  for (const auto& [name, value] : choices) allowed += (allowed.empty() ? "" : ", ") + std::string(name);
  field.refuse("must be one of " + allowed);
  return std::nullopt;
}

// A name of an object (an RFC 1123 subdomain) or of a port (a label).
std::string decode_name(const Field& field);
std::string decode_label_name(const Field& field);

// Nothing for "" too: the API server writes it for an address not assigned yet.
std::optional<IpAddress> decode_ip(const Field& field);

// ... that a Service or an endpoint may have: refused are those that mean something else in every network namespace
// (unspecified, loopback, link-local, multicast), as the API server does.
std::optional<IpAddress> decode_routable_ip(const Field& field);

// An object's "TCP" or "UDP"; "SCTP" is refused by name.
model::Protocol decode_protocol(const Field& field);
bool is_sctp(const Field& field);

// 1 to 65535; refused where it is missing.
std::uint16_t decode_port(const Field& field);

std::map<std::string, std::string> decode_strings(const Field& field);

}  // namespace underpass::k8s
