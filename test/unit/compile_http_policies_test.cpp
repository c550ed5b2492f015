// SPDX-License-Identifier: Apache-2.0
// Which pods need a worker for their policies and what that is given; what the kernel decides before it.
#include <doctest/doctest.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "agent/compile/http_policies.h"
#include "agent/compile/policy_compiler.h"
#include "agent/compile/workers.h"
#include "test/unit/policy_world.h"

namespace underpass::compile {
namespace {

struct Deciding : World {
  // "", or who asks for a worker, with "!" where it decides.
  std::string asks() const {
    const auto part = compile_workers_part(input, target);
    return part ? part->why + (part->decides ? "!" : "") : "";
  }
};

PolicyRule with(PolicyRule rule, PolicyCondition condition) {
  rule.when.push_back(std::move(condition));
  return rule;
}

PolicyCondition when_unknown() { return {.key = Key::kUnsupported, .name = "connection.sni"}; }

const std::string kPolicy = "AuthorizationPolicy shop/policy";

TEST_CASE("http policies: who needs a worker, and whether it decides") {
  struct Row {
    const char* what;
    Action action;
    PolicyRule rule;
    bool dry_run;
    std::string wanted;
  };
  const std::vector<Row> rows{
      {"addresses and ports", Action::kAllow, to(ports({80})), false, ""},
      {"anything", Action::kDeny, kAnything, false, ""},
      {"a method", Action::kAllow, to(http_operation()), false, kPolicy + "!"},
      {"a method that is denied", Action::kDeny, to(http_operation()), false, kPolicy + "!"},
      {"a token", Action::kAllow, from(http_source()), false, kPolicy + "!"},
      {"a header", Action::kDeny, when(when_http()), false, kPolicy + "!"},
      {"a provider", Action::kCustom, kAnything, false, kPolicy + "!"},
      {"dry run", Action::kDeny, to(http_operation()), true, kPolicy},
      {"audit", Action::kAudit, to(http_operation()), false, kPolicy},
      {"a key of which nobody can tell", Action::kDeny, when(when_unknown()), false, ""},
  };
  for (const auto& row : rows) {
    CAPTURE(row.what);
    Deciding world;
    world.add(row.action, {row.rule}).dry_run = row.dry_run;
    CHECK(world.asks() == row.wanted);
  }
}

TEST_CASE("http policies: of another workload, or without a rule, they need none; who decides comes before who tells") {
  Deciding world;
  world.add(Action::kAllow, {to(http_operation())}).selector = {{"app", "api"}};
  world.add(Action::kAllow, {to(http_operation())}, {"other", "policy"});
  world.add(Action::kCustom, {}, {"shop", "empty"});
  CHECK(world.asks() == "");
  world.add(Action::kAllow, {to(http_operation())}, {"istio-system", "z"}).dry_run = true;
  CHECK(world.asks() == "AuthorizationPolicy istio-system/z");
  world.add(Action::kCustom, {kAnything}, {"shop", "z"});
  CHECK(world.asks() == "AuthorizationPolicy shop/z!");
}

TEST_CASE("http policies: a RequestAuthentication with a rule needs a worker, one that was never understood closes") {
  Deciding world;
  const auto add = [&](NamespacedName id, std::string created, std::vector<model::JwtRule> rules) {
    auto one = std::make_shared<model::RequestAuthentication>();
    one->id = std::move(id);
    one->created = std::move(created);
    one->rules = std::move(rules);
    world.input.request_authentications.push_back(std::move(one));
  };
  add({"shop", "none"}, "", {});
  CHECK(world.asks() == "");
  add({"shop", "young"}, "2026-02-01T00:00:00Z", {{.issuer = "a"}});
  add({"istio-system", "old"}, "2026-01-01T00:00:00Z", {{.issuer = "b"}});
  add({"other", "far"}, "", {{.issuer = "c"}});
  CHECK(world.asks() == "RequestAuthentication istio-system/old!");
  const auto part = compile_workers_part(world.input, world.target);
  REQUIRE(part->policies.authentications.size() == 3);
  CHECK(part->policies.authentications.front().id.name == "old");
  CHECK(part->policies.authentications.back().id.name == "none");
  CHECK(part->policies.closed_by.empty());
  CHECK(world.allowed() == kAll);
  world.input.unread = {{"RequestAuthentication", {"shop", "broken"}}};
  CHECK(world.allowed() == "none");
  CHECK(compile_workers_part(world.input, world.target)->policies.closed_by == "RequestAuthentication shop/broken");
}

TEST_CASE("http policies: what counts first stands first") {
  Deciding world;
  world.add(Action::kAllow, {to(http_operation())}, {"shop", "a"});
  world.add(Action::kAudit, {kAnything}, {"shop", "b"});
  world.add(Action::kDeny, {kAnything}, {"shop", "c"});
  world.add(Action::kDeny, {kAnything}, {"istio-system", "d"});
  world.add(Action::kCustom, {kAnything}, {"shop", "e"});
  std::string order;
  for (const auto& policy : compile_workers_part(world.input, world.target)->policies.policies) order += policy.id.name;
  CHECK(order == "edcab");
}

TEST_CASE("http policies: the kernel lets in whoever a request may be allowed for") {
  {
    Deciding world;  // an ALLOW keeps what is no HTTP
    world.add(Action::kAllow, {with(from(source("namespaces", strings({"shop"}))), when_http())});
    CHECK(world.allowed() == "front six");
    world.add(Action::kAllow, {to(http_operation({8080}))}, {"shop", "more"});
    CHECK(world.allowed() == kAll);
    CHECK(world.open_ports("batch") == "8080");
  }
  {
    Deciding world;  // a source that needs HTTP leaves the others of its rule alone
    PolicyRule rule = from(http_source());
    rule.from.push_back(source("namespaces", strings({"other"})));
    world.add(Action::kAllow, {rule});
    CHECK(world.set().clauses ==
          std::vector<ClauseOrigin>{{Effect::kAllow, "AuthorizationPolicy", {"shop", "policy"}, 0, true, 0},
                                    {Effect::kAllow, "AuthorizationPolicy", {"shop", "policy"}, 0, false, 1}});
  }
  {
    Deciding world;  // a DENY with HTTP is the worker's, one without the kernel's
    world.add(Action::kDeny, {to(http_operation()), from(source("namespaces", strings({"other"})))});
    CHECK(world.allowed() == "front host nobody six");
    world.add(Action::kCustom, {kAnything}, {"shop", "ask"});
    CHECK(world.allowed() == "front host nobody six");
    world.add(MtlsMode::kStrict, {"shop", "default"});
    CHECK(world.allowed() == "front six");
  }
  {
    Deciding world;  // of an unknown key nobody can tell, no worker either
    world.add(Action::kAllow, {when(when_unknown())});
    CHECK(world.allowed() == "none");
    world.add(Action::kDeny, {with(from(source("namespaces", strings({"other"}))), when_unknown())}, {"shop", "no"});
    world.add(Action::kAllow, {kAnything}, {"shop", "all"});
    CHECK(world.allowed() == "front host nobody six");
  }
}

TEST_CASE("http policies: what only tells and needs HTTP is not told by the kernel") {
  Deciding world;
  world.add(Action::kDeny, {to(http_operation()), kAnything}).dry_run = true;
  CHECK(world.who([](const auto& verdict) { return verdict.would_deny.size() == 1; }) == kAll);
  world.add(Action::kAudit, {to(http_operation())}, {"shop", "audit"});
  CHECK(world.who([](const auto& verdict) { return !verdict.audited.empty(); }) == "none");
  world.add(Action::kAllow, {from(source("namespaces", strings({"other"})))}, {"shop", "maybe"}).dry_run = true;
  CHECK(world.who([](const auto& verdict) { return verdict.would_default_deny; }) == "front host nobody six");
  // Whether one of the two would match is nobody's to tell but the worker's.
  world.add(Action::kAllow, {to(http_operation())}, {"shop", "maybe-2"}).dry_run = true;
  CHECK(world.who([](const auto& verdict) { return verdict.would_default_deny; }) == "none");
}

// A node with a pod "web" of namespace shop, and what its worker is given.
struct Node {
  model::Snapshot snapshot;
  NetnsFacts facts;
  NamespaceIds ids;
  PolicyCompiler policies;
  WorkerPlanner planner;
  Compiled compiled;

  Node() { add("web", 7, "10.0.0.7"); }

  model::Pod& add(const std::string& name, NetnsCookie cookie, const std::string& address) {
    auto& pod = snapshot.pods[{"shop", name}];
    pod.id = {"shop", name};
    pod.node_name = "node-a";
    pod.settings.mesh = true;
    pod.netns_path = "/var/run/netns/" + name;
    pod.ips = {ip(address)};
    pod.labels = {{"app", "web"}};
    facts[pod.id] = NetnsFact{cookie, pod.ips, pod.netns_path};
    return pod;
  }
  void put(Action action, std::vector<PolicyRule> rules, const std::string& name, const std::string& provider = "") {
    auto policy = std::make_shared<AuthorizationPolicy>();
    policy->id = {"shop", name};
    policy->action = action;
    policy->rules = std::move(rules);
    policy->provider = provider;
    snapshot.authorization_policies[policy->id] = std::move(policy);
  }
  std::map<std::string, WorkerPlan> plan() {
    compiled = compile_tables(snapshot, facts, {.node_name = "node-a"}, ids);
    policies.update(snapshot, compiled);
    return planner.plan(snapshot, compiled);
  }
  [[nodiscard]] std::uint32_t capture() const { return compiled.tables.pods.at(7).capture; }
  [[nodiscard]] const PodStatus& web() const { return compiled.pods.back(); }
};

TEST_CASE("http policies: such a pod is captured inbound alone, and must be") {
  Node node;
  CHECK(node.plan().empty());
  auto& pod = node.snapshot.pods.at({"shop", "web"});
  pod.exclude_inbound_ports = {9000};
  node.put(Action::kAllow, {to(http_operation())}, "get");
  const auto plans = node.plan();
  CHECK(node.capture() == (UP_CAPTURE_INBOUND | UP_CAPTURE_MUST));
  CHECK(node.web().capture);
  CHECK(node.web().inbound_only);
  CHECK(node.web().capture_reason == "AuthorizationPolicy shop/get");
  CHECK(node.web().decided_by == "AuthorizationPolicy shop/get");
  CHECK(node.compiled.tables.excluded.contains({7, 9000, true}));
  REQUIRE(plans.contains("shop"));
  CHECK(plans.at("shop").pods.at(7).inbound_only);

  pod.settings.capture = model::Capture::kAlways;
  CHECK_FALSE(node.plan().at("shop").pods.at(7).inbound_only);
  CHECK(node.capture() == (UP_CAPTURE_OUTBOUND | UP_CAPTURE_INBOUND | UP_CAPTURE_MUST));
  CHECK(node.web().capture_reason == "annotation on Pod");
  CHECK(node.web().decided_by == "AuthorizationPolicy shop/get");

  pod.settings.capture.reset();
  node.put(Action::kAudit, {to(http_operation())}, "get");
  CHECK(node.plan().size() == 1);
  CHECK(node.capture() == UP_CAPTURE_INBOUND);
  CHECK(node.web().decided_by.empty());

  node.put(Action::kAudit, {kAnything}, "get");
  CHECK(node.plan().empty());
  CHECK(node.capture() == 0);
}

TEST_CASE("http policies: one about which a worker decides has a set, whatever the kernel decides by it") {
  Node node;
  node.put(Action::kCustom, {kAnything}, "ask", "authz");
  node.snapshot.pods.at({"shop", "web"}).probe_ports = {8080};
  node.plan();
  REQUIRE(node.compiled.tables.policies.contains(7));
  const auto& set = *node.compiled.tables.policies.at(7);
  CHECK(set.clauses.size() == 1);
  CHECK(set.clauses.front().effect == Effect::kBypass);
}

TEST_CASE("http policies: pods that are alike share what their worker is given, and it stays the same object") {
  Node node;
  node.add("api", 8, "10.0.0.8").labels = {{"app", "api"}};
  node.add("www", 9, "10.0.0.9");
  node.put(Action::kAllow, {to(http_operation())}, "get");
  const auto before = node.plan().at("shop");
  REQUIRE(before.policy_sets.size() == 1);  // both labels, one content
  for (const auto& [netns, pod] : before.pods) CHECK(pod.policies == 0u);
  CHECK(before.pods.at(8).labels == std::map<std::string, std::string>{{"app", "api"}});

  // An equal policy that is another object; and one that has nothing to do with it.
  node.put(Action::kAllow, {to(http_operation())}, "get");
  CHECK(node.plan().at("shop") == before);
  node.put(Action::kDeny, {to(http_operation())}, "no");
  CHECK_FALSE(node.plan().at("shop") == before);

  const auto table = table_of(node.plan().at("shop"), 3);
  REQUIRE(table.policy_sets.size() == 1);
  CHECK(table.policy_sets.front().policies.size() == 2);
  CHECK(table.pods.front().policies == 0u);
  CHECK(table.pods.front().labels == node.snapshot.pods.at({"shop", "web"}).labels);
  CHECK(table.trust_domain == "cluster.local");
}

TEST_CASE("http policies: a worker may ask the providers that its policies name, and gets them told") {
  Node node;
  node.snapshot.mesh = model::MeshConfig{.trust_domain = "example.org"};
  for (const std::string name : {"authz", "other"})
    node.snapshot.mesh->providers[name] = {.name = name, .service = {"platform", name}, .port = 9191};
  auto service = std::make_shared<model::Service>();
  service->id = {"platform", "authz"};
  service->cluster_ips = {ip("10.96.0.1"), ip("fd00:96::1")};
  node.snapshot.services[service->id] = service;
  node.put(Action::kCustom, {kAnything}, "ask", "authz");
  const auto plan = node.plan().at("shop");
  CHECK(plan.providers.size() == 1);
  CHECK(plan.providers.contains("authz"));
  CHECK(plan.trust_domain == "example.org");
  CHECK(node.compiled.tables.errands == std::set<Errand>{{7, ip("10.96.0.1"), 9191}, {7, ip("fd00:96::1"), 9191}});
  node.put(Action::kAllow, {kAnything}, "ask");
  node.plan();
  CHECK(node.compiled.tables.errands.empty());
}

}  // namespace
}  // namespace underpass::compile
