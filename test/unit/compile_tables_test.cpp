// SPDX-License-Identifier: Apache-2.0
// The rows of the tables, the claims of several pods on one thing, and the numbers of namespaces.
#include <doctest/doctest.h>

#include <cstring>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "agent/compile/compile.h"

namespace underpass::compile {
namespace {

IpAddress ip(const std::string& text) { return IpAddress::parse(text).value(); }

class Node {
 public:
  // A pod that wants to be in the mesh and can be.
  model::Pod& add(const std::string& ns, const std::string& name, NetnsCookie cookie, std::vector<IpAddress> ips) {
    auto& pod = snapshot.pods[{ns, name}];
    pod.id = {ns, name};
    pod.node_name = "node-a";
    pod.settings.mesh = true;
    pod.netns_path = "/var/run/netns/" + name;
    pod.ips = ips;
    facts[pod.id] = NetnsFact{cookie, std::move(ips), pod.netns_path};
    return pod;
  }

  Compiled compile() { return compile_tables(snapshot, facts, {.node_name = "node-a", .verdicts = verdicts}, ids); }

  model::Snapshot snapshot;
  NetnsFacts facts;
  learn::Verdicts verdicts;
  NamespaceIds ids;
};

TEST_CASE("tables: a pod's rows") {
  Node node;
  auto& pod = node.add("shop", "web", 7, {ip("10.0.0.7"), ip("fd00::7")});
  pod.settings.short_circuit = model::ShortCircuit::kOn;
  pod.settings.short_circuit_peers = model::ShortCircuitPeers::kMesh;
  pod.service_account = "web";
  const auto compiled = node.compile();
  const auto& row = compiled.tables.pods.at(7);
  CHECK(row.mode == UP_MODE_ON);
  CHECK(row.peers_mesh == 1);
  CHECK(row.namespace_id == 1);
  CHECK(row.learned == 0);
  CHECK(std::string(row.namespace_name) == "shop");
  CHECK(std::string(row.name) == "web");
  CHECK(compiled.tables.ips == std::map<IpAddress, NetnsCookie>{{ip("10.0.0.7"), 7}, {ip("fd00::7"), 7}});
  CHECK(compiled.pods.at(0).identity == "spiffe://cluster.local/ns/shop/sa/web");
  CHECK(compiled.pods.at(0).ips == pod.ips);
}

TEST_CASE("tables: in mode auto the mode is what was learned of the workload") {
  Node node;
  auto& pod = node.add("shop", "web", 7, {ip("10.0.0.7")});
  pod.owner = "Deployment/web";
  pod.images = {"web:1"};
  const learn::Workload workload{.ns = "shop", .owner = "Deployment/web", .images = {"web:1"}};
  const auto mode = [&] { return node.compile().tables.pods.at(7).mode; };
  const auto reason = [&] { return node.compile().pods.at(0).short_circuit_reason; };
  CHECK(mode() == UP_MODE_AUTO);
  CHECK(reason() == "default");
  CHECK(node.compile().pods.at(0).workload == workload);
  CHECK(node.compile().pods.at(0).asks_auto);

  node.verdicts[workload] = {.state = learn::State::kLearning, .connections = 3};
  CHECK(mode() == UP_MODE_AUTO);
  node.verdicts[workload] = {.state = learn::State::kOn, .connections = 8};
  CHECK(mode() == UP_MODE_ON);
  CHECK(reason() == "learned: 8 connections without a trait");
  CHECK(node.compile().pods.at(0).short_circuit == model::ShortCircuit::kOn);
  CHECK(node.compile().pods.at(0).asks_auto);

  pod.settings.short_circuit = model::ShortCircuit::kOff;
  CHECK(mode() == UP_MODE_OFF);
  CHECK(reason() == "annotation on Pod");
  CHECK_FALSE(node.compile().pods.at(0).asks_auto);

  node.verdicts[workload] = {.state = learn::State::kOff, .traits = {"splice"}, .since = "2026-03-01T09:30:00Z"};
  pod.settings.short_circuit = model::ShortCircuit::kOn;
  CHECK(mode() == UP_MODE_ON);
  pod.settings.short_circuit = model::ShortCircuit::kAuto;
  CHECK(mode() == UP_MODE_OFF);
  CHECK(reason() == "splice seen on 2026-03-01: stays on TCP");

  pod.images = {"web:2"};
  CHECK(mode() == UP_MODE_AUTO);
}

TEST_CASE("tables: what a captured pod excludes, in both directions") {
  Node node;
  auto& pod = node.add("shop", "web", 7, {ip("10.0.0.7")});
  pod.exclude_inbound_ports = {80, 9090};
  CHECK(node.compile().tables.pods.at(7).capture == 0);
  CHECK(node.compile().tables.pods.at(7).excludes == 0);
  CHECK(node.compile().tables.excluded.empty());

  pod.settings.capture = model::Capture::kAlways;
  CHECK(node.compile().tables.pods.at(7).capture == (UP_CAPTURE_OUTBOUND | UP_CAPTURE_INBOUND));
  CHECK(node.compile().tables.pods.at(7).excludes == 1);
  CHECK(node.compile().tables.excluded == std::set<ExcludedPort>{{7, 80, true}, {7, 9090, true}});

  pod.exclude_outbound_ports = {80};
  CHECK(node.compile().tables.excluded == std::set<ExcludedPort>{{7, 80, false}, {7, 80, true}, {7, 9090, true}});
  pod.settings.capture = model::Capture::kAuto;
  CHECK(node.compile().tables.pods.at(7).excludes == 1);
  CHECK(node.compile().tables.excluded == std::set<ExcludedPort>{{7, 80, false}});
}

TEST_CASE("tables: equal pods have equal bytes") {
  Node node;
  node.add("shop", "web", 7, {ip("10.0.0.7")});
  const auto first = node.compile().tables.pods.at(7);
  const auto second = node.compile().tables.pods.at(7);
  CHECK(std::memcmp(&first, &second, sizeof(first)) == 0);
}

TEST_CASE("tables: the longest names fit") {
  Node node;
  const std::string ns(63, 'n');
  const std::string name(253, 'p');
  node.add(ns, name, 7, {ip("10.0.0.7")});
  const auto compiled = node.compile();
  CHECK(std::string(compiled.tables.pods.at(7).namespace_name) == ns);
  CHECK(std::string(compiled.tables.pods.at(7).name) == name);
}

TEST_CASE("tables: only this node's pods") {
  Node node;
  node.add("shop", "here", 7, {ip("10.0.0.7")});
  node.add("shop", "there", 8, {ip("10.0.0.8")}).node_name = "node-b";
  node.add("shop", "nowhere", 9, {ip("10.0.0.9")}).node_name = "";
  const auto compiled = node.compile();
  REQUIRE(compiled.pods.size() == 1);
  CHECK(compiled.pods[0].id.name == "here");
  CHECK(compiled.tables.pods.size() == 1);
  CHECK(compile_tables(node.snapshot, node.facts, {.node_name = ""}, node.ids).pods.empty());
}

TEST_CASE("tables: of two pods with one address the first by name has it") {
  Node node;
  node.add("shop", "b", 8, {ip("fd00::8"), ip("10.0.0.7")});
  node.add("shop", "a", 7, {ip("10.0.0.7")});
  node.add("shop", "c", 9, {ip("fd00::8")});
  auto compiled = node.compile();
  CHECK(compiled.pods[0].enrolled);
  CHECK(compiled.pods[1].refused);
  CHECK(compiled.pods[1].reason == "10.0.0.7 is already the address of pod shop/a");
  CHECK(compiled.pods[2].enrolled);  // who is refused claims nothing
  CHECK(compiled.tables.ips.size() == 2);

  node.snapshot.pods.at({"shop", "a"}).terminated = true;  // its address belongs to another by now
  compiled = node.compile();
  CHECK(compiled.pods[1].enrolled);
  CHECK(compiled.pods[2].reason == "fd00::8 is already the address of pod shop/b");
}

TEST_CASE("tables: of two pods with one network namespace the first by name has it") {
  Node node;
  node.add("shop", "a", 7, {ip("10.0.0.7")});
  node.add("zoo", "b", 7, {ip("10.0.0.8")});
  const auto compiled = node.compile();
  CHECK(compiled.pods[1].refused);
  CHECK(compiled.pods[1].reason == "network namespace /var/run/netns/b is already that of pod shop/a");
  CHECK(std::string(compiled.tables.pods.at(7).name) == "a");
  CHECK(compiled.tables.ips == std::map<IpAddress, NetnsCookie>{{ip("10.0.0.7"), 7}});
}

TEST_CASE("namespace ids: stay, are never shared, and come after those found in the kernel") {
  NamespaceIds ids;
  ids.adopt("old", 5);
  ids.adopt("twin", 5);  // cannot be: it gets a number of its own
  ids.adopt("none", 0);
  ids.adopt("last", UINT32_MAX);
  CHECK(ids.id_of("old") == 5);
  CHECK(ids.id_of("new") == 6);
  CHECK(ids.id_of("twin") == 7);
  CHECK(ids.id_of("none") == 8);
  CHECK(ids.id_of("last") == 9);
  CHECK(ids.id_of("new") == 6);
  ids.adopt("new", 12);
  CHECK(ids.id_of("new") == 6);
}

TEST_CASE("namespace ids: survive that all pods of a namespace go") {
  Node node;
  node.add("shop", "a", 7, {ip("10.0.0.7")});
  node.add("zoo", "b", 8, {ip("10.0.0.8")});
  CHECK(node.compile().tables.pods.at(8).namespace_id == 2);
  node.snapshot.pods.at({"shop", "a"}).settings.mesh = false;
  CHECK(node.compile().tables.pods.at(8).namespace_id == 2);
  node.snapshot.pods.at({"shop", "a"}).settings.mesh = true;
  CHECK(node.compile().tables.pods.at(7).namespace_id == 1);
}

TEST_CASE("text: one line an entry, sorted") {
  Node node;
  node.add("shop", "web", 7, {ip("10.0.0.7"), ip("fd00::7")}).settings.short_circuit = model::ShortCircuit::kOn;
  node.add("shop", "db", 12, {}).uid = "x";
  node.add("shop", "idle", 3, {ip("10.0.0.3")}).settings.mesh = false;
  CHECK(to_text(node.compile()) ==
        "up_pods 7 shop/web mode=on peers=namespace namespace_id=1\n"
        "up_ips 10.0.0.7 7\n"
        "up_ips fd00::7 7\n"
        "pod shop/db refused identity=spiffe://cluster.local/ns/shop/sa/default ips=none netns=12 "
        "short-circuit=auto (default): no IP address yet: status.podIP is empty\n"
        "pod shop/idle not enrolled identity=spiffe://cluster.local/ns/shop/sa/default ips=10.0.0.3 netns=3 "
        "short-circuit=auto (default): label underpass.dev/mesh: disabled on Pod\n"
        "pod shop/web enrolled identity=spiffe://cluster.local/ns/shop/sa/default ips=10.0.0.7,fd00::7 netns=7 "
        "short-circuit=on (annotation on Pod)\n");
}

}  // namespace
}  // namespace underpass::compile
