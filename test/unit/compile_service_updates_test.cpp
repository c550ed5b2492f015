// SPDX-License-Identifier: Apache-2.0
// All Services, from snapshot to snapshot: what is reported as changed, who gets a contested address, and that it makes
// no difference how one came to a snapshot.
#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "agent/compile/services.h"

namespace underpass::compile {
namespace {

using model::EndpointSlice;
using model::Service;

IpAddress ip(const std::string& text) { return IpAddress::parse(text).value(); }

// A snapshot under construction, and the compiler that follows it.
struct World {
  model::Snapshot snapshot;
  ServiceCompiler compiler;
  std::string node_name = "node-a";

  model::Snapshot seen;  // by the compiler

  // Tells the compiler what changed, and nothing else.
  ServiceCompiler::Update update() {
    model::Changes changes;
    changes.services = differences(seen.services, snapshot.services);
    changes.slices = differences(seen.slices, snapshot.slices);
    changes.pods = differences(seen.pods, snapshot.pods);
    changes.nodes = seen.nodes != snapshot.nodes;
    seen = snapshot;
    return compiler.update(snapshot, node_name, changes);
  }

  template <typename Map>
  static std::set<NamespacedName> differences(const Map& before, const Map& now) {
    std::set<NamespacedName> out;
    for (const auto& [id, object] : before)
      if (const auto found = now.find(id); found == now.end() || found->second != object) out.insert(id);
    for (const auto& [id, object] : now)
      if (!before.contains(id)) out.insert(id);
    return out;
  }

  void put(Service service) {
    const auto id = service.id;
    snapshot.services[id] = std::make_shared<const Service>(std::move(service));
  }
  void put(EndpointSlice slice) {
    const auto id = slice.id;
    snapshot.slices[id] = std::make_shared<const EndpointSlice>(std::move(slice));
  }
  void put(const model::Pod& pod) { snapshot.pods[pod.id] = pod; }
  void put(const model::Node& node) { snapshot.nodes[node.name] = node; }
};

Service service(const std::string& name, const std::string& cluster_ip, const std::string& created = "") {
  return {.id = {"shop", name},
          .created = created,
          .cluster_ips = {ip(cluster_ip)},
          .selector = {{"app", name}},
          .ports = {{.port = 80, .target = std::uint16_t{8080}}}};
}

EndpointSlice slice(const std::string& name, const std::string& of, std::vector<std::string> addresses) {
  EndpointSlice out{.id = {"shop", name}, .service = of, .ports = {{.port = 8080}}};
  for (const auto& address : addresses) out.endpoints.push_back({.ip = ip(address), .node_name = "node-a"});
  return out;
}

model::Pod pod(const std::string& name, const std::string& app, const std::string& address) {
  return {.id = {"shop", name}, .node_name = "node-a", .ips = {ip(address)}, .labels = {{"app", app}}};
}

PortKey key(const std::string& name, std::uint16_t port = 80) { return {.service = {"shop", name}, .port = port}; }

using Keys = std::set<PortKey>;

TEST_CASE("service updates: what came, changed and went") {
  World world;
  world.put(service("a", "10.96.0.1"));
  world.put(service("b", "10.96.0.2"));
  world.put(slice("a-1", "a", {"10.0.0.1"}));
  CHECK(world.update().changed == Keys{key("a"), key("b")});
  CHECK(world.update().empty());

  world.put(slice("a-1", "a", {"10.0.0.1"}));  // another object, the same value
  CHECK(world.update().empty());

  world.put(slice("a-2", "a", {"10.0.0.2"}));
  auto update = world.update();
  CHECK(update.changed == Keys{key("a")});
  CHECK(update.removed.empty());
  CHECK(world.compiler.tables().at(key("a")).backends.size() == 2);

  world.put(slice("a-1", "b", {"10.0.0.1"}));  // moves from one Service to another
  CHECK(world.update().changed == Keys{key("a"), key("b")});
  CHECK(world.compiler.tables().at(key("a")).backends == std::vector<Backend>{{ip("10.0.0.2"), 8080}});
  CHECK(world.compiler.tables().at(key("b")).backends == std::vector<Backend>{{ip("10.0.0.1"), 8080}});

  world.snapshot.services.erase({"shop", "a"});
  update = world.update();
  CHECK(update.changed.empty());
  CHECK(update.removed == Keys{key("a")});
}

TEST_CASE("service updates: another port is another table") {
  World world;
  world.put(service("a", "10.96.0.1"));
  world.update();
  auto other = service("a", "10.96.0.1");
  other.ports[0].port = 81;
  world.put(other);
  const auto update = world.update();
  CHECK(update.changed == Keys{key("a", 81)});
  CHECK(update.removed == Keys{key("a", 80)});
}

TEST_CASE("service updates: a slice that outlives its Service waits for the next of that name") {
  World world;
  world.put(slice("a-1", "a", {"10.0.0.1"}));
  world.put(slice("of-none", "", {"10.0.0.2"}));
  CHECK(world.update().empty());
  CHECK(world.compiler.tables().empty());
  world.put(service("a", "10.96.0.1"));
  world.update();
  CHECK(world.compiler.tables().at(key("a")).backends.size() == 1);
  world.snapshot.services.clear();
  CHECK(world.update().removed == Keys{key("a")});
  CHECK(world.update().empty());
}

TEST_CASE("service updates: pods stand in where a Service has no slices") {
  World world;
  world.put(service("a", "10.96.0.1"));
  world.put(service("b", "10.96.0.2"));
  world.put(pod("a1", "a", "10.0.0.1"));
  world.update();
  CHECK(world.compiler.tables().at(key("a")).backends == std::vector<Backend>{{ip("10.0.0.1"), 8080}});
  CHECK(world.compiler.tables().at(key("b")).backends.empty());

  auto other = pod("a1", "a", "10.0.0.1");
  other.images = {"web:2"};  // no part of an endpoint
  world.put(other);
  CHECK(world.update().empty());

  world.put(pod("a1", "b", "10.0.0.1"));  // another label
  CHECK(world.update().changed == Keys{key("a"), key("b")});
  CHECK(world.compiler.tables().at(key("a")).backends.empty());

  world.put(slice("b-1", "b", {"10.0.0.9"}));  // now it has one
  CHECK(world.update().changed == Keys{key("b")});
  CHECK(world.compiler.tables().at(key("b")).backends == std::vector<Backend>{{ip("10.0.0.9"), 8080}});
  world.snapshot.slices.clear();
  world.update();
  CHECK(world.compiler.tables().at(key("b")).backends == std::vector<Backend>{{ip("10.0.0.1"), 8080}});

  world.snapshot.pods.clear();
  CHECK(world.update().changed == Keys{key("b")});
}

TEST_CASE("service updates: node and zone decide what is near") {
  World world;
  auto near = service("a", "10.96.0.1");
  near.distribution = model::TrafficDistribution::kSameZone;
  world.put(near);
  world.put(pod("a1", "a", "10.0.0.1"));
  auto there = pod("a2", "a", "10.0.0.2");
  there.node_name = "node-b";
  world.put(there);
  world.put({.name = "node-a", .addresses = {ip("192.0.2.2"), ip("192.0.2.1")}, .zone = "zone-a"});
  world.put({.name = "node-b", .addresses = {ip("192.0.2.1"), ip("192.0.2.3")}, .zone = "zone-b"});
  world.update();
  CHECK(world.compiler.tables().at(key("a")).backends == std::vector<Backend>{{ip("10.0.0.1"), 8080}});
  CHECK(world.compiler.node_addresses() == std::vector{ip("192.0.2.1"), ip("192.0.2.2"), ip("192.0.2.3")});

  world.snapshot.nodes["node-b"].zone = "zone-a";
  CHECK(world.update().changed == Keys{key("a")});
  CHECK(world.compiler.tables().at(key("a")).backends.size() == 2);

  world.snapshot.nodes["node-b"].zone = "zone-b";
  world.node_name = "node-b";
  CHECK(world.update().changed == Keys{key("a")});
  CHECK(world.compiler.tables().at(key("a")).backends == std::vector<Backend>{{ip("10.0.0.2"), 8080}});

  world.snapshot.nodes.clear();
  CHECK(world.update().changed == Keys{key("a")});
  CHECK(world.compiler.tables().at(key("a")).backends.size() == 2);
  CHECK(world.compiler.node_addresses().empty());
}

TEST_CASE("service conflicts: the older Service wins, and the other when it goes") {
  World world;
  world.put(service("old", "10.96.0.1", "2026-01-01T00:00:00Z"));
  world.put(service("new", "10.96.0.1", "2026-02-01T00:00:00Z"));
  world.put(service("ageless", "10.96.0.1"));
  world.update();
  CHECK(world.compiler.tables().size() == 1);
  CHECK(world.compiler.tables().contains(key("old")));
  REQUIRE(world.compiler.conflicts().size() == 2);
  CHECK(world.compiler.conflicts()[0].id.name == "ageless");
  CHECK(world.compiler.conflicts()[1] ==
        model::Diagnostic{.kind = "Service",
                          .id = {"shop", "new"},
                          .state = model::Diagnostic::State::kRefused,
                          .path = "spec.clusterIPs",
                          .cause = "10.96.0.1:80/TCP is already that of Service shop/old",
                          .since = ""});

  world.snapshot.services.erase({"shop", "old"});
  auto update = world.update();
  CHECK(update.changed == Keys{key("new")});
  CHECK(update.removed == Keys{key("old")});
  REQUIRE(world.compiler.conflicts().size() == 1);
  CHECK(world.compiler.conflicts()[0].cause == "10.96.0.1:80/TCP is already that of Service shop/new");

  world.put(service("old", "10.96.0.1", "2025-01-01T00:00:00Z"));  // one that was there before all others
  update = world.update();
  CHECK(update.changed == Keys{key("old")});
  CHECK(update.removed == Keys{key("new")});

  world.put(service("old", "10.96.0.9", "2025-01-01T00:00:00Z"));
  CHECK(world.update().changed == Keys{key("new"), key("old")});
  world.snapshot.services.erase({"shop", "ageless"});
  CHECK(world.update().empty());
  CHECK(world.compiler.conflicts().empty());
}

TEST_CASE("service conflicts: a Service keeps the frontends that nobody else has") {
  World world;
  auto old = service("old", "10.96.0.1", "2026-01-01T00:00:00Z");
  old.ports[0].node_port = 30080;
  old.external_ips = {ip("192.0.2.1")};
  auto other = service("other", "10.96.0.2", "2026-02-01T00:00:00Z");
  other.ports[0].node_port = 30080;
  other.external_ips = {ip("192.0.2.1"), ip("192.0.2.2")};
  world.put(old);
  world.put(other);
  world.update();
  CHECK(world.compiler.tables().at(key("other")).frontends ==
        std::vector<Frontend>{{ip("10.96.0.2"), 80}, {ip("192.0.2.2"), 80}});
  REQUIRE(world.compiler.conflicts().size() == 1);
  CHECK(world.compiler.conflicts()[0].path == "spec.ports[].nodePort");
  CHECK(world.compiler.conflicts()[0].cause == "0.0.0.0:30080/TCP is already that of Service shop/old (and 1 more)");

  old.ports[0].node_port = 0;
  world.put(old);
  CHECK(world.update().changed == Keys{key("old"), key("other")});
  CHECK(world.compiler.conflicts().at(0).path == "spec.externalIPs");
}

TEST_CASE("service conflicts: nobody takes a cluster IP by external IPs, however old the Service") {
  World world;
  auto thief = service("thief", "10.96.0.66", "2020-01-01T00:00:00Z");
  thief.external_ips = {ip("10.96.0.1")};
  world.put(thief);
  world.update();
  world.put(service("victim", "10.96.0.1", "2026-01-01T00:00:00Z"));
  CHECK(world.update().changed == Keys{key("thief"), key("victim")});
  CHECK(world.compiler.tables().at(key("victim")).frontends == std::vector<Frontend>{{ip("10.96.0.1"), 80}});
  CHECK(world.compiler.tables().at(key("thief")).frontends == std::vector<Frontend>{{ip("10.96.0.66"), 80}});
  REQUIRE(world.compiler.conflicts().size() == 1);
  CHECK(world.compiler.conflicts()[0].id.name == "thief");
  CHECK(world.compiler.conflicts()[0].path == "spec.externalIPs");
}

TEST_CASE("service conflicts: one address on two ports or protocols is no conflict") {
  World world;
  auto tcp = service("tcp", "10.96.0.1");
  auto udp = service("udp", "10.96.0.1");
  auto other_port = service("other-port", "10.96.0.1");
  udp.ports[0].protocol = model::Protocol::kUdp;
  other_port.ports[0].port = 81;
  world.put(tcp);
  world.put(udp);
  world.put(other_port);
  world.update();
  CHECK(world.compiler.tables().size() == 3);
  CHECK(world.compiler.conflicts().empty());
}

// Any change to anything, a few at a time, out of a world so small that they meet.
void change_something(World& world, std::mt19937& random) {
  const auto below = [&](std::uint32_t limit) { return static_cast<std::uint32_t>(random() % limit); };
  const auto name = [&] { return std::string(1, static_cast<char>('a' + below(5))); };
  const auto address = [&] { return "10.0.0." + std::to_string(1 + below(9)); };
  switch (below(9)) {
    case 0: {
      const auto day = below(4);
      auto one = service(name(), "10.96.0." + std::to_string(1 + below(4)),
                         day == 0 ? "" : "2026-01-0" + std::to_string(day) + "T00:00:00Z");
      if (below(3) == 0) one.cluster_ips.push_back(ip("fd00::" + std::to_string(1 + below(3))));
      if (below(3) == 0) one.external_ips = {ip("10.96.0." + std::to_string(1 + below(4)))};
      if (below(3) == 0) one.ports[0].node_port = static_cast<std::uint16_t>(30000 + below(2));
      if (below(3) == 0) {
        one.ports[0].name = "http";
        one.ports.push_back({.name = "two",
                             .port = static_cast<std::uint16_t>(81 + below(2)),
                             .target = std::string("two"),
                             .node_port = static_cast<std::uint16_t>(below(2) * 30000)});
      }
      if (below(4) == 0) one.cluster_ips.clear();
      if (below(4) == 0) one.selector.clear();
      one.internal_local = below(4) == 0;
      one.publish_not_ready = below(4) == 0;
      one.distribution = static_cast<model::TrafficDistribution>(below(3));
      world.put(one);
      break;
    }
    case 1:
      world.snapshot.services.erase({"shop", name()});
      break;
    case 2: {
      auto one = slice(name() + "-s", below(5) == 0 ? "" : name(), {address(), address()});
      for (auto& endpoint : one.endpoints) {
        endpoint.ready = below(3) != 0;
        endpoint.terminating = below(3) == 0;
        if (below(3) == 0) endpoint.for_zones = {"zone-" + name()};
      }
      if (below(3) == 0) one.ports[0].name = "two";
      world.put(one);
      break;
    }
    case 3:
    case 4:
      world.snapshot.slices.erase({"shop", name() + "-s"});
      break;
    case 5:
    case 6: {
      auto one = pod(name(), name(), address());
      if (below(3) == 0) one.ips.push_back(ip("fd00::" + std::to_string(below(9))));
      if (below(2) == 0) one.ports = {{.name = "two", .port = static_cast<std::uint16_t>(82 + below(2))}};
      one.node_name = below(2) == 0 ? "node-a" : "node-b";
      one.ready = below(4) != 0;
      one.deleting = below(4) == 0;
      one.terminated = below(6) == 0;
      one.weight = static_cast<std::uint16_t>(1 + below(2));
      world.put(one);
      break;
    }
    case 7:
      world.snapshot.pods.erase({"shop", name()});
      break;
    default:
      world.put({.name = below(2) == 0 ? "node-a" : "node-b", .addresses = {ip(address())}, .zone = "zone-" + name()});
      if (below(4) == 0) world.snapshot.nodes.erase("node-a");
      break;
  }
}

TEST_CASE("service updates: a compiler that saw every step has what one has that sees the last alone") {
  std::mt19937 random(20260301);
  std::size_t contested = 0;
  for (int run = 0; run < 40; ++run) {
    World world;
    PortTables before;
    for (int step = 0; step < 60; ++step) {
      for (auto changes = random() % 4; changes > 0; --changes) change_something(world, random);
      const auto update = world.update();
      ServiceCompiler fresh;
      fresh.update(world.snapshot, world.node_name, {});
      REQUIRE(to_text(world.compiler.tables()) == to_text(fresh.tables()));
      REQUIRE(world.compiler.tables() == fresh.tables());
      REQUIRE(world.compiler.conflicts() == fresh.conflicts());
      REQUIRE(world.compiler.node_addresses() == fresh.node_addresses());
      contested += fresh.conflicts().size();

      // What is reported is what is different, no more and no less.
      Keys changed;
      Keys removed;
      for (const auto& [port, table] : fresh.tables()) {
        const auto was = before.find(port);
        if (was == before.end() || was->second != table) changed.insert(port);
      }
      for (const auto& [port, table] : before) {
        if (!fresh.tables().contains(port)) removed.insert(port);
      }
      REQUIRE(update.changed == changed);
      REQUIRE(update.removed == removed);
      before = fresh.tables();
      REQUIRE(world.update().empty());
    }
  }
  CHECK(contested > 100);  // else it proves little
}

TEST_CASE("service updates: with 10,000 Services cost follows the change") {
  World world;
  for (int i = 0; i < 10'000; ++i) {
    const auto name = "s" + std::to_string(i);
    const auto tail = std::to_string(i / 250) + "." + std::to_string(i % 250 + 1);
    std::vector<std::string> addresses;
    for (int j = 0; j < 10; ++j) addresses.push_back("10." + std::to_string(j) + "." + tail);
    world.put(service(name, "10.96." + tail));
    world.put(slice(name + "-1", name, addresses));
  }
  const auto timed = [&](const model::Changes& changes) {
    const auto start = std::chrono::steady_clock::now();
    const auto update = world.compiler.update(world.snapshot, world.node_name, changes);
    const std::chrono::duration<double, std::milli> taken = std::chrono::steady_clock::now() - start;
    return std::pair(update.changed.size(), taken.count());
  };
  const auto [all, first] = timed({});
  CHECK(all == 10'000);
  double one = 1e9;
  for (int i = 0; i < 20; ++i) {
    world.put(slice("s5000-1", "s5000", {"10.0.0." + std::to_string(i + 1)}));
    const auto [changed, taken] = timed({.slices = {{"shop", "s5000-1"}}});
    CHECK(changed == 1);
    one = std::min(one, taken);
  }
  MESSAGE("10,000 Services, 100,000 endpoints: ", first, " ms; one slice: ", one, " ms");
  CHECK(one < first / 100);  // sanitizers and a busy machine included
}

}  // namespace
}  // namespace underpass::compile
