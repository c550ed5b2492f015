// SPDX-License-Identifier: Apache-2.0
// Every field of a Node that Underpass reads, and every way in which one can be wrong.
#include <doctest/doctest.h>

#include <string>

#include "agent/k8s/decode.h"
#include "agent/k8s/yaml.h"

namespace underpass::k8s {
namespace {

Decoded<model::Node> decode(const std::string& rest) {
  const auto documents = parse_yaml("{apiVersion: v1, kind: Node, " + rest + "}");
  REQUIRE_MESSAGE(documents.has_value(), rest);
  return decode_node(documents->front().value);
}

std::string bad(const std::string& rest) {
  const auto node = decode(rest);
  return node ? "it decodes" : node.error().path + ": " + node.error().cause;
}

IpAddress ip(const std::string& text) { return IpAddress::parse(text).value(); }

TEST_CASE("node: everything there is") {
  const auto node = decode(
      "metadata: {name: node-a.example.com, labels: {topology.kubernetes.io/zone: zone-1, underpass.dev/mesh: "
      "disabled}}, status: {addresses: [{type: Hostname, address: node-a}, {type: InternalIP, address: 192.168.0.1}, "
      "{type: InternalIP, address: 'fd00::1'}, {type: ExternalIP, address: 192.0.2.1}, "
      "{type: ExternalIP, address: 192.168.0.1}]}");
  REQUIRE(node.has_value());
  CHECK(*node == model::Node{.name = "node-a.example.com",
                             .addresses = {ip("192.168.0.1"), ip("fd00::1"), ip("192.0.2.1")},
                             .zone = "zone-1",
                             .mesh = false});
  CHECK(decode("metadata: {name: a}").value() == model::Node{.name = "a", .addresses = {}, .zone = "", .mesh = {}});
}

TEST_CASE("node: what is wrong is said by path and cause") {
  struct Row {
    const char* rest;
    const char* message;
  };
  const Row rows[] = {
      {"metadata: {}", "metadata.name: missing"},
      {"metadata: {name: A}", "metadata.name: \"A\": not an RFC 1123 subdomain (a-z, 0-9, - and ., at most 253)"},
      {"metadata: {name: a, labels: {topology.kubernetes.io/zone: 1}}",
       "metadata.labels[topology.kubernetes.io/zone]: 1: must be a string (put it in quotes)"},
      {"metadata: {name: a, labels: {underpass.dev/mesh: on}}",
       "metadata.labels[underpass.dev/mesh]: \"on\": must be one of enabled, disabled"},
      {"metadata: {name: a}, status: {addresses: {}}", "status.addresses: a mapping: must be a list"},
      {"metadata: {name: a}, status: {addresses: [{type: InternalIP, address: node-a}]}",
       "status.addresses[0].address: \"node-a\": not an IP address"},
  };
  for (const auto& row : rows) {
    CAPTURE(row.message);
    CHECK(bad(row.rest) == row.message);
  }
}

}  // namespace
}  // namespace underpass::k8s
