// SPDX-License-Identifier: Apache-2.0
// Which pods are wanted in the mesh, which of these cannot be had, and what an operator reads about it.
#include <doctest/doctest.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "agent/compile/compile.h"

namespace underpass::compile {
namespace {

using model::ShortCircuit;

IpAddress ip(const std::string& text) { return IpAddress::parse(text).value(); }

// A pod of node-a that lacks nothing but the wish, in a namespace without settings.
struct World {
  model::Snapshot snapshot;
  NetnsFacts facts;
  Options options{.node_name = "node-a"};

  World() {
    snapshot.namespaces["shop"].name = "shop";
    pod().id = {"shop", "web"};
    pod().node_name = "node-a";
    pod().ips = {ip("10.0.0.7")};
    pod().netns_path = "/var/run/netns/web";
    facts[{"shop", "web"}] =
        NetnsFact{4711, {ip("127.0.0.1"), ip("10.0.0.7"), ip("fe80::1"), ip("::1")}, pod().netns_path};
  }

  model::Pod& pod() { return snapshot.pods[{"shop", "web"}]; }
  model::Namespace& ns() { return snapshot.namespaces["shop"]; }
  NetnsFact& fact() { return facts.at({"shop", "web"}).value(); }

  PodStatus compile() const {
    NamespaceIds ids;
    auto compiled = compile_tables(snapshot, facts, options, ids);
    REQUIRE(compiled.pods.size() == 1);
    CHECK(compiled.tables.pods.size() == (compiled.pods[0].enrolled ? 1 : 0));
    CHECK(compiled.tables.ips.size() == (compiled.pods[0].enrolled ? compiled.pods[0].ips.size() : 0));
    return compiled.pods[0];
  }
};

TEST_CASE("enrolment: the Pod's label wins over the Namespace's") {
  struct Row {
    std::optional<bool> ns;
    std::optional<bool> pod;
    bool enrolled;
    const char* reason;
  };
  const Row rows[] = {
      {std::nullopt, std::nullopt, false, "no label underpass.dev/mesh on Pod or Namespace"},
      {true, std::nullopt, true, ""},
      {false, std::nullopt, false, "label underpass.dev/mesh: disabled on Namespace"},
      {std::nullopt, true, true, ""},
      {false, true, true, ""},
      {true, false, false, "label underpass.dev/mesh: disabled on Pod"},
      {std::nullopt, false, false, "label underpass.dev/mesh: disabled on Pod"},
  };
  for (const auto& row : rows) {
    World world;
    world.ns().settings.mesh = row.ns;
    world.pod().settings.mesh = row.pod;
    const auto status = world.compile();
    CHECK(status.enrolled == row.enrolled);
    CHECK(status.reason == row.reason);
    CHECK_FALSE(status.refused);
    CHECK(status.netns_cookie == 4711);
    CHECK(status.identity == "spiffe://cluster.local/ns/shop/sa/default");
  }
}

TEST_CASE("enrolment: without its Namespace a Pod speaks for itself") {
  World world;
  world.snapshot.namespaces.clear();
  CHECK(world.compile().reason == "no label underpass.dev/mesh on Pod or Namespace");
  world.pod().settings.mesh = true;
  CHECK(world.compile().enrolled);
}

TEST_CASE("enrolment: a detached namespace is out, whatever its labels") {
  World world;
  world.ns().settings.mesh = true;
  world.pod().settings.mesh = true;
  world.options.detached_namespaces = {"other", "shop"};
  const auto status = world.compile();
  CHECK_FALSE(status.enrolled);
  CHECK_FALSE(status.refused);
  CHECK(status.reason == "namespace shop is detached until `underpassctl attach`");
}

TEST_CASE("enrolment: where the mode comes from") {
  World world;
  world.pod().settings.mesh = true;
  CHECK(world.compile().short_circuit == ShortCircuit::kAuto);
  CHECK(world.compile().short_circuit_reason == "default");
  world.ns().settings.short_circuit = ShortCircuit::kOn;
  CHECK(world.compile().short_circuit == ShortCircuit::kOn);
  CHECK(world.compile().short_circuit_reason == "annotation on Namespace");
  world.pod().settings.short_circuit = ShortCircuit::kOff;
  CHECK(world.compile().short_circuit == ShortCircuit::kOff);
  CHECK(world.compile().short_circuit_reason == "annotation on Pod");
}

TEST_CASE("enrolment: who asks for a worker") {
  using model::Capture;
  World world;
  world.pod().settings.mesh = true;
  CHECK_FALSE(world.compile().capture);
  CHECK(world.compile().capture_reason == "default");
  world.ns().settings.capture = Capture::kAlways;
  CHECK(world.compile().capture);
  CHECK(world.compile().capture_reason == "annotation on Namespace");
  world.pod().settings.capture = Capture::kAuto;
  CHECK_FALSE(world.compile().capture);
  CHECK(world.compile().capture_reason == "annotation on Pod");
  world.pod().settings.capture = Capture::kAlways;
  CHECK(world.compile().capture);
}

// What makes a pod impossible that is wanted, and the reason given for it.
struct Obstacle {
  const char* reason;
  void (*make)(World&);
};

TEST_CASE("enrolment: a pod that is wanted and cannot be had is refused, with the reason") {
  const Obstacle obstacles[] = {
      {"the pod has terminated", [](World& world) { world.pod().terminated = true; }},
      {"host network: the pod has no network namespace of its own",
       [](World& world) { world.pod().host_network = true; }},
      {"another mesh captures this pod (istio-proxy container, or Istio ambient redirection)",
       [](World& world) { world.pod().other_mesh = true; }},
      {"no IP address yet: status.podIP is empty", [](World& world) { world.pod().ips.clear(); }},
      {"127.0.0.2 is no address of a pod (loopback, unspecified or multicast)",
       [](World& world) { world.pod().ips = {ip("127.0.0.2")}; }},
      {"::1 is no address of a pod (loopback, unspecified or multicast)",
       [](World& world) { world.pod().ips = {ip("10.0.0.7"), ip("::1")}; }},
      {"0.0.0.0 is no address of a pod (loopback, unspecified or multicast)",
       [](World& world) { world.pod().ips = {ip("0.0.0.0")}; }},
      {":: is no address of a pod (loopback, unspecified or multicast)",
       [](World& world) { world.pod().ips = {ip("::")}; }},
      {"224.0.0.1 is no address of a pod (loopback, unspecified or multicast)",
       [](World& world) { world.pod().ips = {ip("224.0.0.1")}; }},
      {"255.255.255.255 is no address of a pod (loopback, unspecified or multicast)",
       [](World& world) { world.pod().ips = {ip("255.255.255.255")}; }},
      {"ff02::1 is no address of a pod (loopback, unspecified or multicast)",
       [](World& world) { world.pod().ips = {ip("ff02::1")}; }},
      {"its network namespace is not known: set the annotation underpass.dev/netns on the Pod, "
       "for example to /var/run/netns/web",
       [](World& world) {
         world.pod().netns_path.clear();
         world.facts.clear();
       }},
      {"no process of the pod was found on this node (UID 1234)",
       [](World& world) {
         world.pod().netns_path.clear();
         world.facts.at({"shop", "web"}) = fail("no process of the pod was found on this node (UID 1234)");
       }},
      {"network namespace /var/run/netns/web was not looked at yet", [](World& world) { world.facts.clear(); }},
      {"network namespace /var/run/netns/web: No such file or directory",
       [](World& world) {
         world.facts.at({"shop", "web"}) = fail("network namespace /var/run/netns/web: No such file or directory");
       }},
      {"network namespace /var/run/netns/web has no cookie: Linux 5.14 or newer is needed",
       [](World& world) { world.fact().cookie = 0; }},
      {"network namespace /var/run/netns/web is the node's own, not a pod's",
       [](World& world) { world.options.host_netns = 4711; }},
      {"network namespace /var/run/netns/web does not own 10.0.0.8 (it has 10.0.0.7, fe80::1)",
       [](World& world) { world.pod().ips = {ip("10.0.0.8")}; }},
      {"network namespace /var/run/netns/web does not own fd00::7 (it has 10.0.0.7, fe80::1)",
       [](World& world) { world.pod().ips = {ip("10.0.0.7"), ip("fd00::7")}; }},
      {"network namespace /var/run/netns/web does not own 10.0.0.7 (it has none)",
       [](World& world) { world.fact().addresses = {ip("127.0.0.1")}; }},
      {"network namespace /var/run/netns/web does not own 10.0.0.7 (it has 10.1.0.0, 10.1.0.1, 10.1.0.2, 10.1.0.3, "
       "10.1.0.4, 10.1.0.5, 10.1.0.6, 10.1.0.7, …)",
       [](World& world) {
         world.fact().addresses.clear();
         for (int i = 0; i < 20; ++i) world.fact().addresses.push_back(ip("10.1.0." + std::to_string(i)));
       }},
  };
  for (const auto& obstacle : obstacles) {
    CAPTURE(obstacle.reason);
    World world;
    world.ns().settings.mesh = true;
    CHECK(world.compile().enrolled);
    obstacle.make(world);
    const auto status = world.compile();
    CHECK_FALSE(status.enrolled);
    CHECK(status.refused);
    CHECK(status.reason == obstacle.reason);
  }
}

TEST_CASE("enrolment: what the plugin was told counts until the status says the addresses") {
  World world;
  world.ns().settings.mesh = true;
  world.pod().ips.clear();
  world.fact().announced = {ip("10.0.0.7"), ip("fe80::1")};
  CHECK(world.compile().enrolled);
  CHECK(world.compile().ips == world.fact().announced);
  world.fact().announced = {ip("10.0.0.9")};
  CHECK(world.compile().reason ==
        "network namespace /var/run/netns/web does not own 10.0.0.9 (it has 10.0.0.7, fe80::1)");
  world.pod().ips = {ip("10.0.0.7")};
  CHECK(world.compile().ips == world.pod().ips);
  CHECK(world.compile().enrolled);
}

TEST_CASE("enrolment: addresses of the sandbox of before, which the status still says, do not keep a new one out") {
  World world;
  world.ns().settings.mesh = true;
  world.pod().ips = {ip("10.0.0.3")};
  CHECK(world.compile().refused);
  world.fact().announced = {ip("10.0.0.7")};
  CHECK(world.compile().enrolled);
  CHECK(world.compile().ips == world.fact().announced);
  world.fact().announced = {ip("10.0.0.9")};
  CHECK(world.compile().refused);
}

TEST_CASE("enrolment: nobody is refused who was not asked for") {
  World world;
  world.pod().host_network = true;
  const auto status = world.compile();
  CHECK_FALSE(status.refused);
  CHECK(status.reason == "no label underpass.dev/mesh on Pod or Namespace");
}

}  // namespace
}  // namespace underpass::compile
