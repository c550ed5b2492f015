// SPDX-License-Identifier: Apache-2.0
// Which pods tunnels lead to, change by change: what an update leaves is what a compiler that starts anew makes of the
// same objects, and it names the rows that it touched. What the rows are is in test/golden.
#include "agent/compile/remotes.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <initializer_list>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "agent/compile/policy_compiler.h"
#include "agent/compile/workers.h"

namespace underpass::compile {
namespace {

IpAddress ip(const std::string& text) { return IpAddress::parse(text).value(); }

class Node {
 public:
  Node() { snapshot.namespaces["shop"] = {.name = "shop", .settings = {.mesh = true}}; }

  model::Pod& pod(const std::string& name) { return snapshot.pods.at({"shop", name}); }
  model::Pod& far(const std::string& name, std::vector<IpAddress> ips) {
    auto& pod = snapshot.pods[{"shop", name}];
    pod.id = {"shop", name};
    pod.node_name = "node-b";
    pod.service_account = name;
    pod.ips = std::move(ips);
    return pod;
  }
  model::Pod& near(const std::string& name, NetnsCookie cookie, std::vector<IpAddress> ips) {
    auto& pod = far(name, ips);
    pod.node_name = "node-a";
    pod.netns_path = "/var/run/netns/" + name;
    facts_[pod.id] = NetnsFact{cookie, std::move(ips), pod.netns_path};
    return pod;
  }
  void disable(const std::string& name, model::MtlsMode mode = model::MtlsMode::kDisable) {
    auto one = std::make_shared<model::PeerAuthentication>();
    one->id = {"shop", name};
    one->mode = mode;
    snapshot.peer_authentications[one->id] = std::move(one);
  }

  RemoteCompiler::Update update(const model::Changes& changes) {
    compiled = compile_tables(snapshot, facts_, {.node_name = "node-a"}, ids_);
    const auto out = compiler.update(snapshot, changes, "node-a", compiled, policies.numbers());
    policies.update(snapshot, compiled);
    return out;
  }
  RemoteCompiler::Update change(const std::string& name) {
    model::Changes changes;
    changes.pods.insert({"shop", name});
    return update(changes);
  }
  [[nodiscard]] const PodStatus& status(const std::string& name) const {
    return *std::ranges::find(compiled.pods, name, [](const PodStatus& one) { return one.id.name; });
  }
  // As if it had never been anything else.
  [[nodiscard]] Remotes anew() {
    RemoteCompiler other;
    auto again = compile_tables(snapshot, facts_, {.node_name = "node-a"}, ids_);
    other.update(snapshot, {}, "node-a", again, policies.numbers());
    return other.remotes();
  }

  model::Snapshot snapshot;
  Compiled compiled;
  RemoteCompiler compiler;
  PolicyCompiler policies;

 private:
  NetnsFacts facts_;
  NamespaceIds ids_;
};

using Rows = std::set<RemoteKey>;

TEST_CASE("remotes: a pod that comes, changes and goes, and nothing else") {
  Node node;
  node.near("web", 7, {ip("10.0.0.7")});
  node.far("db", {ip("10.0.1.1")});
  CHECK(node.update({}).everything);
  CHECK_FALSE(node.update({}).everything);
  CHECK(node.update({}).rows.empty());

  node.far("new", {ip("10.0.1.2"), ip("fd00:1::2")});
  CHECK(node.change("new").rows == Rows{{ip("10.0.1.2"), 0}, {ip("fd00:1::2"), 0}});
  node.pod("new").exclude_inbound_ports = {80};
  CHECK(node.change("new").rows == Rows{{ip("10.0.1.2"), 80}, {ip("fd00:1::2"), 80}});
  node.pod("new").labels["app"] = "new";  // of another workload: all of its rows
  CHECK(node.change("new").rows.size() == 4);
  node.pod("new").images = {"other"};
  CHECK(node.change("new").empty());
  node.pod("new").ips = {ip("10.0.1.3")};
  CHECK(node.change("new").rows.size() == 6);
  CHECK(node.compiler.remotes() == node.anew());
  node.snapshot.pods.erase({"shop", "new"});
  CHECK(node.change("new").rows == Rows{{ip("10.0.1.3"), 0}, {ip("10.0.1.3"), 80}});
  CHECK(node.compiler.remotes().size() == 1);

  // An address goes to the next who claims it.
  node.far("a-twin", {ip("10.0.1.1")});
  CHECK(node.change("a-twin").rows == Rows{{ip("10.0.1.1"), 0}});
  CHECK(node.compiler.find(ip("10.0.1.1"))->pod.name == "a-twin");
  node.pod("a-twin").terminated = true;
  node.change("a-twin");
  CHECK(node.compiler.find(ip("10.0.1.1"))->pod.name == "db");
}

TEST_CASE("remotes: policies, namespaces and nodes concern all, and what is the same stays") {
  Node node;
  node.near("web", 7, {ip("10.0.0.7")});
  node.far("db", {ip("10.0.1.1")});
  node.update({});
  model::Changes policies;
  policies.policies = true;
  node.disable("all", model::MtlsMode::kStrict);
  CHECK(node.update(policies).empty());
  node.disable("all");
  CHECK(node.update(policies).rows.size() == 1);
  CHECK(node.compiler.find(ip("10.0.1.1"))->tunnel == model::Tunnel::kNone);
  // It may still be dialled by that pod, through a tunnel.
  CHECK(node.status("web").tunnels);

  model::Changes namespaces;
  namespaces.namespaces = true;
  node.snapshot.namespaces.at("shop").settings.mesh = false;
  CHECK(node.update(namespaces).rows.size() == 1);
  CHECK(node.compiler.remotes().empty());
  node.snapshot.namespaces.at("shop").settings.mesh = true;
  node.update(namespaces);
  model::Changes nodes;
  nodes.nodes = true;
  node.snapshot.nodes["node-b"] = {.name = "node-b", .addresses = {}, .zone = "", .mesh = false};
  CHECK(node.update(nodes).rows.size() == 1);
  CHECK_FALSE(node.status("web").tunnels);
  CHECK_FALSE(node.status("web").capture);
}

// A node where what pods of others speak is told by NodeWorkloads.
struct Told : Node {
  Told() {
    near("web", 7, {ip("10.0.0.7")});
    auto& db = far("db", {ip("10.0.1.1"), ip("fd00:1::1")});
    db.tunnel_by_label = false;
    db.uid = "u1";
    update({});
  }

  [[nodiscard]] model::WorkloadClaim claim() const {
    return {.pod = {"shop", "db"},
            .uid = "u1",
            .service_account = "db",
            .ips = {ip("fd00:1::1"), ip("10.0.1.1")}};  // in whatever order
  }
  RemoteCompiler::Update tell(std::vector<model::WorkloadClaim> claims, const std::string& node = "node-b") {
    const std::string name = node + ".3";
    auto shard = std::make_shared<model::NodeWorkloads>();
    *shard = {.name = name, .node = node, .shard = 3, .workloads = std::move(claims)};
    snapshot.node_workloads[name] = std::move(shard);
    model::Changes changes;
    changes.node_workloads.insert(name);
    return update(changes);
  }
  RemoteCompiler::Update untell(const std::string& node = "node-b") {
    snapshot.node_workloads.erase(node + ".3");
    model::Changes changes;
    changes.node_workloads.insert(node + ".3");
    return update(changes);
  }
};

TEST_CASE("remotes: a claim is believed where the pod agrees, and only that pod's rows are touched") {
  Told node;
  CHECK(node.compiler.remotes().empty());
  CHECK(node.status("web").tunnels);  // so that it can be reached when the other one can
  CHECK(node.tell({node.claim()}).rows == Rows{{ip("10.0.1.1"), 0}, {ip("fd00:1::1"), 0}});
  CHECK(node.tell({node.claim()}).empty());
  auto other = node.claim();
  other.pod.name = "nobody";
  other.uid = "u2";
  CHECK(node.tell({node.claim(), other}).empty());
  CHECK(node.compiler.remotes() == node.anew());
}

TEST_CASE("remotes: claims that the API's own pod does not bear out") {
  const auto refused = [](const std::string& what, const auto& spoil, const std::string& node_name = "node-b") {
    CAPTURE(what);
    Told node;
    auto claim = node.claim();
    spoil(claim);
    node.tell({claim}, node_name);
    CHECK(node.compiler.remotes().empty());
  };
  refused("another UID", [](auto& claim) { claim.uid = "u0"; });
  refused("no UID", [](auto& claim) { claim.uid = ""; });
  refused("another account", [](auto& claim) { claim.service_account = "admin"; });
  refused("another pod's address", [](auto& claim) { claim.ips = {ip("10.0.1.2")}; });
  refused("one address more", [](auto& claim) { claim.ips.push_back(ip("10.0.0.7")); });
  refused("one address less", [](auto& claim) { claim.ips.pop_back(); });
  refused("another namespace", [](auto& claim) { claim.pod.ns = "bank"; });
  refused("another node's word", [](auto&) {}, "node-c");
}

TEST_CASE("remotes: what the agent before believed is believed, of the pod that has that address still") {
  for (const bool same : {true, false}) {
    CAPTURE(same);
    Told node;
    RemoteCompiler next;
    next.adopt({{{"shop", "db"}, {ip(same ? "10.0.1.1" : "10.0.1.9")}}, {{"shop", "gone"}, {ip("10.0.1.7")}}});
    auto compiled = compile_tables(node.snapshot, {}, {.node_name = "node-a"}, *std::make_unique<NamespaceIds>());
    next.update(node.snapshot, {}, "node-a", compiled, node.policies.numbers());
    CHECK(next.remotes().size() == (same ? 2 : 0));
  }
}

TEST_CASE("remotes: a word that is taken back brings no plain text about, as long as the pod is in the mesh") {
  Told node;
  node.tell({node.claim()});
  CHECK(node.untell().empty());
  CHECK(node.compiler.remotes().size() == 2);
  auto lie = node.claim();
  lie.uid = "u0";
  CHECK(node.tell({lie}).empty());

  // Its labels say otherwise: that is the API's word.
  node.pod("db").settings.mesh = false;
  CHECK(node.change("db").rows.size() == 2);
  CHECK(node.compiler.remotes().empty());
  node.pod("db").settings.mesh = true;
  CHECK(node.change("db").empty());
  node.tell({node.claim()});
  CHECK(node.compiler.remotes().size() == 2);

  // Another pod of that name: nothing is known of it.
  node.pod("db").uid = "u9";
  CHECK(node.change("db").rows.size() == 2);
  CHECK(node.compiler.remotes().empty());
}

TEST_CASE("remotes: who needs tunnels has a worker, and the numbers that it is told mean somebody") {
  Node node;
  node.near("web", 7, {ip("10.0.0.7")});
  node.near("apart", 8, {ip("10.0.0.8")}).settings.mesh = false;
  node.update({});
  WorkerPlanner planner;
  CHECK(planner.plan(node.snapshot, node.compiled).empty());  // a mesh of one node pays nothing
  node.far("db", {ip("10.0.1.1")});
  node.change("db");
  const auto plans = planner.plan(node.snapshot, node.compiled);
  REQUIRE(plans.contains("shop"));
  const auto& plan = plans.at("shop");
  REQUIRE(plan.pods.size() == 1);
  CHECK(plan.pods.at(7).tunnels);
  CHECK(plan.pods.at(7).tunnel_only);
  CHECK(plan.identities.at(node.compiler.find(ip("10.0.1.1"))->identity) == "spiffe://cluster.local/ns/shop/sa/db");
  CHECK(table_of(plan, 1).pods.at(0).tunnels);
  node.snapshot.pods.erase({"shop", "db"});
  node.change("db");
  CHECK(planner.plan(node.snapshot, node.compiled).empty());
}

TEST_CASE("remotes: of workloads there are numbers, one for each, the same for another agent") {
  Node node, other;
  for (Node* one : {&node, &other}) {
    one->far("db-1", {ip("10.0.1.1")}).owner = "StatefulSet/db";
    one->far("db-2", {ip("10.0.1.2")}).owner = "StatefulSet/db";
    for (const char* name : {"db-1", "db-2"}) one->pod(name).service_account = "db";
    if (one == &other) one->far("another", {ip("10.0.1.3")});
    one->update({});
  }
  const auto number = node.compiler.find(ip("10.0.1.1"))->workload;
  CHECK(number != 0);
  CHECK(node.compiler.find(ip("10.0.1.2"))->workload == number);
  CHECK(other.compiler.find(ip("10.0.1.1"))->workload == number);
  CHECK(other.compiler.find(ip("10.0.1.3"))->workload != number);
  REQUIRE(node.compiler.find_workload(number) != nullptr);
  CHECK(node.compiler.find_workload(number)->owner == "StatefulSet/db");
  for (const char* name : {"db-1", "db-2"}) node.snapshot.pods.erase({"shop", name});
  model::Changes all;
  all.everything = true;
  node.update(all);
  CHECK(node.compiler.find_workload(number) == nullptr);
}

TEST_CASE("remotes: whatever changes in whatever order, the rows are those of the objects") {
  std::mt19937 dice(20'26);
  const auto upto = [&](unsigned n) { return std::uniform_int_distribution<unsigned>(0, n)(dice); };
  Node node;
  node.near("web", 7, {ip("10.0.0.7")});
  Remotes seen;
  for (int step = 0; step < 400; ++step) {
    const std::string name = "p" + std::to_string(upto(5));
    if (upto(3) == 0) {
      node.snapshot.pods.erase({"shop", name});
    } else {
      auto& pod = node.far(name, {ip("10.0." + std::to_string(upto(1)) + "." + std::to_string(upto(9)))});
      pod.terminated = upto(4) == 0;
      pod.node_name = upto(4) == 0 ? "node-a" : "node-b";
      pod.exclude_inbound_ports = upto(1) == 0 ? std::vector<std::uint16_t>{80} : std::vector<std::uint16_t>{};
    }
    model::Changes changes;
    changes.pods.insert({"shop", name});
    if (upto(9) == 0) {
      node.disable("all", upto(1) == 0 ? model::MtlsMode::kDisable : model::MtlsMode::kPermissive);
      changes.policies = true;
    }
    const auto update = node.update(changes);
    REQUIRE(node.compiler.remotes() == node.anew());
    // What is named and nothing else is other than before.
    if (!update.everything)
      for (const auto* rows : std::initializer_list<const Remotes*>{&seen, &node.compiler.remotes()})
        for (const auto& [key, row] : *rows) {
          const auto before = std::as_const(seen).find(key), now = node.compiler.remotes().find(key);
          const bool same =
              before != seen.end() && now != node.compiler.remotes().end() && before->second == now->second;
          REQUIRE(update.rows.contains(key) == !same);
        }
    seen = node.compiler.remotes();
  }
}

}  // namespace
}  // namespace underpass::compile
