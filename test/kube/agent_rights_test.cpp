// SPDX-License-Identifier: Apache-2.0
// What the agent goes by ends or is taken from it: its token, its rights, a pod, a pod's namespace. Nothing is emptied
// for that, the status says what is missing, and what comes back is taken up.
#include <doctest/doctest.h>

#include <algorithm>
#include <set>

#include "test/kube/scene.h"

namespace underpass::test {
namespace {

// Whose watches and lists the agent says to keep.
std::set<std::string> kinds_of(const KubeNode& node) {
  std::set<std::string> out;
  const auto status = node.ctl.json({"status"});
  for (const auto& kind : status.at("source").at("kinds").as_array()) out.insert(text_of(kind.at("kind")));
  return out;
}

bool any_reason_contains(const KubeNode& node, const std::string& text) {
  const auto status = node.ctl.json({"status"});
  return std::ranges::any_of(status.at("reasons").as_array(),
                             [&](const auto& reason) { return text_of(reason).contains(text); });
}

TEST_CASE("a pod that is deleted with grace, and one whose namespace goes, are in the mesh until their end") {
  if (skip_without_cluster("pods end")) return;
  MeshCluster& cluster = MeshCluster::shared();
  KubeNode node(cluster);
  cluster.put(kInMesh, "ending");
  node.run(node.pod("ending", "a"));
  node.run(node.pod("ending", "b"));
  node.start();
  node.wait_enrolled("a");
  node.wait_enrolled("b");

  const std::string pod = "/api/v1/namespaces/ending/pods/a";
  cluster.kube.remove({to_yaml(node.pod("ending", "a"))}, seconds(30));
  REQUIRE(cluster.get(pod).at("metadata").as_object().contains("deletionTimestamp"));
  CHECK(node.way("a", "b") == "direct");

  cluster.kube.kubectl({"delete", "namespace", "ending", "--wait=false"});
  REQUIRE(eventually(seconds(20), [&] {
    return cluster.get("/api/v1/namespaces/ending/pods/b").at("metadata").as_object().contains("deletionTimestamp");
  }));
  // What is asked now is answered after the agent has heard of both.
  const auto events = [&] { return node.kind("Namespace").at("events").to_number<int>(); };
  const int before = events();
  cluster.put({}, "ending-later");
  REQUIRE(eventually(seconds(10), [&] { return events() > before; }));
  for (const int family : kFamilies) CHECK(node.way("a", "b", family) == "direct");

  const NetnsCookie a = node.net.cookie("a"), b = node.net.cookie("b");
  node.end("a");
  CHECK(eventually(seconds(5), [&] { return !node.has_row(a); }));
  CHECK(node.has_row(b));
  node.end("b");
  CHECK(eventually(seconds(5), [&] { return !node.has_row(b); }));
  CHECK(node.state() == usual_state());
}

// After an agent that hears of nothing was started, it is there and not ready for this reason.
void check_not_ready(const KubeNode& node, const std::string& reason) {
  REQUIRE(eventually(seconds(20), [&] { return !node.state().empty(); }));
  CHECK(eventually(seconds(20), [&] { return node.readiness().contains(reason); }));
  CHECK(node.readiness().ends_with("503"));
  CHECK(node.state() == "degraded");
}

TEST_CASE("an agent whose token has expired takes up the one that its file holds later, and keeps what there was") {
  if (skip_without_cluster("a token is renewed")) return;
  MeshCluster& cluster = MeshCluster::shared();
  const auto kubeconfig = cluster.kube.kubeconfig_with(cluster.kube.token_of(kAgentNamespace, kAgentName), true);
  const auto token_file = fs::path(kubeconfig).replace_extension(".token");
  KubeNode node(cluster, {.kubeconfig = kubeconfig});
  cluster.put(kShortCircuit, "token");
  node.run(node.pod("token", "a"));
  node.run(node.pod("token", "b"));
  node.start();
  node.wait_enrolled("a");
  CHECK(node.readiness() == "ready\n 200");
  CHECK(kinds_of(node) == std::set<std::string>{"AuthorizationPolicy", "CustomResourceDefinition", "DaemonSet",
                                                "EndpointSlice", "Mesh", "Namespace", "Node", "NodeWorkloads",
                                                "PeerAuthentication", "Pod", "RequestAuthentication", "Service"});

  node.agent.kill9();
  KubeCluster::replace_token(token_file, cluster.kube.signed_token_of(kAgentNamespace, kAgentName, seconds(-120)));
  node.launch();
  check_not_ready(node, "401");
  CHECK(node.way("a", "b") == "short-circuit");
  KubeCluster::replace_token(token_file, cluster.kube.token_of(kAgentNamespace, kAgentName));
  CHECK(eventually(seconds(20), [&] { return node.state() == usual_state(); }));
  CHECK(node.readiness().ends_with("200"));
  CHECK(node.enrolled("a"));
}

TEST_CASE("the agent's rights are taken away: the status says which, nothing is emptied; they are given back") {
  if (skip_without_cluster("rights are taken away")) return;
  MeshCluster& cluster = MeshCluster::battered();
  KubeNode node(cluster);
  cluster.put(kShortCircuit, "rights");
  node.run(node.pod("rights", "a"));
  node.run(node.pod("rights", "b"));
  node.start();
  const auto check_kept = [&] {
    for (const char* pod : {"a", "b"}) CHECK(node.enrolled(pod));
    CHECK(node.way("a", "b") == "short-circuit");
  };
  check_kept();

  cluster.kube.kubectl({"delete", "clusterrolebinding", kAgentName});
  cluster.restart_apiserver();  // a watch outlives its rights
  CHECK(eventually(seconds(20), [&] { return node.state() == "stale"; }));
  CHECK(eventually(seconds(10), [&] { return any_reason_contains(node, "we need the right to watch pods"); }));
  CHECK(text_of(node.kind("Service").at("problem")).contains("403"));
  // By a Role, which is still there.
  CHECK(eventually(seconds(10), [&] { return node.kind("DaemonSet").at("problem").is_null(); }));
  check_kept();
  node.agent.kill9();
  node.launch();
  check_not_ready(node, "we need the right to list");
  check_kept();
  cluster.apply_manifests();
  CHECK(eventually(seconds(20), [&] { return node.state() == usual_state(); }));
  CHECK(node.readiness().ends_with("200"));
  node.run(node.pod("rights", "c"));
  node.wait_enrolled("c");
}

}  // namespace
}  // namespace underpass::test
