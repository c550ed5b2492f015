// SPDX-License-Identifier: Apache-2.0
// Running pods join and leave the mesh as labels of the API server say, within a second and without a restart; and they
// are followed from sandbox to sandbox.
#include <doctest/doctest.h>

#include <algorithm>
#include <iostream>

#include "test/kube/scene.h"

namespace underpass::test {
namespace {

constexpr const char* kLabelled = R"({"metadata": {"labels": {"underpass.dev/mesh": "enabled"}}})";
constexpr const char* kExcluded = R"({"metadata": {"labels": {"underpass.dev/mesh": "disabled"}}})";
constexpr const char* kUnlabelled = R"({"metadata": {"labels": {"underpass.dev/mesh": null}}})";

// From before the request is made until the kernel's table says so for all of these pods; said on the output.
milliseconds time_of_change(const KubeNode& node, const std::string& path, const char* patch, bool enrolled,
                            const std::vector<std::string>& pods) {
  const auto start = Clock::now();
  node.cluster.merge(path, patch);
  const bool done = eventually(seconds(20), [&] {
    return std::ranges::all_of(pods, [&](const std::string& pod) { return node.enrolled(pod) == enrolled; });
  });
  if (!done) throw std::runtime_error(path + ": the label changes nothing: " + node.describe());
  const auto took = std::chrono::duration_cast<milliseconds>(Clock::now() - start);
  std::cout << path << (enrolled ? ": in the mesh after " : ": out of the mesh after ") << took.count() << " ms\n";
  return took;
}

TEST_CASE("running pods join and leave within a second of the label of their Namespace, of their own, of the Node") {
  if (skip_without_cluster("labels act on running pods")) return;
  MeshCluster& cluster = MeshCluster::shared();
  KubeNode node(cluster);
  cluster.put({.short_circuit = "on"}, "labels");
  node.run(node.pod("labels", "a"));
  node.run(node.pod("labels", "b"));
  node.start();
  CHECK_FALSE(node.enrolled("a"));
  for (const int family : kFamilies) CHECK(node.way("a", "b", family) == "unknown");

  const std::string ns = "/api/v1/namespaces/labels";
  CHECK(time_of_change(node, ns, kLabelled, true, {"a", "b"}) <= seconds(1));
  for (const int family : kFamilies) CHECK(node.way("a", "b", family) == "short-circuit");
  cluster.merge(ns, R"({"metadata": {"annotations": {"underpass.dev/short-circuit": "off"}}})");
  for (const int family : kFamilies)
    CHECK(eventually(seconds(5), [&] { return node.way("a", "b", family) == "direct"; }));
  CHECK(time_of_change(node, ns, kUnlabelled, false, {"a", "b"}) <= seconds(1));
  for (const int family : kFamilies) CHECK(node.way("a", "b", family) == "unknown");

  const std::string pod = ns + "/pods/a";
  CHECK(time_of_change(node, pod, kLabelled, true, {"a"}) <= seconds(1));
  CHECK_FALSE(node.enrolled("b"));
  for (const int family : kFamilies) CHECK(node.way("a", "b", family) == "direct");
  CHECK(time_of_change(node, pod, kUnlabelled, false, {"a"}) <= seconds(1));
  CHECK(time_of_change(node, ns, kLabelled, true, {"a", "b"}) <= seconds(1));
  CHECK(time_of_change(node, pod, kExcluded, false, {"a"}) <= seconds(1));
  CHECK(node.enrolled("b"));

  const std::string own = "/api/v1/nodes/" + node.name();
  cluster.merge(own, kExcluded);
  CHECK(eventually(seconds(5), [&] { return !fs::exists(node.sandbox.pins() / "up_pods"); }));
  CHECK(node.ctl.json({"status"}).at("detached").at("nodeLabel").as_bool());
  CHECK(node.readiness() == "ready\n 200");
  CHECK(node.way("a", "b") == "unknown");
  cluster.merge(own, kUnlabelled);
  node.wait_enrolled("b");
  CHECK_FALSE(node.enrolled("a"));
}

TEST_CASE("pods older than the agent, and those that come and go, need no restart") {
  if (skip_without_cluster("pods come and go")) return;
  MeshCluster& cluster = MeshCluster::shared();
  KubeNode node(cluster);
  cluster.put(kShortCircuit, "coming");
  node.run(node.pod("coming", "old"));
  const pid_t pause = node.sandbox_of("old").pause().pid();
  node.start();
  node.wait_enrolled("old");

  node.run(node.pod("coming", "new"));
  node.wait_enrolled("new");
  CHECK(node.way("old", "new") == "short-circuit");
  CHECK(node.sandbox_of("old").pause().pid() == pause);

  const NetnsCookie row = node.net.cookie("new");
  node.end("new");
  CHECK(eventually(seconds(5), [&] { return !node.has_row(row); }));
  CHECK(node.enrolled("old"));
}

TEST_CASE("a sandbox that is made anew is followed: at another address, and at the same") {
  if (skip_without_cluster("sandboxes are made anew")) return;
  MeshCluster& cluster = MeshCluster::shared();
  KubeNode node(cluster);
  cluster.put(kShortCircuit, "again");
  node.run(node.pod("again", "a"));
  const Place first = node.run(node.pod("again", "b"));
  node.start();
  node.wait_enrolled("b");

  SUBCASE("at another address, which the kubelet reports later") {
    const Place second = node.recreate("b", "b2");
    node.wait_refused("again/b", first.v4);
    CHECK_FALSE(node.enrolled("b"));
    PodObject object = node.pod("again", "b");
    object.ips = {second.v4, second.v6};
    node.put(object);
  }
  SUBCASE("at the same") {
    node.net.remove("b");
    node.recreate("b", "b2", first);
  }
  node.wait_enrolled("b2");
  CHECK(node.ctl.pod("again/b")->enrolled);
  CHECK(node.pinned.entries("up_pods") == 2);
}

TEST_CASE("two pods that report one address for a moment: the one that has it is in the mesh with it") {
  if (skip_without_cluster("two pods with one address")) return;
  MeshCluster& cluster = MeshCluster::shared();
  KubeNode node(cluster);
  cluster.put(kShortCircuit, "twins");
  node.run(node.pod("twins", "a"));
  const Place first = node.run(node.pod("twins", "b"));
  node.start();
  node.wait_enrolled("b");

  // The sandbox of b is made anew at another address, and its old one is given to c before that is reported.
  node.net.remove("b");
  const Place second = node.recreate("b", "b2");
  PodObject c = node.pod("twins", "c");
  c.ips = {first.v4, first.v6};
  node.put(c);
  node.start_sandbox("c", node.new_place("c", first).netns);
  node.wait_enrolled("c");
  node.wait_refused("twins/b", first.v4);
  CHECK_FALSE(node.enrolled("b2"));

  PodObject b = node.pod("twins", "b");
  b.ips = {second.v4, second.v6};
  node.put(b);
  node.wait_enrolled("b2");
  CHECK(node.enrolled("c"));
  CHECK(node.pinned.entries("up_pods") == 3);
}

// The one Event that tells of it; empty: none, or more than one.
std::string only_event(const KubeNode& node, const std::string& ns, const std::string& pod) {
  const auto events = node.cluster.events_about("Pod", ns, pod);
  return events.size() == 1 ? events.front() : "";
}

TEST_CASE("pods that cannot be taken in are refused with the reason, and one Event says so, whoever is the agent") {
  if (skip_without_cluster("pods are refused")) return;
  MeshCluster& cluster = MeshCluster::shared();
  KubeNode node(cluster);
  cluster.put(kInMesh, "refused");
  node.run(node.pod("refused", "good"));
  std::string host = to_yaml(node.pod("refused", "host"));
  host.replace(host.find("spec:\n"), 6, "spec:\n  hostNetwork: true\n");
  std::string meshed = to_yaml(node.pod("refused", "meshed"));
  meshed.replace(meshed.find("  - name: app\n"), 14, "  - name: istio-proxy\n    image: proxy\n  - name: app\n");
  cluster.kube.load({host, meshed});
  PodObject astray = node.pod("refused", "astray");
  astray.ips = {"10.77.9.9"};
  const Place& place = node.run(astray);
  node.start();

  node.wait_enrolled("good");
  node.wait_refused("refused/host", "host");
  node.wait_refused("refused/meshed", "istio-proxy");
  node.wait_refused("refused/astray", "10.77.9.9");
  node.wait_refused("refused/astray", place.v4);  // what was found instead
  CHECK(node.ctl.json({"status"}).at("pods").at("refused").to_number<int>() == 3);
  CHECK(node.state() == "ready");

  for (const char* pod : {"host", "meshed", "astray"}) {
    CAPTURE(pod);
    CHECK(eventually(seconds(15),
                     [&] { return only_event(node, "refused", pod).starts_with("MeshRefused: not in the mesh: "); }));
  }
  CHECK(only_event(node, "refused", "astray").contains("10.77.9.9"));

  node.agent.stop();
  node.start();
  // A refused pod that is news makes an Event after those of before would have been made again.
  PodObject late = node.pod("refused", "late");
  late.ips = {"10.77.9.10"};
  node.run(late);
  CHECK(eventually(seconds(15), [&] { return !only_event(node, "refused", "late").empty(); }));
  for (const char* pod : {"host", "meshed", "astray"}) {
    CAPTURE(pod);
    CHECK(cluster.events_about("Pod", "refused", pod).size() == 1);
  }
  CHECK(cluster.events_about("Pod", "refused", "good").empty());
  cluster.kube.remove({host, meshed});
}

}  // namespace
}  // namespace underpass::test
