// SPDX-License-Identifier: Apache-2.0
// What a CONNECT names, and whose port a Forwarded tells.
#include <arpa/inet.h>
#include <doctest/doctest.h>

#include <map>
#include <string>

#include "underpass/ip_address.h"
#include "userspace_proxy/session/tunnel_server.h"

namespace underpass::test {
namespace {

std::string target(std::string_view authority) {
  const auto parsed = session::parse_tunnel_target(authority);
  return parsed ? IpAddress(parsed->addr).to_string() + " " + std::to_string(ntohs(parsed->port)) : "none";
}

int port(std::string_view forwarded, const char* client) {
  return ntohs(session::forwarded_port(forwarded, IpAddress::parse(client)->to_abi()));
}

TEST_CASE("tunnel: an authority is an address and a port, or nothing") {
  CHECK(target("10.0.0.1:80") == "10.0.0.1 80");
  CHECK(target("[fd00::1]:65535") == "fd00::1 65535");
  for (const auto* bad : {"", "10.0.0.1", "10.0.0.1:", "10.0.0.1:0", "10.0.0.1:65536", "10.0.0.1:80:80", "web:80",
                          "web.shop.svc.cluster.local:80", "fd00::1:80", "[fd00::1]", "[fd00::1%eth0]:80",
                          "[10.0.0.1]:80x", "010.0.0.1:80", "10.0.0.1:80 ", "user@10.0.0.1:80"})
    CHECK_MESSAGE(target(bad) == "none", bad);
}

TEST_CASE("tunnel: a name is that of a Service's port that leads to the pod") {
  const std::map<std::string, std::uint16_t> services{{"web.shop.svc.cluster.local:80", 8080}};
  CHECK(session::port_named("web.shop.svc.cluster.local:80", services) == 8080);
  CHECK(session::port_named("Web.Shop.SVC.cluster.local.:80", services) == 8080);
  for (const auto* other : {"", "web.shop.svc.cluster.local", "web.shop.svc.cluster.local:81", "web.shop:80", "web:80",
                            "web.shop.svc.cluster.local..:80", "web.shop.svc.cluster.local:080", "10.0.0.1:80",
                            "x@web.shop.svc.cluster.local:80", "web.shop.svc.cluster.local:80 "})
    CHECK_MESSAGE(session::port_named(other, services) == 0, other);
}

TEST_CASE("tunnel: a Forwarded tells the port of the one that came, and of nobody else") {
  CHECK(port("for=\"10.0.0.1:1234\"", "10.0.0.1") == 1234);
  CHECK(port("for=\"[fd00::1]:1234\";proto=tcp", "fd00::1") == 1234);
  CHECK(port("for=\"10.0.0.2:1234\"", "10.0.0.1") == 0);
  CHECK(port("for=10.0.0.1", "10.0.0.1") == 0);
  CHECK(port("for=\"10.0.0.1:1234", "10.0.0.1") == 1234);
  CHECK(port("", "10.0.0.1") == 0);
}

}  // namespace
}  // namespace underpass::test
