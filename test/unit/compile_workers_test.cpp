// SPDX-License-Identifier: Apache-2.0
// Which workers there are, whom they serve, and what they are given.
#include <doctest/doctest.h>

#include <chrono>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "agent/compile/policy_compiler.h"
#include "agent/compile/workers.h"

namespace underpass::compile {
namespace {

using namespace std::chrono_literals;

IpAddress ip(const std::string& text) { return IpAddress::parse(text).value(); }

class Node {
 public:
  model::Pod& add(const std::string& ns, const std::string& name, NetnsCookie cookie, std::vector<IpAddress> ips) {
    auto& pod = snapshot.pods[{ns, name}];
    pod.id = {ns, name};
    pod.node_name = "node-a";
    pod.service_account = name;
    pod.settings = {.mesh = true,
                    .short_circuit = std::nullopt,
                    .short_circuit_peers = std::nullopt,
                    .capture = model::Capture::kAlways};
    pod.netns_path = "/var/run/netns/" + name;
    pod.ips = ips;
    facts_[pod.id] = NetnsFact{cookie, std::move(ips), pod.netns_path};
    return pod;
  }

  std::map<std::string, WorkerPlan> plan() {
    auto compiled = compile_tables(snapshot, facts_, {.node_name = "node-a"}, ids_);
    policies_.update(snapshot, compiled);
    return planner_.plan(snapshot, compiled);
  }

  model::Snapshot snapshot;

 private:
  NetnsFacts facts_;
  NamespaceIds ids_;
  PolicyCompiler policies_;
  WorkerPlanner planner_;
};

std::set<std::string> names_of(const std::map<std::string, WorkerPlan>& plans) {
  std::set<std::string> out;
  for (const auto& [name, plan] : plans) {
    CHECK(name == plan.name);
    out.insert(name);
  }
  return out;
}

TEST_CASE("workers: one for each namespace with a captured pod that is enrolled") {
  Node node;
  node.add("shop", "web", 7, {ip("10.0.0.7"), ip("fd00::7")});
  node.add("shop", "db", 8, {ip("10.0.0.8")}).settings.capture = model::Capture::kAuto;
  node.add("bank", "vault", 9, {ip("fd00::9")});
  node.add("idle", "one", 10, {ip("10.0.0.10")}).settings.capture.reset();
  node.add("out", "one", 11, {ip("10.0.0.11")}).settings.mesh = false;
  node.add("done", "one", 12, {ip("10.0.0.12")}).terminated = true;
  node.add("far", "one", 13, {ip("10.0.0.13")}).node_name = "node-b";
  const auto plans = node.plan();
  CHECK(names_of(plans) == std::set<std::string>{"bank", "shop"});

  const auto& shop = plans.at("shop");
  CHECK(shop.namespaces == std::set<std::string>{"shop"});
  CHECK(shop.settings == ProxySettings{});
  CHECK(shop.pods ==
        std::map<NetnsCookie, WorkerPod>{
            {7, {.id = {"shop", "web"}, .identity = "spiffe://cluster.local/ns/shop/sa/web", .v4 = true, .v6 = true}}});
  const auto& vault = plans.at("bank").pods.at(9);
  CHECK_FALSE(vault.v4);
  CHECK(vault.v6);
}

TEST_CASE("workers: any enrolled pod may be a client, so its identity is known") {
  Node node;
  node.add("shop", "web", 7, {ip("10.0.0.7")});
  node.add("bank", "clerk", 9, {ip("10.0.0.9")}).settings.capture.reset();
  node.add("bank", "clerk-2", 10, {ip("10.0.0.10")}).settings.capture.reset();
  node.snapshot.pods.at({"bank", "clerk-2"}).service_account = "clerk";
  node.add("out", "one", 11, {ip("10.0.0.11")}).settings.mesh = false;
  const std::map<std::uint32_t, std::string> wanted{
      {UP_IDENTITY_FIRST_ACCOUNT, "spiffe://cluster.local/ns/bank/sa/clerk"},
      {UP_IDENTITY_FIRST_ACCOUNT + 1, "spiffe://cluster.local/ns/shop/sa/web"}};
  CHECK(node.plan().at("shop").identities == wanted);
}

TEST_CASE("workers: one for all where the Mesh says so, and its settings") {
  Node node;
  node.snapshot.mesh = model::MeshConfig{.isolation = model::Isolation::kShared, .proxy = {.threads = 1}};
  CHECK(node.plan().empty());
  node.add("shop", "web", 7, {ip("10.0.0.7")});
  node.add("bank", "vault", 9, {ip("10.0.0.9")});
  const auto plans = node.plan();
  CHECK(names_of(plans) == std::set<std::string>{kSharedWorker});
  const auto& plan = plans.at(kSharedWorker);
  CHECK(plan.namespaces == std::set<std::string>{"bank", "shop"});
  CHECK(plan.pods.size() == 2);
  CHECK(plan.settings.threads == 1);
}

TEST_CASE("workers: what one is given") {
  Node node;
  node.snapshot.mesh = model::MeshConfig{.proxy = {.threads = 3, .idle_timeout = 0s}};
  node.add("shop", "web", 7, {ip("10.0.0.7")});
  node.add("shop", "api", 8, {ip("10.0.0.8")});
  const auto table = table_of(node.plan().at("shop"), 42);
  CHECK(table.revision == 42);
  CHECK(table.settings == ProxySettings{.threads = 3, .idle_timeout = 0s});
  CHECK(table.pods == std::vector<RoutingTable::Pod>{
                          {.netns = 7, .id = {"shop", "web"}, .identity = "spiffe://cluster.local/ns/shop/sa/web"},
                          {.netns = 8, .id = {"shop", "api"}, .identity = "spiffe://cluster.local/ns/shop/sa/api"}});
  CHECK(table.identities == node.plan().at("shop").identities);
}

}  // namespace
}  // namespace underpass::compile
