// SPDX-License-Identifier: Apache-2.0
// Services and what is behind them, as plain values. Field meanings are Kubernetes' own (core/v1 Service,
// discovery.k8s.io/v1 EndpointSlice, core/v1 Node).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "underpass/ids.h"
#include "underpass/ip_address.h"

namespace underpass::model {

// IANA protocol numbers, as in the BPF maps. SCTP is refused by the decoders.
enum class Protocol : std::uint8_t { kTcp = 6, kUdp = 17 };

// Where a Service's port leads: a number, or the name of a port of the pods' containers.
using TargetPort = std::variant<std::uint16_t, std::string>;

struct ServicePort {
  std::string name;  // empty where the Service has one port only
  Protocol protocol = Protocol::kTcp;
  std::uint16_t port = 0;
  TargetPort target = std::uint16_t{0};  // the same as `port` where the object says nothing
  std::uint16_t node_port = 0;           // 0: none
  std::string app_protocol = {};         // "http", "kubernetes.io/h2c"; empty: not said

  bool operator==(const ServicePort&) const = default;
};

// spec.trafficDistribution: PreferClose and PreferSameZone, PreferSameNode.
enum class TrafficDistribution { kAny, kSameZone, kSameNode };

struct Service {
  NamespacedName id;
  std::string created;                  // metadata.creationTimestamp, RFC 3339; empty: not known, younger than any
  std::vector<IpAddress> cluster_ips;   // empty: headless, ExternalName, or not assigned yet
  std::vector<IpAddress> external_ips;  // spec.externalIPs and status.loadBalancer.ingress[].ip
  std::map<std::string, std::string> selector;
  std::vector<ServicePort> ports;
  std::uint32_t affinity_seconds = 0;  // sessionAffinity: ClientIP; 0: None
  bool publish_not_ready = false;      // spec.publishNotReadyAddresses
  bool internal_local = false;         // spec.internalTrafficPolicy: Local
  TrafficDistribution distribution = TrafficDistribution::kAny;
  bool maglev = false;  // annotation underpass.dev/load-balancing: maglev (default random)

  bool operator==(const Service&) const = default;
};

struct EndpointPort {
  std::string name;  // of the Service's port
  Protocol protocol = Protocol::kTcp;
  std::uint16_t port = 0;
  std::string app_protocol = {};  // as the Service's

  bool operator==(const EndpointPort&) const = default;
};

struct Endpoint {
  IpAddress ip;
  std::string node_name;               // empty: not said
  std::string zone;                    // empty: not said
  std::vector<std::string> for_zones;  // hints.forZones
  bool ready = true;
  bool serving = true;
  bool terminating = false;

  bool operator==(const Endpoint&) const = default;
};

struct EndpointSlice {
  NamespacedName id;
  std::string service;       // label kubernetes.io/service-name, in the same namespace; empty: of none
  bool v6 = false;           // addressType
  std::uint16_t weight = 1;  // annotation underpass.dev/weight, 1 to 100: of each of its endpoints
  std::vector<EndpointPort> ports;
  std::vector<Endpoint> endpoints;

  bool operator==(const EndpointSlice&) const = default;
};

struct Node {
  std::string name;
  std::vector<IpAddress> addresses;  // status.addresses of type InternalIP and ExternalIP
  std::string zone;                  // label topology.kubernetes.io/zone; empty: none
  std::optional<bool> mesh;          // label underpass.dev/mesh

  bool operator==(const Node&) const = default;
};

}  // namespace underpass::model
