// SPDX-License-Identifier: Apache-2.0
// What `underpassctl services` is given, as golden texts.
#include "agent/admin/service_views.h"

#include <doctest/doctest.h>

#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

using namespace underpass;
using model::Diagnostic;
namespace json = boost::json;

namespace {

std::string compact(std::string_view golden) { return json::serialize(json::parse(golden)); }

IpAddress ip(const char* text) { return IpAddress::parse(text).value(); }

std::string pod_name(const IpAddress& address) { return address == ip("10.0.0.7") ? "shop/web-1" : ""; }

compile::PortTables tables() {
  return {
      {{.service = {"shop", "web"}, .protocol = model::Protocol::kTcp, .port = 80, .v6 = false},
       {.frontends = {{.ip = ip("0.0.0.0"), .port = 30080}, {.ip = ip("10.96.0.1"), .port = 80}},
        .backends = {{.ip = ip("10.0.0.7"), .port = 8080, .weight = 3}, {.ip = ip("10.0.1.8"), .port = 8080}},
        .affinity_seconds = 10800,
        .maglev = true}},
      {{.service = {"shop", "web"}, .protocol = model::Protocol::kUdp, .port = 53, .v6 = true},
       {.frontends = {{.ip = ip("::"), .port = 30053, .protocol = model::Protocol::kUdp},
                      {.ip = ip("fd00::1"), .port = 53, .protocol = model::Protocol::kUdp}},
        .backends = {}}},
  };
}

Diagnostic diagnostic(const char* name, Diagnostic::State state, const char* path, const char* cause) {
  return {.kind = "Service", .id = {"shop", name}, .state = state, .path = path, .cause = cause, .since = ""};
}

}  // namespace

TEST_CASE("services view: a row for each port in each family") {
  CHECK(json::serialize(admin::services_view(tables(), {}, pod_name)) == compact(R"([
    {"namespace": "shop", "name": "web", "port": 80, "protocol": "tcp", "family": "IPv4",
     "frontends": ["*:30080", "10.96.0.1:80"],
     "backends": [{"ip": "10.0.0.7", "port": 8080, "weight": 3, "pod": "shop/web-1"},
                  {"ip": "10.0.1.8", "port": 8080, "weight": 1, "pod": null}],
     "loadBalancing": "maglev", "affinitySeconds": 10800, "state": "active", "cause": null},
    {"namespace": "shop", "name": "web", "port": 53, "protocol": "udp", "family": "IPv6",
     "frontends": ["*:30053", "[fd00::1]:53"], "backends": [], "loadBalancing": "random", "affinitySeconds": 0,
     "state": "active", "cause": null}])"));
  CHECK(admin::services_view({}, {}, pod_name).empty());
}

TEST_CASE("services view: what was refused has a row of its own") {
  using enum Diagnostic::State;
  const std::vector<Diagnostic> diagnostics{
      diagnostic("zoo", kRefused, "spec.clusterIPs", "10.96.0.1:80/TCP is already that of Service shop/web"),
      diagnostic("api", kRefused, "spec.ports[].nodePort", "0.0.0.0:30080/UDP is already that of Service shop/web"),
      diagnostic("bad", kRefused, "spec.ports[0].port", "65536: not a port"),
      {.kind = "Pod", .id = {"shop", "web"}, .state = kRefused, .path = "", .cause = "x", .since = ""}};
  const json::array rows = admin::services_view(tables(), diagnostics, pod_name);
  REQUIRE(rows.size() == 5);
  CHECK(json::serialize(rows.at(0)) == compact(R"({"namespace": "shop", "name": "api", "port": null, "protocol": "udp",
    "family": "IPv4", "frontends": ["*:30080"], "backends": [], "loadBalancing": null, "affinitySeconds": 0,
    "state": "refused", "cause": "spec.ports[].nodePort: 0.0.0.0:30080/UDP is already that of Service shop/web"})"));
  CHECK(json::serialize(rows.at(1)) == compact(R"({"namespace": "shop", "name": "bad", "port": null, "protocol": null,
    "family": null, "frontends": [], "backends": [], "loadBalancing": null, "affinitySeconds": 0, "state": "refused",
    "cause": "spec.ports[0].port: 65536: not a port"})"));
  CHECK(rows.at(2).at("state") == "active");
  CHECK(json::serialize(rows.at(4)) == compact(R"({"namespace": "shop", "name": "zoo", "port": 80, "protocol": "tcp",
    "family": "IPv4", "frontends": ["10.96.0.1:80"], "backends": [], "loadBalancing": null, "affinitySeconds": 0,
    "state": "refused", "cause": "spec.clusterIPs: 10.96.0.1:80/TCP is already that of Service shop/web"})"));
}

TEST_CASE("services view: a refused IPv6 frontend") {
  const std::vector<Diagnostic> diagnostics{diagnostic("zoo", Diagnostic::State::kRefused, "spec.clusterIPs",
                                                       "[fd00::1]:53/UDP is already that of Service shop/web")};
  const json::array rows = admin::services_view({}, diagnostics, {});
  CHECK(rows.at(0).at("frontends").at(0) == "[fd00::1]:53");
  CHECK(rows.at(0).at("family") == "IPv6");
}

TEST_CASE("services view: a stale Service says so on its rows") {
  const std::vector<Diagnostic> diagnostics{diagnostic("web", Diagnostic::State::kStale, "spec.type", "odd")};
  const json::array rows = admin::services_view(tables(), diagnostics, pod_name);
  REQUIRE(rows.size() == 2);
  for (const json::value& row : rows) {
    CHECK(row.at("state") == "stale");
    CHECK(row.at("cause") == "spec.type: odd");
  }
}
