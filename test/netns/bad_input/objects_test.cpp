// SPDX-License-Identifier: Apache-2.0
// Objects that are wrong, on their own or with this machine: each is refused or kept as it last was, with a reason that
// names it, and everything else is served.
#include <doctest/doctest.h>

#include <boost/json.hpp>

#include "test/netns/lifecycle/watch.h"
#include "test/support/files.h"

namespace underpass::test {
namespace {

// Waits until `status` is degraded for a reason that holds all these words; returns what status says.
std::string wait_reason(const World& world, std::initializer_list<std::string> words) {
  std::string status;
  const bool came = eventually(seconds(5), [&] {
    status = world.ctl.run({"-o", "json", "status"}).out;
    return std::ranges::all_of(words, [&](const std::string& word) { return status.find(word) != std::string::npos; });
  });
  CHECK_MESSAGE(came, status);
  return status;
}

void wait_ready(const World& world) {
  CHECK(eventually(seconds(5), [&] { return world.ctl.state() == "ready"; }));
}

// The pod is refused for a reason that holds the word.
void wait_refused(const World& world, const std::string& pod, const std::string& word) {
  std::optional<PodRow> row;
  const bool came = eventually(seconds(5), [&] {
    row = world.ctl.pod(pod);
    return row && !row->enrolled && row->reason.find(word) != std::string::npos;
  });
  CHECK_MESSAGE(came, pod << ": no \"" << word << "\" in: " << (row ? row->reason : "not listed"));
  if (row) MESSAGE(pod << ": " << row->reason);
}

void check_others_served(const World& world) {
  for (const int family : {AF_INET, AF_INET6}) {
    CHECK(way_of_new_connection(world, world.at("a"), world.at("b"), family) == "short-circuit");
  }
}

TEST_CASE("YAML that does not parse names its file and line, and the rest is served") {
  World world;
  world.objects.put_text("broken.yaml", "apiVersion: v1\nkind: Pod\nmetadata: [unclosed\n");
  MESSAGE(wait_reason(world, {"degraded", "broken.yaml"}));
  check_others_served(world);
  world.add_pod("shop", "c");
  world.wait_enrolled("shop", "c");
  world.objects.remove_text("broken.yaml");
  wait_ready(world);
}

TEST_CASE("an object that no longer parses stays as it was") {
  World world;
  world.objects.put_text("namespace-shop.yaml",
                         "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {underpass.dev/mesh");
  wait_reason(world, {"degraded", "namespace-shop.yaml"});
  check_others_served(world);
  world.objects.put(NamespaceObject{"shop", {.mesh = "enabled", .short_circuit = "perhaps"}});
  MESSAGE(wait_reason(world, {"degraded", "shop", "short-circuit", "perhaps"}));
  check_others_served(world);
  world.objects.put(NamespaceObject{"shop", {.mesh = "enabled", .short_circuit = "off"}});
  wait_ready(world);
  CHECK(eventually(seconds(5), [&] { return way_of_new_connection(world, world.at("a"), world.at("b")) == "direct"; }));
}

TEST_CASE("files that are no objects of ours, odd or empty, are no obstacle") {
  World world;
  world.objects.put_text("empty.yaml", "");
  world.objects.put_text("comment.yaml", "# nothing\n---\n---\n");
  world.objects.put_text("notes.txt", "kind: [");
  world.objects.put_text("configmap.yaml",
                         "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x, namespace: shop}\ndata: {a: b}\n");
  world.objects.put_text("binary.yaml", std::string("\0\x01\xff\xfe", 4));
  world.add_pod("shop", "c");
  world.wait_enrolled("shop", "c");
  check_others_served(world);
  CHECK(world.agent.running());
}

TEST_CASE("two pods with one network namespace: the second is refused by name, the first goes on") {
  World world;
  PodObject twin = world.pod_object("shop", "b");
  twin.name = "twin";
  world.objects.put(twin);
  wait_refused(world, "shop/twin", "shop/b");
  check_others_served(world);
}

TEST_CASE("two pods with one IP: refused with that reason, the rest is served") {
  World world;
  const Place& c = world.net.add("c");
  const std::string shared = world.at("b").v4;
  // It owns the address and does not answer for it on the wire.
  set_sysctl(c.netns, "net.ipv4.conf.all.arp_ignore", "1");
  run_ok({.argv = {"ip", "addr", "add", shared + "/32", "dev", "lo"}, .netns = c.netns});
  world.objects.put(PodObject{.ns = "shop", .name = "twin", .node = kNode, .netns = c.netns, .ips = {c.v4, shared}});
  wait_refused(world, "shop/twin", shared);
  MESSAGE("shop/b: " << world.ctl.pod("shop/b")->reason);
  world.add_pod("shop", "d");
  world.wait_enrolled("shop", "d");
  for (const int family : {AF_INET, AF_INET6}) {
    CHECK(way_of_new_connection(world, world.at("a"), world.at("d"), family) == "short-circuit");
  }
  world.objects.remove_pod("shop", "twin");
  world.wait_enrolled("shop", "b");
  check_others_served(world);
}

TEST_CASE("a network namespace that is not there, is no namespace, or is not the pod's") {
  World world;
  const Place& c = world.net.add("c");
  PodObject pod{.ns = "shop", .name = "c", .node = kNode, .netns = "/var/run/netns/up-nobody", .ips = {c.v4, c.v6}};
  world.objects.put(pod);
  wait_refused(world, "shop/c", "/var/run/netns/up-nobody");
  pod.netns = "/etc/hostname";
  world.objects.put(pod);
  wait_refused(world, "shop/c", "/etc/hostname");
  pod.netns = world.at("b").netns;
  world.objects.put(pod);
  wait_refused(world, "shop/c", c.v4);
  pod.netns = "/proc/1/ns/net";
  world.objects.put(pod);
  wait_refused(world, "shop/c", "/proc/1/ns/net");
  pod.netns = "";
  world.objects.put(pod);
  wait_refused(world, "shop/c", "underpass.dev/netns");
  check_others_served(world);
  CHECK(world.pinned.entries("up_pods") == 2);
  pod.netns = c.netns;
  world.objects.put(pod);
  world.wait_enrolled("shop", "c");
  CHECK(way_of_new_connection(world, world.at("a"), world.at("c")) == "short-circuit");
}

TEST_CASE("a pod whose network namespace comes later is enrolled when it comes") {
  World world;
  PodObject pod{.ns = "shop", .name = "later", .node = kNode, .ips = {"10.77.0.3", "fd00:77::3"}};
  // The next pod of the network will have these addresses; its name can be foretold.
  pod.netns = world.at("a").netns.substr(0, world.at("a").netns.size() - 1) + "later";
  world.objects.put(pod);
  wait_refused(world, "shop/later", pod.netns);
  const Place& place = world.net.add("later");
  REQUIRE(place.netns == pod.netns);
  REQUIRE(place.v4 == pod.ips[0]);
  world.wait_enrolled("shop", "later");
  CHECK(way_of_new_connection(world, world.at("a"), place) == "short-circuit");
}

TEST_CASE("an address that is none") {
  World world;
  PodObject pod = world.pod_object("shop", "b");
  pod.name = "odd";
  for (const char* ip : {"10.77.0", "127.0.0.1", "0.0.0.0", "::1", "not-an-ip"}) {
    CAPTURE(ip);
    pod.ips = {ip};
    world.objects.put(pod);
    CHECK(eventually(seconds(5), [&] {
      const std::string status = world.ctl.run({"-o", "json", "status"}).out;
      const std::optional<PodRow> row = world.ctl.pod("shop/odd");
      return status.find(ip) != std::string::npos ||
             (row && !row->enrolled && row->reason.find(ip) != std::string::npos);
    }));
  }
  check_others_served(world);
}

TEST_CASE("the folder goes while the agent runs: it serves what it knew and says so; the folder comes back") {
  World world;
  const fs::path folder = world.sandbox.objects();
  const fs::path away = world.sandbox.root() / "away";
  fs::rename(folder, away);
  CHECK(eventually(seconds(5), [&] { return world.ctl.state() == "stale"; }));
  check_others_served(world);
  CHECK(world.agent.running());
  fs::rename(away, folder);
  wait_ready(world);
  world.objects.put(NamespaceObject{"shop", {.mesh = "enabled", .short_circuit = "off"}});
  CHECK(eventually(seconds(5), [&] { return way_of_new_connection(world, world.at("a"), world.at("b")) == "direct"; }));
}

}  // namespace
}  // namespace underpass::test
