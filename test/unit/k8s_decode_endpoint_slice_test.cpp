// SPDX-License-Identifier: Apache-2.0
// Every field of an EndpointSlice that Underpass reads, and every way in which one can be wrong.
#include <doctest/doctest.h>

#include <string>

#include "agent/k8s/decode.h"
#include "agent/k8s/yaml.h"

namespace underpass::k8s {
namespace {

Decoded<model::EndpointSlice> decode(const std::string& yaml) {
  const auto documents = parse_yaml(yaml);
  REQUIRE_MESSAGE(documents.has_value(), yaml);
  return decode_endpoint_slice(documents->front().value);
}

// A slice "shop/web-1" with these fields.
std::string slice_with(const std::string& rest, const std::string& metadata = "") {
  return "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: web-1, namespace: shop" + metadata +
         "}" + (rest.empty() ? "" : ", " + rest) + "}";
}

model::EndpointSlice good(const std::string& rest) {
  auto slice = decode(slice_with(rest));
  REQUIRE_MESSAGE(slice.has_value(), slice.error().path << ": " << slice.error().cause);
  return std::move(*slice);
}

model::Endpoint endpoint(const std::string& fields) {
  return good("addressType: IPv4, endpoints: [{addresses: [10.0.0.7], " + fields + "}]").endpoints.at(0);
}

std::string bad(const std::string& rest, const std::string& metadata = "") {
  const auto slice = decode(slice_with(rest, metadata));
  return slice ? "it decodes" : slice.error().path + ": " + slice.error().cause;
}

IpAddress ip(const std::string& text) { return IpAddress::parse(text).value(); }

TEST_CASE("endpoint slice: everything there is") {
  const auto slice = decode(R"(
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: web-abcde
  namespace: shop
  labels: {kubernetes.io/service-name: web}
  annotations: {underpass.dev/weight: "7"}
addressType: IPv6
ports: [{name: http, protocol: TCP, port: 8080, appProtocol: http}, {name: dns, protocol: UDP, port: 53}]
endpoints:
- addresses: ["fd00::7", "fd00::8"]
  conditions: {ready: false, serving: true, terminating: true}
  nodeName: node-a
  zone: zone-1
  hints: {forZones: [{name: zone-1}, {name: zone-2}]}
  targetRef: {kind: Pod, name: web}
- addresses: ["fd00::9"]
)");
  REQUIRE(slice.has_value());
  CHECK(*slice == model::EndpointSlice{
                      .id = {"shop", "web-abcde"},
                      .service = "web",
                      .v6 = true,
                      .weight = 7,
                      .ports = {{"http", model::Protocol::kTcp, 8080, "http"}, {"dns", model::Protocol::kUdp, 53}},
                      .endpoints = {{.ip = ip("fd00::7"),
                                     .node_name = "node-a",
                                     .zone = "zone-1",
                                     .for_zones = {"zone-1", "zone-2"},
                                     .ready = false,
                                     .serving = true,
                                     .terminating = true},
                                    {.ip = ip("fd00::9"), .node_name = "", .zone = "", .for_zones = {}}},
                  });
}

TEST_CASE("endpoint slice: what is absent or null has its default") {
  const model::EndpointSlice plain{
      .id = {"shop", "web-1"}, .service = "", .v6 = false, .weight = 1, .ports = {}, .endpoints = {}};
  CHECK(good("addressType: IPv4") == plain);
  CHECK(good("addressType: IPv4, ports: null, endpoints: null") == plain);
  CHECK(endpoint("conditions: null").ready);
  CHECK(endpoint("conditions: {ready: null}").ready);
  CHECK(endpoint("conditions: {ready: true}").serving);
  CHECK_FALSE(endpoint("conditions: {ready: false}").serving);
  CHECK_FALSE(endpoint("conditions: {ready: false}").terminating);
}

TEST_CASE("endpoint slice: names and what we do not carry are left out") {
  CHECK(good("addressType: FQDN, endpoints: [{addresses: [www.example.com]}]").endpoints.empty());
  const auto ports = good(
                         "addressType: IPv4, ports: [{name: all}, {name: null, port: null}, "
                         "{protocol: SCTP, port: 5}, {port: 80}]")
                         .ports;
  CHECK(ports == std::vector<model::EndpointPort>{{"", model::Protocol::kTcp, 80}});
}

TEST_CASE("endpoint slice: what is wrong is said by path and cause") {
  const auto address = [](const std::string& type, const std::string& text) {
    return bad("addressType: " + type + ", endpoints: [{addresses: ['" + text + "']}]");
  };
  CHECK(address("IPv4", "fd00::7") == "endpoints[0].addresses[0]: \"fd00::7\": not an IPv4 address");
  CHECK(address("IPv6", "10.0.0.7") == "endpoints[0].addresses[0]: \"10.0.0.7\": not an IPv6 address");
  CHECK(address("IPv6", "::ffff:10.0.0.7") == "endpoints[0].addresses[0]: \"::ffff:10.0.0.7\": not an IPv6 address");
  CHECK(address("IPv4", "10.0.0") == "endpoints[0].addresses[0]: \"10.0.0\": not an IP address");
  CHECK(address("IPv4", "") == "endpoints[0].addresses[0]: \"\": not an IP address");
  for (const char* special : {"0.0.0.0", "127.0.0.1", "169.254.169.254", "224.0.0.1"}) {
    CHECK(address("IPv4", special).ends_with("must not be unspecified, loopback, link-local or multicast"));
  }
  struct Row {
    const char* rest;
    const char* message;
  };
  const Row rows[] = {
      {"", "addressType: missing"},
      {"addressType: ipv4", "addressType: \"ipv4\": must be one of IPv4, IPv6, FQDN"},
      {"addressType: IPv4, endpoints: {}", "endpoints: a mapping: must be a list"},
      {"addressType: IPv4, endpoints: [{}]", "endpoints[0].addresses: missing"},
      {"addressType: IPv4, endpoints: [{addresses: []}]", "endpoints[0].addresses: missing"},
      {"addressType: IPv4, endpoints: [{addresses: [10.0.0.1]}, {addresses: [5]}]",
       "endpoints[1].addresses[0]: 5: must be a string (put it in quotes)"},
      {"addressType: IPv4, endpoints: [{addresses: [10.0.0.1], conditions: {ready: 'yes'}}]",
       "endpoints[0].conditions.ready: \"yes\": must be true or false"},
      {"addressType: IPv4, endpoints: [{addresses: [10.0.0.1], nodeName: A}]",
       "endpoints[0].nodeName: \"A\": not an RFC 1123 subdomain (a-z, 0-9, - and ., at most 253)"},
      {"addressType: IPv4, endpoints: [{addresses: [10.0.0.1], zone: 1}]",
       "endpoints[0].zone: 1: must be a string (put it in quotes)"},
      {"addressType: IPv4, endpoints: [{addresses: [10.0.0.1], hints: {forZones: [{}]}}]",
       "endpoints[0].hints.forZones[0].name: missing"},
      {"addressType: IPv4, ports: [{port: 0}]", "ports[0].port: 0: must be 1 to 65535"},
      {"addressType: IPv4, ports: [{port: 65536}]", "ports[0].port: 65536: must be 1 to 65535"},
      {"addressType: IPv4, ports: [{port: '80'}]", "ports[0].port: \"80\": must be a number (without quotes)"},
      {"addressType: IPv4, ports: [{port: 80, protocol: QUIC}]",
       "ports[0].protocol: \"QUIC\": must be one of TCP, UDP"},
      {"addressType: IPv4, ports: [{port: 80, name: A_B}]",
       "ports[0].name: \"A_B\": not an RFC 1123 label (a-z, 0-9 and -, at most 63)"},
  };
  for (const auto& row : rows) {
    CAPTURE(row.message);
    CHECK(bad(row.rest) == row.message);
  }
  for (const char* weight : {"'0'", "'101'", "''", "'5x'", "'-1'", "'1.5'"}) {
    CHECK(bad("addressType: IPv4", std::string(", annotations: {underpass.dev/weight: ") + weight + "}")
              .ends_with("must be 1 to 100"));
  }
}

TEST_CASE("endpoint slice: five thousand endpoints are as good as one") {
  std::string endpoints;
  for (int i = 0; i < 5000; ++i) {
    endpoints += "{addresses: [10.0." + std::to_string(i / 250) + "." + std::to_string(i % 250) + "]}, ";
  }
  CHECK(good("addressType: IPv4, endpoints: [" + endpoints + "]").endpoints.size() == 5000);
}

}  // namespace
}  // namespace underpass::k8s
