// SPDX-License-Identifier: Apache-2.0
// Two nodes of a cluster: agents that ask the controller for certificates and tell each other of their pods, and pods
// that speak through tunnels because of that.
#include <doctest/doctest.h>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <memory>
#include <stdexcept>
#include <string>

#include "test/kube/controller_process.h"
#include "test/kube/scene.h"
#include "test/support/eventually.h"
#include "test/support/sockets.h"

namespace underpass::test {
namespace {

namespace json = boost::json;

constexpr seconds kSoon(30);

struct TwoKubeNodes {
  explicit TwoKubeNodes(MeshCluster& the_cluster)
      : cluster(the_cluster), controller(cluster, "one"), a(cluster, {.net = 77}), b(cluster, {.net = 78}) {
    a.net.join_with(b.net);
    cluster.put(Settings{.mesh = "enabled", .short_circuit = "off"}, "mesh");
    cluster.put(Settings{}, "plain");
    controller.start();
    run(a, "mesh", "client");
    run(b, "mesh", "server");
    run(b, "plain", "bystander");
    a.start();
    b.start();
  }

  void run(KubeNode& node, const std::string& ns, const std::string& name) const {
    cluster.kube.load(
        {"apiVersion: v1\nkind: ServiceAccount\nmetadata: {namespace: " + ns + ", name: " + name + "}\n"});
    auto pod = node.pod(ns, name);
    pod.service_account = name;
    node.run(pod);
  }

  // `node` reaches that pod through a tunnel.
  static bool knows(const KubeNode& node, const std::string& pod) {
    return json::serialize(node.ctl.json({"map", "dump", "up_remotes"})).contains("\"" + pod + "\"");
  }
  static void wait_knows(const KubeNode& node, const std::string& pod, bool does = true) {
    if (!eventually(kSoon, [&] { return knows(node, pod) == does; }))
      throw std::runtime_error(node.name() + (does ? " does not know " : " still knows ") + pod + ": " +
                               node.describe());
  }
  void wait_tunnels() const {
    wait_knows(a, "server");
    wait_knows(b, "client");
  }

  // Bytes both ways; how it ended: empty: well.
  [[nodiscard]] std::string talk(const Place& from, const Place& to, int family = AF_INET) const {
    try {
      const UniqueFd listener = listen_at(to, family);
      const UniqueFd dialled = connect_from(from, local_address(listener.get()));
      send_all(dialled.get(), "hello");
      const UniqueFd accepted = accept_from(listener.get(), seconds(5));
      if (receive_exactly(accepted.get(), 5) != "hello") return "other words arrived";
      send_all(accepted.get(), "there");
      return receive_exactly(dialled.get(), 5) == "there" ? "" : "other words came back";
    } catch (const std::exception& error) {
      return error.what();
    }
  }
  [[nodiscard]] std::string talk(int family = AF_INET) const {
    return talk(a.inside("client"), b.inside("server"), family);
  }
  // How many connections of the client to the server this node has counted as encrypted.
  [[nodiscard]] bool counted_encrypted(const KubeNode& node) const {
    const auto listen = node.ctl.json({"status"}).at("listen").at("metrics");
    const auto text = run_ok({.argv = {"curl", "-sf", "http://" + std::string(listen.as_string()) + "/metrics"}});
    return text.contains("connection_security_policy=\"mutual_tls\"");
  }

  MeshCluster& cluster;
  ControllerProcess controller;
  KubeNode a;
  KubeNode b;
};

std::string shards_of(const MeshCluster& cluster, const std::string& node) {
  std::string out;
  const auto all = cluster.get("/apis/underpass.dev/v1alpha1/nodeworkloads");
  for (const auto& one : all.at("items").as_array())
    if (one.at("spec").at("node") == json::value(node)) out += json::serialize(one.at("spec").at("workloads"));
  return out;
}

TEST_CASE("two nodes of a cluster: certificates of the controller, tunnels between their pods, and labels on and off") {
  if (skip_without_cluster("mTLS between two nodes")) return;
  TwoKubeNodes nodes(MeshCluster::battered());
  nodes.wait_tunnels();
  for (const int family : kFamilies) CHECK(nodes.talk(family) == "");
  CHECK(eventually(kSoon, [&] { return nodes.counted_encrypted(nodes.b); }));
  // Signed by whom the ConfigMap says, and each node has its own pods' alone.
  const auto certs = nodes.a.ctl.run({"certs"}).out;
  CHECK(certs.contains("spiffe://cluster.local/ns/mesh/sa/client"));
  CHECK_FALSE(certs.contains("sa/server"));
  CHECK(shards_of(nodes.cluster, nodes.b.name()).contains("\"server\""));
  CHECK_FALSE(shards_of(nodes.cluster, nodes.b.name()).contains("bystander"));

  // It leaves, and comes back.
  nodes.cluster.put(Settings{}, "mesh");
  nodes.wait_knows(nodes.a, "server", false);
  CHECK(eventually(kSoon, [&] { return shards_of(nodes.cluster, nodes.b.name()).empty(); }));
  CHECK(nodes.talk() == "");
  nodes.cluster.put(Settings{.mesh = "enabled", .short_circuit = "off"}, "mesh");
  nodes.wait_tunnels();
  CHECK(nodes.talk() == "");

  // A pod that comes, and one that goes.
  nodes.run(nodes.b, "mesh", "second");
  nodes.wait_knows(nodes.a, "second");
  CHECK(nodes.talk(nodes.a.inside("client"), nodes.b.inside("second")) == "");
  nodes.b.end("second");
  nodes.wait_knows(nodes.a, "second", false);
}

TEST_CASE("two nodes of a cluster: no controller, no API server, agents anew: what was encrypted stays so") {
  if (skip_without_cluster("outages of controller and API server")) return;
  TwoKubeNodes nodes(MeshCluster::battered());
  nodes.wait_tunnels();
  CHECK(nodes.talk() == "");

  // The controller is away: an agent that starts has what the one before it had; a new pod's certificate is missed.
  nodes.controller.kill9();
  nodes.a.agent.kill9();
  nodes.a.start();
  CHECK(nodes.talk() == "");
  CHECK(eventually(kSoon, [&] { return TwoKubeNodes::knows(nodes.a, "server"); }));
  nodes.run(nodes.a, "mesh", "late");
  nodes.a.wait_enrolled("late");
  CHECK(eventually(kSoon, [&] {
    return nodes.a.ctl.run({"status"}).out.contains("the controller has not answered CertificateSigningRequest");
  }));
  CHECK_FALSE(TwoKubeNodes::knows(nodes.b, "late"));
  nodes.controller.start();
  nodes.wait_knows(nodes.b, "late");
  CHECK(nodes.talk(nodes.a.inside("late"), nodes.b.inside("server")) == "");

  // The API server is away.
  nodes.cluster.kube.kill_apiserver();
  CHECK(nodes.talk() == "");
  CHECK(eventually(kSoon, [&] { return nodes.a.state() == "stale"; }));
  CHECK(nodes.talk() == "");
  nodes.cluster.start_apiserver();
  CHECK(eventually(kSoon, [&] { return nodes.a.state() == usual_state(); }));
  nodes.run(nodes.b, "mesh", "later");
  nodes.wait_knows(nodes.a, "later");
  CHECK(nodes.talk(nodes.a.inside("late"), nodes.b.inside("later")) == "");
}

TEST_CASE("two nodes of a cluster: a node that lies of others' pods, or takes its word back") {
  if (skip_without_cluster("malicious NodeWorkloads")) return;
  TwoKubeNodes nodes(MeshCluster::battered());
  nodes.wait_tunnels();
  // By an administrator, whom no admission policy keeps from it: the agents must not believe it either.
  const auto put = [&](const std::string& node, const std::string& workloads) {
    nodes.cluster.kube.apply("apiVersion: underpass.dev/v1alpha1\nkind: NodeWorkloads\nmetadata: {name: " + node +
                             ".7}\nspec: {node: " + node + ", shard: 7, workloads: [" + workloads + "]}\n");
  };
  const auto bystander = nodes.b.uid("bystander");
  put("node-evil", "{namespace: plain, name: bystander, uid: " + bystander +
                       ", serviceAccount: bystander, ips: [10.78.0.3], tunnel: HBONE}");
  put("node-bad", "{namespace: mesh, name: ghost, uid: g, serviceAccount: ghost, ips: [" + nodes.b.at("bystander").v4 +
                      "], tunnel: HBONE}");
  std::this_thread::sleep_for(seconds(2));
  CHECK_FALSE(TwoKubeNodes::knows(nodes.a, "bystander"));
  CHECK_FALSE(TwoKubeNodes::knows(nodes.a, "ghost"));
  CHECK(nodes.talk(nodes.a.inside("client"), nodes.b.at("bystander")) == "");

  // All that node B has said is deleted while its agent is away.
  nodes.b.agent.kill9();
  nodes.cluster.kube.kubectl({"delete", "nodeworkloads", "--all"});
  std::this_thread::sleep_for(seconds(2));
  CHECK(TwoKubeNodes::knows(nodes.a, "server"));
  CHECK(nodes.talk() == "");
  nodes.b.start();
  CHECK(eventually(kSoon, [&] { return shards_of(nodes.cluster, nodes.b.name()).contains("\"server\""); }));
}

}  // namespace
}  // namespace underpass::test
