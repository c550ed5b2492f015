// SPDX-License-Identifier: Apache-2.0
// EndpointSlice (discovery.k8s.io/v1).
#include <boost/json/value.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "agent/k8s/decode.h"
#include "agent/k8s/decode_metadata.h"
#include "agent/k8s/decode_values.h"
#include "agent/k8s/field.h"

namespace underpass::k8s {
namespace json = boost::json;

namespace {

enum class AddressType { kIpv4, kIpv6, kFqdn };

// The addresses of an endpoint are interchangeable, and only the first is used (KEP-0752; kube-proxy does the same).
IpAddress decode_address(const Field& addresses, bool v6) {
  const auto all = addresses.elements();
  if (all.empty()) {
    addresses.refuse_field("missing");
    return {};
  }
  const auto ip = decode_routable_ip(all.front());
  if (!ip) {
    all.front().refuse("not an IP address");
    return {};
  }
  if (ip->is_v4() == v6) all.front().refuse(v6 ? "not an IPv6 address" : "not an IPv4 address");
  return *ip;
}

model::Endpoint decode_endpoint(const Field& field, bool v6) {
  model::Endpoint out;
  out.ip = decode_address(field["addresses"], v6);
  const auto conditions = field["conditions"];
  out.ready = conditions["ready"].boolean().value_or(true);
  out.serving = conditions["serving"].boolean().value_or(out.ready);
  out.terminating = conditions["terminating"].boolean().value_or(false);
  out.node_name = decode_name(field["nodeName"]);
  out.zone = field["zone"].string().value_or("");
  for (const auto& zone : field["hints"]["forZones"].elements()) {
    const auto name = zone["name"];
    auto text = name.string().value_or("");
    if (text.empty()) name.refuse_field("missing");
    out.for_zones.push_back(std::move(text));
  }
  return out;
}

// A port without a number means all ports, which no port of a Service does.
std::vector<model::EndpointPort> decode_endpoint_ports(const Field& list) {
  std::vector<model::EndpointPort> ports;
  for (const auto& element : list.elements()) {
    const auto protocol = element["protocol"];
    const auto number = element["port"];
    if (is_sctp(protocol) || !number.present()) continue;
    ports.push_back({decode_label_name(element["name"]), decode_protocol(protocol), decode_port(number),
                     element["appProtocol"].string().value_or("")});
  }
  return ports;
}

}  // namespace

Decoded<model::EndpointSlice> decode_endpoint_slice(const json::value& object) {
  Findings findings;
  const Field root(object, findings);
  const auto metadata = root["metadata"];
  const auto address_type = root["addressType"];

  model::EndpointSlice out;
  out.id = decode_id(metadata, kUsualNaming);
  out.service = metadata["labels"]["kubernetes.io/service-name"].string().value_or("");
  out.weight = decode_weight(metadata);
  out.ports = decode_endpoint_ports(root["ports"]);
  if (!address_type.present()) address_type.refuse_field("missing");
  const auto type = decode_choice<AddressType>(
      address_type, {{"IPv4", AddressType::kIpv4}, {"IPv6", AddressType::kIpv6}, {"FQDN", AddressType::kFqdn}});
  out.v6 = type == AddressType::kIpv6;
  // Where the type is wrong, that is the error; where the endpoints are names, nobody can connect to them.
  if (type && *type != AddressType::kFqdn) {
    const auto elements = root["endpoints"].elements();
    out.endpoints.reserve(elements.size());
    for (const auto& element : elements) out.endpoints.push_back(decode_endpoint(element, out.v6));
  }
  if (findings.error) return std::unexpected(std::move(*findings.error));
  return out;
}

}  // namespace underpass::k8s
