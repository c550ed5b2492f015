// SPDX-License-Identifier: Apache-2.0
// One Service: where it is dialled and which of its endpoints answer; and the slices that are derived from pods.
#include <doctest/doctest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "agent/compile/services.h"

namespace underpass::compile {
namespace {

using model::Endpoint;
using model::EndpointPort;
using model::EndpointSlice;
using model::Protocol;
using model::Service;
using model::TrafficDistribution;

IpAddress ip(const std::string& text) { return IpAddress::parse(text).value(); }

// Service shop/web with 10.96.0.10:80 to port 8080, and one slice.
struct World {
  Service service{.id = {"shop", "web"}, .cluster_ips = {ip("10.96.0.10")}, .ports = {{.port = 80}}};
  EndpointSlice slice{.id = {"shop", "web-1"}, .service = "web", .ports = {{.port = 8080}}};
  Topology topology{.node_name = "node-a", .zone = "zone-a"};
  SharedSlices more;

  Endpoint& add(const std::string& address) {
    slice.endpoints.push_back({.ip = ip(address), .node_name = "node-b", .zone = "zone-b"});
    return slice.endpoints.back();
  }

  PortTables tables() const {
    auto slices = more;
    slices.insert(slices.begin(), std::make_shared<const EndpointSlice>(slice));
    auto out = compile_service(service, slices, topology);
    std::ranges::reverse(slices);
    CHECK(compile_service(service, slices, topology) == out);  // in any order
    return out;
  }

  // The last bytes of the backends of the only table: "7 8".
  std::string backends() const {
    const auto all = tables();
    REQUIRE(all.size() == 1);
    std::string out;
    for (const auto& backend : all.begin()->second.backends) {
      const auto text = backend.ip.to_string();
      out += (out.empty() ? "" : " ") + text.substr(text.find_last_of(".:") + 1);
    }
    return out;
  }
};

TEST_CASE("services: a cluster IP, a port, its endpoints") {
  World world;
  world.add("10.0.0.8");
  world.add("10.0.0.7");
  CHECK(to_text(world.tables()) ==
        "service shop/web 80/TCP IPv4 random\n"
        "  frontend 10.96.0.10:80/TCP\n"
        "  backend 10.0.0.7:8080 weight=1\n"
        "  backend 10.0.0.8:8080 weight=1\n");
}

TEST_CASE("services: without a cluster IP there is nothing to dial") {
  World world;
  world.add("10.0.0.7");
  world.service.cluster_ips.clear();
  world.service.external_ips = {ip("192.0.2.1")};
  world.service.ports[0].node_port = 30080;
  CHECK(world.tables().empty());
}

TEST_CASE("services: frontends of a port, family by family") {
  World world;
  world.service.cluster_ips = {ip("fd00::10"), ip("10.96.0.10")};
  world.service.external_ips = {ip("192.0.2.2"), ip("192.0.2.1"), ip("192.0.2.2"), ip("2001:db8::1")};
  world.service.ports[0].node_port = 30080;
  world.service.affinity_seconds = 10800;
  world.service.maglev = true;
  world.more.push_back(std::make_shared<const EndpointSlice>(
      EndpointSlice{.service = "web", .v6 = true, .ports = {{.port = 8080}}, .endpoints = {{.ip = ip("fd00::7")}}}));
  CHECK(to_text(world.tables()) ==
        "service shop/web 80/TCP IPv4 maglev affinity=10800s refused: no backend\n"
        "  frontend 0.0.0.0:30080/TCP\n"
        "  frontend 10.96.0.10:80/TCP\n"
        "  frontend 192.0.2.1:80/TCP\n"
        "  frontend 192.0.2.2:80/TCP\n"
        "service shop/web 80/TCP IPv6 maglev affinity=10800s\n"
        "  frontend [::]:30080/TCP\n"
        "  frontend [2001:db8::1]:80/TCP\n"
        "  frontend [fd00::10]:80/TCP\n"
        "  backend [fd00::7]:8080 weight=1\n");
}

TEST_CASE("services: a node port is dialled in the families of the cluster IPs only") {
  World world;
  world.service.external_ips = {ip("2001:db8::1")};
  world.service.ports[0].node_port = 30080;
  const auto tables = world.tables();
  REQUIRE(tables.size() == 2);
  CHECK(tables.begin()->second.frontends.size() == 2);
  CHECK(tables.rbegin()->second.frontends == std::vector<Frontend>{{ip("2001:db8::1"), 80, Protocol::kTcp}});
}

TEST_CASE("services: a port's endpoints are those of its name and protocol") {
  World world;
  world.service.ports = {{.name = "dns", .protocol = Protocol::kUdp, .port = 53},
                         {.name = "dns", .protocol = Protocol::kTcp, .port = 53},
                         {.name = "web", .port = 80}};
  world.slice.ports = {{.name = "dns", .protocol = Protocol::kUdp, .port = 5353},
                       {.name = "web", .protocol = Protocol::kUdp, .port = 8080},
                       {.name = "dns", .protocol = Protocol::kTcp, .port = 5300}};
  world.add("10.0.0.7");
  CHECK(to_text(world.tables()) ==
        "service shop/web 53/TCP IPv4 random\n"
        "  frontend 10.96.0.10:53/TCP\n"
        "  backend 10.0.0.7:5300 weight=1\n"
        "service shop/web 80/TCP IPv4 random refused: no backend\n"
        "  frontend 10.96.0.10:80/TCP\n"
        "service shop/web 53/UDP IPv4 random\n"
        "  frontend 10.96.0.10:53/UDP\n"
        "  backend 10.0.0.7:5353 weight=1\n");
}

TEST_CASE("services: an endpoint of the wrong family is not there") {
  World world;
  world.add("fd00::7");
  world.add("10.0.0.7");
  CHECK(world.backends() == "7");
}

TEST_CASE("services: of an endpoint in two slices the greater weight counts") {
  World world;
  world.add("10.0.0.7");
  world.add("10.0.0.7");
  world.add("10.0.0.8");
  auto other = world.slice;
  other.weight = 9;
  other.endpoints.pop_back();
  world.more.push_back(std::make_shared<const EndpointSlice>(other));
  const auto tables = world.tables();
  CHECK(tables.begin()->second.backends == std::vector<Backend>{{ip("10.0.0.7"), 8080, 9}, {ip("10.0.0.8"), 8080, 1}});
}

TEST_CASE("services: ready, else serving while terminating, else none") {
  World world;
  auto& first = world.add("10.0.0.7");
  first.ready = false;
  first.serving = true;
  first.terminating = true;
  auto& second = world.add("10.0.0.8");
  second.ready = false;
  second.serving = false;
  second.terminating = true;
  auto& third = world.add("10.0.0.9");
  CHECK(world.backends() == "9");
  third.ready = third.serving = false;
  CHECK(world.backends() == "7");
  world.slice.endpoints[0].serving = false;
  CHECK(world.backends().empty());
  world.service.publish_not_ready = true;
  CHECK(world.backends() == "7 8 9");
}

TEST_CASE("services: what serves and does not terminate is not ready") {
  World world;
  world.add("10.0.0.7").ready = false;
  CHECK(world.backends().empty());
}

TEST_CASE("services: internalTrafficPolicy Local keeps to this node, or refuses") {
  World world;
  world.service.internal_local = true;
  world.add("10.0.0.7");
  CHECK(world.backends().empty());
  auto& old = world.add("10.0.0.8");
  old.node_name = "node-a";
  old.ready = false;
  old.terminating = true;
  CHECK(world.backends() == "8");
  auto& here = world.add("10.0.0.9");
  here.node_name = "node-a";
  here.for_zones = {"zone-b"};
  CHECK(world.backends() == "9");
  world.service.distribution = TrafficDistribution::kSameZone;
  CHECK(world.backends() == "9");
  world.service.publish_not_ready = true;
  CHECK(world.backends() == "8 9");
  world.topology.node_name.clear();
  world.slice.endpoints[0].node_name.clear();
  CHECK(world.backends().empty());
}

TEST_CASE("services: internalTrafficPolicy Local is for cluster IPs alone") {
  World world;
  world.service.internal_local = true;
  world.service.external_ips = {ip("192.0.2.7")};
  world.service.ports[0].node_port = 30080;
  world.add("10.0.0.7");
  const auto tables = world.tables();
  REQUIRE(tables.size() == 2);
  const auto& [inside, refused] = *tables.begin();
  const auto& [outside, open] = *tables.rbegin();
  CHECK_FALSE(inside.external);
  CHECK(refused.frontends.size() == 1);
  CHECK(refused.backends.empty());
  CHECK(outside.external);
  CHECK(open.frontends.size() == 2);
  CHECK(open.backends.size() == 1);
}

TEST_CASE("services: trafficDistribution prefers what is near") {
  struct Row {
    const char* what;
    TrafficDistribution distribution;
    std::vector<Endpoint> endpoints;
    const char* zone;
    const char* backends;
  };
  const auto on = [](const char* address, const char* node, const char* zone, std::vector<std::string> hints = {}) {
    return Endpoint{.ip = ip(address), .node_name = node, .zone = zone, .for_zones = std::move(hints)};
  };
  const Endpoint here = on("10.0.0.1", "node-a", "zone-a");
  const Endpoint near = on("10.0.0.2", "node-b", "zone-a");
  const Endpoint far = on("10.0.0.3", "node-c", "zone-b");
  const Endpoint unknown = on("10.0.0.4", "", "");
  Endpoint here_not_ready = here;
  here_not_ready.ready = false;
  const auto any = TrafficDistribution::kAny;
  const auto zone = TrafficDistribution::kSameZone;
  const auto node = TrafficDistribution::kSameNode;
  const Row rows[] = {
      {"any: all", any, {here, near, far, unknown}, "zone-a", "1 2 3 4"},
      {"zone: where it is", zone, {here, near, far, unknown}, "zone-a", "1 2"},
      {"zone: nothing there", zone, {far, unknown}, "zone-a", "3 4"},
      {"zone: only what is ready counts", zone, {here_not_ready, far}, "zone-a", "3"},
      {"zone: ours is not known", zone, {here, near, far, unknown}, "", "1 2 3 4"},
      {"zone: hints beat where it is", zone, {near, on("10.0.0.5", "node-c", "zone-b", {"zone-a"})}, "zone-a", "5"},
      {"zone: hinted for several", zone, {on("10.0.0.5", "", "", {"zone-b", "zone-a"}), far}, "zone-a", "5"},
      {"zone: hinted for others only", zone, {near, on("10.0.0.5", "", "", {"zone-b"})}, "zone-a", "2 5"},
      {"node: here", node, {here, near, far}, "zone-a", "1"},
      {"node: here, hinted for another zone", node, {on("10.0.0.5", "node-a", "", {"zone-b"}), near}, "zone-a", "5"},
      {"node: not here, so the zone", node, {near, far}, "zone-a", "2"},
      {"node: here is not ready", node, {here_not_ready, near, far}, "zone-a", "2"},
      {"node: not here, by hints", node, {near, on("10.0.0.5", "", "", {"zone-a"})}, "zone-a", "5"},
      {"node: neither", node, {far, unknown}, "zone-a", "3 4"},
      {"node: here, and no zone known", node, {here, near, far}, "", "1"},
  };
  for (const auto& row : rows) {
    CAPTURE(row.what);
    World world;
    world.service.distribution = row.distribution;
    world.slice.endpoints = row.endpoints;
    world.topology.zone = row.zone;
    CHECK(world.backends() == row.backends);
  }
}

TEST_CASE("services: what serves while it terminates is taken from anywhere") {
  World world;
  world.service.distribution = TrafficDistribution::kSameZone;
  for (const auto* address : {"10.0.0.7", "10.0.0.8"}) {
    auto& endpoint = world.add(address);
    endpoint.ready = false;
    endpoint.terminating = true;
  }
  world.slice.endpoints[0].zone = "zone-a";
  CHECK(world.backends() == "7 8");
}

TEST_CASE("services: 5,000 endpoints") {
  World world;
  for (int i = 0; i < 5000; ++i) world.add("10.1." + std::to_string(i / 250) + "." + std::to_string(i % 250));
  const auto tables = world.tables();
  REQUIRE(tables.size() == 1);
  CHECK(tables.begin()->second.backends.size() == 5000);
}

// Derived endpoints.

struct Derivation {
  Service service{.id = {"shop", "web"},
                  .cluster_ips = {ip("10.96.0.10")},
                  .selector = {{"app", "web"}, {"tier", "front"}},
                  .ports = {{.name = "http", .port = 80, .target = std::string("http")},
                            {.name = "admin", .port = 81, .target = std::uint16_t{9000}}}};
  std::vector<model::Pod> pods;

  model::Pod& add(const std::string& name, std::vector<IpAddress> ips) {
    pods.push_back({.id = {"shop", name},
                    .node_name = "node-a",
                    .ips = std::move(ips),
                    .labels = {{"app", "web"}, {"tier", "front"}, {"other", "yes"}},
                    .ports = {{.name = "http", .port = 8080}}});
    return pods.back();
  }

  std::vector<EndpointSlice> slices() const {
    std::vector<const model::Pod*> all;
    for (const auto& pod : pods) all.push_back(&pod);
    return derive_slices(service, all);
  }
};

TEST_CASE("derived slices: one for each family") {
  Derivation world;
  world.add("a", {ip("10.0.0.7"), ip("fd00::7"), ip("10.0.0.99")});
  world.add("b", {ip("10.0.0.8")}).node_name = "node-b";
  const auto slices = world.slices();
  REQUIRE(slices.size() == 2);
  const std::vector<EndpointPort> ports{{"http", Protocol::kTcp, 8080}, {"admin", Protocol::kTcp, 9000}};
  CHECK(slices[0] == EndpointSlice{.id = {"shop", "web-1"},
                                   .service = "web",
                                   .ports = ports,
                                   .endpoints = {{.ip = ip("10.0.0.7"), .node_name = "node-a"},
                                                 {.ip = ip("10.0.0.8"), .node_name = "node-b"}}});
  CHECK(slices[1] == EndpointSlice{.id = {"shop", "web-2"},
                                   .service = "web",
                                   .v6 = true,
                                   .ports = ports,
                                   .endpoints = {{.ip = ip("fd00::7"), .node_name = "node-a"}}});
}

TEST_CASE("derived slices: who is selected") {
  Derivation world;
  world.add("other-value", {ip("10.0.0.1")}).labels["tier"] = "back";
  world.add("label-missing", {ip("10.0.0.2")}).labels.erase("tier");
  world.add("terminated", {ip("10.0.0.3")}).terminated = true;
  world.add("not-scheduled", {ip("10.0.0.4")}).node_name.clear();
  world.add("no-address", {});
  CHECK(world.slices().empty());
  world.add("host-network", {ip("192.0.2.1")}).host_network = true;
  REQUIRE(world.slices().size() == 1);
  CHECK(world.slices()[0].endpoints.size() == 1);
  world.service.selector.clear();
  CHECK(world.slices().empty());
}

TEST_CASE("derived slices: conditions as the endpoints controller sets them") {
  struct Row {
    bool ready, deleting, publish;
    bool is_ready, is_serving, is_terminating;
  };
  const Row rows[] = {
      {true, false, false, true, true, false},  {false, false, false, false, false, false},
      {true, true, false, false, true, true},   {false, true, false, false, false, true},
      {false, false, true, true, false, false}, {true, true, true, true, true, true},
  };
  for (const auto& row : rows) {
    Derivation world;
    auto& pod = world.add("a", {ip("10.0.0.7")});
    pod.ready = row.ready;
    pod.deleting = row.deleting;
    world.service.publish_not_ready = row.publish;
    const auto endpoint = world.slices().at(0).endpoints.at(0);
    CHECK(endpoint.ready == row.is_ready);
    CHECK(endpoint.serving == row.is_serving);
    CHECK(endpoint.terminating == row.is_terminating);
  }
}

TEST_CASE("derived slices: pods of another weight or target port are in slices of their own") {
  Derivation world;
  world.add("a", {ip("10.0.0.1")});
  world.add("b", {ip("10.0.0.2")}).weight = 5;
  world.add("c", {ip("10.0.0.3")}).ports = {{.name = "http", .port = 8081}};
  world.add("d", {ip("10.0.0.4")});
  const auto slices = world.slices();
  REQUIRE(slices.size() == 3);
  CHECK(slices[0].endpoints.size() == 2);
  CHECK(slices[1].ports.at(0).port == 8081);
  CHECK(slices[2].weight == 5);
}

TEST_CASE("derived slices: a pod without the named port is left out of that port") {
  Derivation world;
  world.add("a", {ip("10.0.0.1")});
  world.add("b", {ip("10.0.0.2")}).ports = {{.name = "http", .protocol = Protocol::kUdp, .port = 8080}};
  SharedSlices slices;
  for (const auto& slice : world.slices()) slices.push_back(std::make_shared<const EndpointSlice>(slice));
  CHECK(to_text(compile_service(world.service, slices, {})) ==
        "service shop/web 80/TCP IPv4 random\n"
        "  frontend 10.96.0.10:80/TCP\n"
        "  backend 10.0.0.1:8080 weight=1\n"
        "service shop/web 81/TCP IPv4 random\n"
        "  frontend 10.96.0.10:81/TCP\n"
        "  backend 10.0.0.1:9000 weight=1\n"
        "  backend 10.0.0.2:9000 weight=1\n");
}

}  // namespace
}  // namespace underpass::compile
