// SPDX-License-Identifier: Apache-2.0
#include "agent/k8s/decode_values.h"

#include <algorithm>
#include <span>

#include "agent/k8s/names.h"

namespace underpass::k8s {
namespace {

bool is_special(const IpAddress& ip) {
  const up_addr address = ip.to_abi();
  const std::span bytes(address.bytes);
  if (ip.is_v4()) {
    const auto first = bytes[12];
    return first == 0 || first == 127 || (first == 169 && bytes[13] == 254) || (first >= 224 && first <= 239) ||
           std::ranges::all_of(bytes.subspan(12), [](auto byte) { return byte == 255; });
  }
  if (std::ranges::all_of(bytes.first(15), [](auto byte) { return byte == 0; }) && bytes[15] <= 1) return true;  // ::1
  return bytes[0] == 0xff || (bytes[0] == 0xfe && (bytes[1] & 0xc0) == 0x80);
}

}  // namespace

std::string decode_name(const Field& field) {
  auto name = field.string().value_or("");
  if (!name.empty() && !is_dns_subdomain(name)) field.refuse(kNotASubdomain);
  return name;
}

std::string decode_label_name(const Field& field) {
  auto name = field.string().value_or("");
  if (!name.empty() && !is_dns_label(name)) field.refuse(kNotALabel);
  return name;
}

std::optional<IpAddress> decode_ip(const Field& field) {
  const auto text = field.string();
  if (!text || text->empty()) return std::nullopt;
  const auto ip = IpAddress::parse(*text);
  if (!ip) field.refuse("not an IP address");
  return ip;
}

std::optional<IpAddress> decode_routable_ip(const Field& field) {
  const auto ip = decode_ip(field);
  if (ip && is_special(*ip)) field.refuse("must not be unspecified, loopback, link-local or multicast");
  return ip;
}

bool is_sctp(const Field& field) { return field.is_string() && field.string() == "SCTP"; }

model::Protocol decode_protocol(const Field& field) {
  using model::Protocol;
  if (is_sctp(field)) {
    field.refuse("not supported: TCP and UDP are");
    return Protocol::kTcp;
  }
  return decode_choice<Protocol>(field, {{"TCP", Protocol::kTcp}, {"UDP", Protocol::kUdp}}).value_or(Protocol::kTcp);
}

std::uint16_t decode_port(const Field& field) {
  if (!field.present()) field.refuse_field("missing");
  return static_cast<std::uint16_t>(field.integer(1, 65535).value_or(0));
}

std::map<std::string, std::string> decode_strings(const Field& field) {
  std::map<std::string, std::string> out;
  for (const auto& [key, value] : field.members()) out[std::string(key)] = value.string().value_or("");
  return out;
}

}  // namespace underpass::k8s
