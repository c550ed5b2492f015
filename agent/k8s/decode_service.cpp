// SPDX-License-Identifier: Apache-2.0
// Service (core/v1). What the API server would refuse is refused here too, for the folder source has none before it:
// two ports that are the same, ports without names, addresses that every network namespace has.
#include <algorithm>
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

constexpr std::uint32_t kDefaultAffinitySeconds = 10800;
constexpr std::uint32_t kMaxAffinitySeconds = 86400;

enum class Type { kClusterIp, kNodePort, kLoadBalancer, kExternalName };

void add_ip(const Field& field, std::vector<IpAddress>& ips) {
  const auto ip = decode_routable_ip(field);
  if (!ip) return;
  if (std::ranges::find(ips, *ip) != ips.end()) return field.refuse(kListedTwice);
  ips.push_back(*ip);
}

bool is_none(const Field& field) { return field.is_string() && field.string() == "None"; }

// spec.clusterIPs, whose first element is spec.clusterIP; older writers give only the latter. "None": headless.
std::vector<IpAddress> decode_cluster_ips(const Field& spec) {
  std::vector<IpAddress> ips;
  const auto first = spec["clusterIP"];
  const auto all = spec["clusterIPs"].elements();
  const bool headless = is_none(first) || (!first.present() && !all.empty() && is_none(all.front()));
  if (!headless) add_ip(first, ips);
  if (all.empty()) return ips;
  if (headless) {
    for (const auto& field : all) {
      if (!is_none(field)) field.refuse("spec.clusterIP is None");
    }
    return ips;
  }
  const auto primary = std::exchange(ips, {});
  for (const auto& field : all) add_ip(field, ips);
  if (!primary.empty() && (ips.empty() || ips.front() != primary.front())) {
    all.front().refuse("is not the address in spec.clusterIP");
  }
  return ips;
}

// spec.externalIPs and the load balancer's, unless it wants the traffic for itself (ipMode: Proxy).
std::vector<IpAddress> decode_external_ips(const Field& spec, const Field& status) {
  std::vector<IpAddress> ips;
  for (const auto& field : spec["externalIPs"].elements()) add_ip(field, ips);
  for (const auto& ingress : status["loadBalancer"]["ingress"].elements()) {
    const bool to_balancer = decode_choice<bool>(ingress["ipMode"], {{"VIP", false}, {"Proxy", true}}).value_or(false);
    const auto ip = decode_routable_ip(ingress["ip"]);
    if (ip && !to_balancer && std::ranges::find(ips, *ip) == ips.end()) ips.push_back(*ip);
  }
  return ips;
}

model::TargetPort decode_target(const Field& field, std::uint16_t port) {
  if (!field.present()) return port;
  if (!field.is_string()) return decode_port(field);
  auto name = decode_label_name(field);
  if (name.empty()) return port;
  return name;
}

// 0 as if it were absent: so a client writes one that is to be chosen.
std::uint16_t decode_node_port(const Field& field, Type type) {
  const auto port = static_cast<std::uint16_t>(field.integer(0, 65535).value_or(0));
  if (port != 0 && type == Type::kClusterIp) field.refuse("only of type NodePort or LoadBalancer");
  return port;
}

std::vector<model::ServicePort> decode_service_ports(const Field& list, Type type) {
  std::vector<model::ServicePort> ports;
  const auto elements = list.elements();
  for (const auto& element : elements) {
    const auto name = element["name"];
    const auto number = element["port"];
    const auto node_port = element["nodePort"];
    model::ServicePort port;
    port.name = decode_label_name(name);
    port.protocol = decode_protocol(element["protocol"]);
    port.port = decode_port(number);
    port.target = decode_target(element["targetPort"], port.port);
    port.node_port = decode_node_port(node_port, type);
    port.app_protocol = element["appProtocol"].string().value_or("");
    if (port.name.empty() && elements.size() > 1) name.refuse_field("missing: each of several ports needs a name");
    for (const auto& other : ports) {
      if (port.name == other.name) name.refuse(kListedTwice);
      if (port.protocol != other.protocol) continue;
      if (port.port == other.port) number.refuse("listed twice with this protocol");
      if (port.node_port != 0 && port.node_port == other.node_port) node_port.refuse("listed twice with this protocol");
    }
    ports.push_back(std::move(port));
  }
  return ports;
}

std::uint32_t decode_affinity(const Field& spec) {
  const auto by_client = decode_choice<bool>(spec["sessionAffinity"], {{"None", false}, {"ClientIP", true}});
  if (!by_client.value_or(false)) return 0;
  const auto seconds = spec["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"];
  return seconds.integer(1, kMaxAffinitySeconds).value_or(kDefaultAffinitySeconds);
}

model::TrafficDistribution decode_distribution(const Field& field) {
  using model::TrafficDistribution;
  return decode_choice<TrafficDistribution>(field, {{"PreferClose", TrafficDistribution::kSameZone},
                                                    {"PreferSameZone", TrafficDistribution::kSameZone},
                                                    {"PreferSameNode", TrafficDistribution::kSameNode}})
      .value_or(TrafficDistribution::kAny);
}

void decode_spec(const Field& spec, const Field& status, Type type, model::Service& out) {
  out.cluster_ips = decode_cluster_ips(spec);
  out.external_ips = decode_external_ips(spec, status);
  out.selector = decode_strings(spec["selector"]);
  out.ports = decode_service_ports(spec["ports"], type);
  out.affinity_seconds = decode_affinity(spec);
  out.publish_not_ready = spec["publishNotReadyAddresses"].boolean().value_or(false);
  out.internal_local =
      decode_choice<bool>(spec["internalTrafficPolicy"], {{"Cluster", false}, {"Local", true}}).value_or(false);
  out.distribution = decode_distribution(spec["trafficDistribution"]);
}

}  // namespace

Decoded<model::Service> decode_service(const json::value& object) {
  Findings findings;
  const Field root(object, findings);
  const auto metadata = root["metadata"];
  const auto spec = root["spec"];

  model::Service out;
  out.id = decode_id(metadata, kServiceNaming);
  out.created = decode_created(metadata);
  out.maglev = decode_choice<bool>(metadata["annotations"]["underpass.dev/load-balancing"],
                                   {{"random", false}, {"maglev", true}})
                   .value_or(false);
  const auto type = decode_choice<Type>(spec["type"], {{"ClusterIP", Type::kClusterIp},
                                                       {"NodePort", Type::kNodePort},
                                                       {"LoadBalancer", Type::kLoadBalancer},
                                                       {"ExternalName", Type::kExternalName}})
                        .value_or(Type::kClusterIp);
  if (type != Type::kExternalName) decode_spec(spec, root["status"], type, out);  // that is a name in DNS, no more
  if (findings.error) return std::unexpected(std::move(*findings.error));
  return out;
}

}  // namespace underpass::k8s
