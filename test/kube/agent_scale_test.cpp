// SPDX-License-Identifier: Apache-2.0
// Many nodes with fifty pods of the mesh each, of which one node is real: what a change in the cluster costs its
// agent, its neighbours and the API server, counted; and what agent and controller need for it, printed.
#include <doctest/doctest.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "agent/compile/claims.h"
#include "test/kube/controller_process.h"
#include "test/kube/scene.h"
#include "test/support/eventually.h"
#include "test/support/files.h"

namespace underpass::test {
namespace {

// With UNDERPASS_LONG set, as many as are quoted.
int node_count() { return std::getenv("UNDERPASS_LONG") != nullptr ? 100 : 10; }
constexpr int kPodsOfNode = 50;
constexpr int kReplaced = 200;
constexpr int kOwn = 6;
constexpr seconds kPatience(90);
constexpr double kKiB = 1024;

std::string node_name(int node) { return "scale-" + std::to_string(node); }

// 10.100.0.1 and on.
std::string address_of(int number) {
  return "10." + std::to_string(100 + number / 60000) + "." + std::to_string(number / 250 % 240) + "." +
         std::to_string(1 + number % 250);
}

struct FarPod {
  int node = 0;
  std::string name;
  std::string ip;
  std::string uid;

  [[nodiscard]] std::string yaml() const {
    return to_yaml(PodObject{.ns = "scale",
                             .name = name,
                             .node = node_name(node),
                             .ips = {ip},
                             .labels = {{"app", "app-" + std::to_string(node % 20)}},
                             .ready = true});
  }
};

// As the agents of these nodes would write them.
std::vector<std::string> shards_yaml(const std::vector<FarPod>& pods, const std::map<std::string, bool>& only = {}) {
  std::map<std::pair<int, std::uint32_t>, std::string> lists;
  for (const auto& pod : pods)
    lists[{pod.node, compile::shard_of(pod.uid)}] += "    - {namespace: scale, name: " + pod.name +
                                                     ", uid: " + pod.uid + ", serviceAccount: default, ips: [" +
                                                     pod.ip + "], tunnel: HBONE}\n";
  std::vector<std::string> out;
  for (const auto& [key, list] : lists) {
    const auto name = node_name(key.first) + "." + std::to_string(key.second);
    if (!only.empty() && !only.contains(name)) continue;
    out.push_back("apiVersion: underpass.dev/v1alpha1\nkind: NodeWorkloads\nmetadata: {name: " + name +
                  "}\nspec:\n  node: " + node_name(key.first) + "\n  shard: " + std::to_string(key.second) +
                  "\n  workloads:\n" + list);
  }
  return out;
}

double memory_mib(pid_t pid) {
  std::istringstream lines(read_file("/proc/" + std::to_string(pid) + "/status"));
  for (std::string line; std::getline(lines, line);)
    if (line.starts_with("VmRSS:")) return std::stod(line.substr(6)) / kKiB;
  return 0;
}

double cpu_ms(pid_t pid) {
  const auto text = read_file("/proc/" + std::to_string(pid) + "/stat");
  std::istringstream fields(text.substr(text.rfind(')') + 2));
  std::string skipped;
  for (int i = 0; i < 11; ++i) fields >> skipped;
  double user = 0, system = 0;
  fields >> user >> system;
  return (user + system) * 1000 / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

std::int64_t number(const KubeNode& node, const std::string& kind, const char* field) {
  return node.kind(kind).at(field).to_number<std::int64_t>();
}

double metric(const KubeNode& node, const std::string& name) {
  const auto listen = node.ctl.json({"status"}).at("listen").at("metrics");
  const auto text = run_ok({.argv = {"curl", "-sf", "http://" + std::string(listen.as_string()) + "/metrics"}});
  const auto at = text.find("\n" + name + " ");
  return at == std::string::npos ? -1 : std::stod(text.substr(at + name.size() + 2));
}

TEST_CASE("many nodes with fifty pods each: what a change costs") {
  if (skip_without_cluster("many nodes with 50 pods each")) return;
  MeshCluster cluster;
  cluster.put(Settings{.mesh = "enabled", .short_circuit = "off"}, "scale");
  std::vector<std::string> nodes;
  for (int i = 0; i < node_count(); ++i) nodes.push_back(to_yaml(NodeObject{node_name(i), {"192.0.2.1"}}));
  cluster.kube.load(nodes);
  int next = 0;
  const auto make = [&](int node) {
    const int n = next++;
    return FarPod{.node = node, .name = "p" + std::to_string(n), .ip = address_of(n), .uid = ""};
  };
  const auto load = [&](std::vector<FarPod>& pods, std::size_t from) {
    std::vector<std::string> documents;
    for (std::size_t i = from; i < pods.size(); ++i) documents.push_back(pods[i].yaml());
    const auto loaded = cluster.kube.load(documents);
    for (std::size_t i = from; i < pods.size(); ++i) pods[i].uid = loaded.at(i - from).uid;
  };
  std::vector<FarPod> pods;
  for (int i = 0; i < node_count() * kPodsOfNode; ++i) pods.push_back(make(i % node_count()));
  load(pods, 0);
  cluster.kube.load(shards_yaml(pods));

  ControllerProcess controller(cluster, "one");
  controller.start();
  KubeNode node(cluster);
  node.run(node.pod("scale", "own"));
  node.start();
  node.wait_enrolled("own");
  const auto remotes = [&] { return number(node, "Pod", "objects"); };
  REQUIRE(eventually(kPatience, [&] { return remotes() >= node_count() * kPodsOfNode; }));
  REQUIRE(eventually(kPatience, [&] {
    return metric(node, "underpass_map_entries{map=\"up_remotes\"}") >= node_count() * kPodsOfNode;
  }));
  REQUIRE(eventually(kPatience, [&] { return metric(node, "underpass_kubernetes_workloads_writes_total") == 1; }));
  const double agent_mib = memory_mib(node.agent.pid()), controller_mib = memory_mib(controller.pid());

  // Pods all over the cluster are replaced, each with a write or two of its node's agent.
  const auto pod_events = number(node, "Pod", "events"), shard_events = number(node, "NodeWorkloads", "events");
  const double agent_cpu = cpu_ms(node.agent.pid()), controller_cpu = cpu_ms(controller.pid());
  constexpr int kBatch = 20;
  std::size_t writes = 0;
  for (int done = 0; done < kReplaced; done += kBatch) {
    std::vector<std::string> gone;
    std::map<std::string, bool> touched;
    std::vector<FarPod> fresh;
    const auto touch = [&](const FarPod& pod) {
      touched[node_name(pod.node) + "." + std::to_string(compile::shard_of(pod.uid))] = true;
    };
    for (int i = 0; i < kBatch; ++i) {
      auto& pod = pods[static_cast<std::size_t>(done + i)];
      gone.push_back(pod.yaml());
      touch(pod);
      pod = make(pod.node);
      fresh.push_back(pod);
    }
    cluster.kube.remove(gone);
    load(fresh, 0);
    for (int i = 0; i < kBatch; ++i) {
      pods[static_cast<std::size_t>(done + i)] = fresh[static_cast<std::size_t>(i)];
      touch(fresh[static_cast<std::size_t>(i)]);
    }
    const auto documents = shards_yaml(pods, touched);
    writes += documents.size();
    cluster.kube.load(documents);
  }
  const auto last = pods[kReplaced - 1].name;
  CHECK(eventually(kPatience, [&] {
    return node.ctl.run({"map", "dump", "up_remotes", "-o", "json"}).out.contains("\"" + last + "\"");
  }));
  const auto seen_pods = number(node, "Pod", "events") - pod_events;
  const auto seen_shards = number(node, "NodeWorkloads", "events") - shard_events;
  const double cost = (cpu_ms(node.agent.pid()) - agent_cpu) / kReplaced;
  const double controller_cost = (cpu_ms(controller.pid()) - controller_cpu) / kReplaced;
  // A pod: gone, made, its status. Its shards: the one that it left, the one that it came to.
  CHECK(seen_pods <= 5 * kReplaced);
  CHECK(seen_shards <= 2 * kReplaced);
  CHECK(metric(node, "underpass_kubernetes_workloads_writes_total") == 1);  // none of it is this node's to write

  // What is nobody's business: readiness and labels of others flip, and nothing is written.
  const auto before = number(node, "NodeWorkloads", "events");
  run_ok(cluster.kube.churn({"--rate", "100", "--duration", "3s", "--kinds", "readiness"}), seconds(60));
  CHECK(number(node, "NodeWorkloads", "events") == before);

  // Pods of this node come and go: each is written once when it can be reached, and once when it is gone.
  for (int i = 0; i < kOwn; ++i) node.run(node.pod("scale", "own-" + std::to_string(i)));
  CHECK(eventually(kPatience, [&] {
    std::size_t told = 0;
    const auto all =
        cluster.kube.kubectl({"get", "nodeworkloads", "-o", "jsonpath={.items[*].spec.workloads[*].name}"});
    for (int i = 0; i < kOwn; ++i)
      if (all.contains("own-" + std::to_string(i))) ++told;
    return told == kOwn;
  }));
  for (int i = 0; i < kOwn; ++i) node.end("own-" + std::to_string(i));
  CHECK(eventually(kPatience, [&] {
    return !cluster.kube.kubectl({"get", "nodeworkloads", "-o", "jsonpath={.items[*].spec.workloads[*].name}"})
                .contains("own-");
  }));
  const double own_writes = metric(node, "underpass_kubernetes_workloads_writes_total") - 1;
  CHECK(own_writes <= 2 * kOwn);

  CHECK(memory_mib(node.agent.pid()) < 150);
  CHECK(memory_mib(controller.pid()) < 64);
  std::printf(
      "%d nodes x 50 pods: agent %.1f MiB (%.1f after the changes), controller %.1f MiB (%.1f)\n"
      "  a pod replaced: %.2f writes, %.2f pod events and %.2f NodeWorkloads events at each agent, %.2f ms of an "
      "agent's "
      "CPU, %.2f of the controller's\n"
      "  a pod of the own node, from its start to its end: %.2f writes\n",
      node_count(), agent_mib, memory_mib(node.agent.pid()), controller_mib, memory_mib(controller.pid()),
      static_cast<double>(writes) / kReplaced, static_cast<double>(seen_pods) / kReplaced,
      static_cast<double>(seen_shards) / kReplaced, cost, controller_cost, own_writes / kOwn);
}

}  // namespace
}  // namespace underpass::test
