// SPDX-License-Identifier: Apache-2.0
// Every field of a Service that Underpass reads, and every way in which one can be wrong.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "agent/k8s/decode.h"
#include "agent/k8s/yaml.h"

namespace underpass::k8s {
namespace {

using model::Protocol;
using model::TrafficDistribution;

Decoded<model::Service> decode(const std::string& yaml) {
  const auto documents = parse_yaml(yaml);
  REQUIRE_MESSAGE(documents.has_value(), yaml);
  return decode_service(documents->front().value);
}

// A Service "shop/web" with this spec; `rest` begins with a comma.
std::string service_with(const std::string& spec, const std::string& metadata = "", const std::string& rest = "") {
  return "{apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop" + metadata + "}, spec: {" + spec +
         "}" + rest + "}";
}

model::Service good(const std::string& spec, const std::string& metadata = "", const std::string& rest = "") {
  auto service = decode(service_with(spec, metadata, rest));
  REQUIRE_MESSAGE(service.has_value(), service.error().path << ": " << service.error().cause);
  return std::move(*service);
}

std::string bad(const std::string& spec, const std::string& metadata = "", const std::string& rest = "") {
  const auto service = decode(service_with(spec, metadata, rest));
  return service ? "it decodes" : service.error().path + ": " + service.error().cause;
}

std::vector<IpAddress> ips(const std::vector<std::string>& texts) {
  std::vector<IpAddress> out;
  for (const auto& text : texts) out.push_back(IpAddress::parse(text).value());
  return out;
}

TEST_CASE("service: everything there is") {
  const auto service = decode(R"(
apiVersion: v1
kind: Service
metadata:
  name: web
  namespace: shop
  creationTimestamp: 2026-01-02T03:04:05Z
  annotations: {underpass.dev/load-balancing: maglev}
spec:
  type: LoadBalancer
  clusterIP: 10.96.0.10
  clusterIPs: [10.96.0.10, "fd96::10"]
  externalIPs: [192.0.2.1]
  selector: {app: web}
  ports:
  - {name: http, port: 80, targetPort: web, nodePort: 30080, appProtocol: http}
  - {name: dns, protocol: UDP, port: 53, targetPort: 5353}
  - {name: dns-tcp, protocol: TCP, port: 53}
  sessionAffinity: ClientIP
  sessionAffinityConfig: {clientIP: {timeoutSeconds: 60}}
  publishNotReadyAddresses: true
  internalTrafficPolicy: Local
  trafficDistribution: PreferSameNode
status:
  loadBalancer:
    ingress: [{ip: 192.0.2.2}, {hostname: lb.example.com}, {ip: 192.0.2.3, ipMode: Proxy}, {ip: 192.0.2.1}]
)");
  REQUIRE(service.has_value());
  CHECK(*service == model::Service{
                        .id = {"shop", "web"},
                        .created = "2026-01-02T03:04:05Z",
                        .cluster_ips = ips({"10.96.0.10", "fd96::10"}),
                        .external_ips = ips({"192.0.2.1", "192.0.2.2"}),
                        .selector = {{"app", "web"}},
                        .ports = {{"http", Protocol::kTcp, 80, "web", 30080, "http"},
                                  {"dns", Protocol::kUdp, 53, std::uint16_t{5353}, 0},
                                  {"dns-tcp", Protocol::kTcp, 53, std::uint16_t{53}, 0}},
                        .affinity_seconds = 60,
                        .publish_not_ready = true,
                        .internal_local = true,
                        .distribution = TrafficDistribution::kSameNode,
                        .maglev = true,
                    });
}

TEST_CASE("service: what is absent, null or empty has its default") {
  const model::Service plain{
      .id = {"shop", "web"}, .created = "", .cluster_ips = {}, .external_ips = {}, .selector = {}, .ports = {}};
  CHECK(good("") == plain);
  CHECK(good("type: ClusterIP, clusterIP: '', clusterIPs: [], externalIPs: null, selector: null, ports: [], "
             "sessionAffinity: None, publishNotReadyAddresses: false, internalTrafficPolicy: Cluster",
             ", annotations: {underpass.dev/load-balancing: random}, creationTimestamp: null",
             ", status: {loadBalancer: {}}") == plain);
  CHECK(good("ports: [{port: 80, targetPort: ''}]").ports.at(0) ==
        model::ServicePort{.name = "", .protocol = Protocol::kTcp, .port = 80, .target = std::uint16_t{80}});
  CHECK(good("ports: [{port: 80, nodePort: 0}]").ports.at(0).node_port == 0);
  CHECK(good("sessionAffinity: ClientIP").affinity_seconds == 10800);
  CHECK(good("trafficDistribution: PreferClose").distribution == TrafficDistribution::kSameZone);
  CHECK(good("trafficDistribution: PreferSameZone").distribution == TrafficDistribution::kSameZone);
}

TEST_CASE("service: cluster IPs") {
  CHECK(good("clusterIP: 10.96.0.10").cluster_ips == ips({"10.96.0.10"}));
  CHECK(good("clusterIPs: ['fd96::10', 10.96.0.10]").cluster_ips == ips({"fd96::10", "10.96.0.10"}));
  CHECK(good("clusterIP: None, selector: {app: web}, ports: [{port: 80}]").cluster_ips.empty());
  CHECK(good("clusterIP: None, clusterIPs: [None]").cluster_ips.empty());
  CHECK(good("clusterIPs: [None]").cluster_ips.empty());
}

TEST_CASE("service: a name in DNS is left alone") {
  const auto service = good("type: ExternalName, externalName: www.example.com, clusterIP: x, ports: [{port: 0}]");
  CHECK(service == good(""));
}

TEST_CASE("service: what is wrong is said by path and cause") {
  struct Row {
    const char* spec;
    const char* message;
  };
  const Row rows[] = {
      {"type: clusterip", "spec.type: \"clusterip\": must be one of ClusterIP, NodePort, LoadBalancer, ExternalName"},
      {"clusterIP: none", "spec.clusterIP: \"none\": not an IP address"},
      {"clusterIP: 0.0.0.0", "spec.clusterIP: \"0.0.0.0\": must not be unspecified, loopback, link-local or multicast"},
      {"clusterIPs: ['::']", "spec.clusterIPs[0]: \"::\": must not be unspecified, loopback, link-local or multicast"},
      {"clusterIPs: [10.96.0.1, 10.96.0.1]", "spec.clusterIPs[1]: \"10.96.0.1\": listed twice"},
      {"clusterIP: 10.96.0.2, clusterIPs: [10.96.0.1]",
       "spec.clusterIPs[0]: \"10.96.0.1\": is not the address in spec.clusterIP"},
      {"clusterIP: None, clusterIPs: [10.96.0.1]", "spec.clusterIPs[0]: \"10.96.0.1\": spec.clusterIP is None"},
      {"clusterIP: 10.96.0.1, clusterIPs: [None]", "spec.clusterIPs[0]: \"None\": not an IP address"},
      {"externalIPs: [127.0.0.1]",
       "spec.externalIPs[0]: \"127.0.0.1\": must not be unspecified, loopback, link-local or multicast"},
      {"externalIPs: ['fe80::1']",
       "spec.externalIPs[0]: \"fe80::1\": must not be unspecified, loopback, link-local or multicast"},
      {"externalIPs: [a.example.com]", "spec.externalIPs[0]: \"a.example.com\": not an IP address"},
      {"selector: [a]", "spec.selector: a list: must be a mapping"},
      {"selector: {a: 1}", "spec.selector.a: 1: must be a string (put it in quotes)"},
      {"ports: {}", "spec.ports: a mapping: must be a list"},
      {"ports: [{}]", "spec.ports[0].port: missing"},
      {"ports: [{port: 0}]", "spec.ports[0].port: 0: must be 1 to 65535"},
      {"ports: [{port: 65536}]", "spec.ports[0].port: 65536: must be 1 to 65535"},
      {"ports: [{port: -1}]", "spec.ports[0].port: -1: must be 1 to 65535"},
      {"ports: [{port: 18446744073709551615}]", "spec.ports[0].port: 18446744073709551615: must be 1 to 65535"},
      {"ports: [{port: 80.5}]", "spec.ports[0].port: 8.05E1: must be a whole number"},
      {"ports: [{port: '80'}]", "spec.ports[0].port: \"80\": must be a number (without quotes)"},
      {"ports: [{port: true}]", "spec.ports[0].port: true: must be a whole number"},
      {"ports: [{port: 80, protocol: SCTP}]", "spec.ports[0].protocol: \"SCTP\": not supported: TCP and UDP are"},
      {"ports: [{port: 80, protocol: tcp}]", "spec.ports[0].protocol: \"tcp\": must be one of TCP, UDP"},
      {"ports: [{port: 80, targetPort: 0}]", "spec.ports[0].targetPort: 0: must be 1 to 65535"},
      {"ports: [{port: 80, targetPort: 65536}]", "spec.ports[0].targetPort: 65536: must be 1 to 65535"},
      {"ports: [{port: 80, targetPort: a_b}]",
       "spec.ports[0].targetPort: \"a_b\": not an RFC 1123 label (a-z, 0-9 and -, at most 63)"},
      {"type: NodePort, ports: [{port: 80, nodePort: 65536}]", "spec.ports[0].nodePort: 65536: must be 0 to 65535"},
      {"ports: [{port: 80, nodePort: 30080}]", "spec.ports[0].nodePort: 30080: only of type NodePort or LoadBalancer"},
      {"ports: [{name: Web, port: 80}]",
       "spec.ports[0].name: \"Web\": not an RFC 1123 label (a-z, 0-9 and -, at most 63)"},
      {"ports: [{name: a, port: 80}, {port: 81}]", "spec.ports[1].name: missing: each of several ports needs a name"},
      {"ports: [{name: a, port: 80}, {name: a, port: 81}]", "spec.ports[1].name: \"a\": listed twice"},
      {"ports: [{name: a, port: 80}, {name: b, port: 80}]", "spec.ports[1].port: 80: listed twice with this protocol"},
      {"type: NodePort, ports: [{name: a, port: 80, nodePort: 30000}, {name: b, port: 81, nodePort: 30000}]",
       "spec.ports[1].nodePort: 30000: listed twice with this protocol"},
      {"sessionAffinity: Client", "spec.sessionAffinity: \"Client\": must be one of None, ClientIP"},
      {"sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: {timeoutSeconds: 0}}",
       "spec.sessionAffinityConfig.clientIP.timeoutSeconds: 0: must be 1 to 86400"},
      {"sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: {timeoutSeconds: 86401}}",
       "spec.sessionAffinityConfig.clientIP.timeoutSeconds: 86401: must be 1 to 86400"},
      {"publishNotReadyAddresses: 'true'", "spec.publishNotReadyAddresses: \"true\": must be true or false"},
      {"internalTrafficPolicy: local", "spec.internalTrafficPolicy: \"local\": must be one of Cluster, Local"},
      {"trafficDistribution: Near",
       "spec.trafficDistribution: \"Near\": must be one of PreferClose, PreferSameZone, PreferSameNode"},
  };
  for (const auto& row : rows) {
    CAPTURE(row.message);
    CHECK(bad(row.spec) == row.message);
  }
  CHECK(bad("", ", annotations: {underpass.dev/load-balancing: hash}") ==
        "metadata.annotations[underpass.dev/load-balancing]: \"hash\": must be one of random, maglev");
  for (const char* time : {"yesterday", "'2026-01-02 03:04:05Z'", "'2026-01-02T03:04:05+01:00'"}) {
    CHECK(bad("", std::string(", creationTimestamp: ") + time)
              .ends_with("not a time as the API server writes it, for example 2026-01-02T03:04:05Z"));
  }
  CHECK(bad("", "", ", status: {loadBalancer: {ingress: [{ip: x}]}}") ==
        "status.loadBalancer.ingress[0].ip: \"x\": not an IP address");
}

}  // namespace
}  // namespace underpass::k8s
