// SPDX-License-Identifier: Apache-2.0
// Which policies apply to a workload, and what besides ALLOW and DENY becomes of them: PeerAuthentications, dry runs,
// what was never understood, and what bypasses policy.
#include <doctest/doctest.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "agent/compile/policies.h"
#include "test/unit/policy_world.h"

namespace underpass::compile {
namespace {

TEST_CASE("policies: scope is a namespace or the mesh, and a selector") {
  struct Row {
    std::string ns;
    std::map<std::string, std::string> selector;
    bool applies;
  };
  const std::vector<Row> rows{
      {"shop", {}, true},
      {"shop", {{"app", "web"}}, true},
      {"shop", {{"app", "web"}, {"tier", "1"}}, true},
      {"shop", {{"app", "web"}, {"tier", "2"}}, false},
      {"shop", {{"app", "api"}}, false},
      {"shop", {{"zone", ""}}, false},
      {"other", {}, false},
      {"other", {{"app", "web"}}, false},
      {"istio-system", {}, true},
      {"istio-system", {{"app", "web"}}, true},
      {"istio-system", {{"app", "api"}}, false},
  };
  for (const auto& row : rows) {
    CAPTURE(row.ns);
    CAPTURE(row.selector);
    World world;
    world.add(Action::kDeny, {kAnything}, {row.ns, "policy"}).selector = row.selector;
    CHECK(world.allowed() == (row.applies ? "none" : kAll));
  }
}

TEST_CASE("policies: the root namespace is where Mesh says") {
  World world;
  world.input.mesh.root_namespace = "mesh";
  world.add(Action::kDeny, {kAnything}, {"istio-system", "policy"});
  CHECK(world.allowed() == kAll);
  world.add(Action::kDeny, {kAnything}, {"mesh", "policy"});
  CHECK(world.allowed() == "none");
}

TEST_CASE("policies: dry run and AUDIT change no verdict") {
  World world;
  world.add(Action::kAllow, {from(source("namespaces", strings({"shop"})))}, {"shop", "dry-allow"}).dry_run = true;
  world.add(Action::kDeny, {from(source("namespaces", strings({"other"})))}, {"shop", "dry-deny"}).dry_run = true;
  world.add(Action::kAudit, {from(source("principals", strings({"*"})))}, {"shop", "audit"}).dry_run = true;
  CHECK(world.allowed() == kAll);
  CHECK(world.verdict("batch") == Verdict{.would_deny = {0}, .would_default_deny = true, .audited = {2}});
  CHECK(world.verdict("front") == Verdict{.would_deny = {}, .audited = {2}});
  world.add(Action::kDeny, {kAnything}, {"shop", "deny"});
  CHECK(world.verdict("batch") ==
        Verdict{.allowed = false, .decided_by = 0, .would_deny = {1}, .would_default_deny = true, .audited = {3}});
  const auto set = world.set();
  CHECK(set.has_dry_run_allow());
  CHECK_FALSE(set.has_allow());
  CHECK(set.with_effect(Effect::kDryRunAllow) == ClauseBits("100"));
  CHECK(set.with_effect(Effect::kAllow).none());
}

TEST_CASE("policies: STRICT refuses plaintext, the node's own too") {
  World world;
  world.add(MtlsMode::kStrict, {"shop", "default"});
  CHECK(world.allowed() == "batch front six");
  CHECK(world.set().clauses.at(0) == ClauseOrigin{Effect::kDeny, "PeerAuthentication", {"shop", "default"}});
  world.add(Action::kAllow, {kAnything});
  CHECK(world.allowed() == "batch front six");
  world.add(Action::kDeny, {kAnything}, {"shop", "aaa"});
  CHECK(world.verdict("nobody").decided_by == 0);  // PeerAuthentications stand before policies
}

TEST_CASE("policies: levels of PeerAuthentication") {
  using enum MtlsMode;
  struct Row {
    MtlsMode mesh;
    MtlsMode ns;
    MtlsMode workload;
    std::string strict;  // which level it comes from
  };
  const std::vector<Row> rows{
      {kUnset, kUnset, kUnset, ""},           {kStrict, kUnset, kUnset, "mesh"}, {kStrict, kPermissive, kUnset, ""},
      {kStrict, kDisable, kUnset, ""},        {kStrict, kStrict, kUnset, "ns"},  {kPermissive, kStrict, kUnset, "ns"},
      {kUnset, kStrict, kPermissive, ""},     {kUnset, kStrict, kDisable, ""},   {kUnset, kUnset, kStrict, "pod"},
      {kStrict, kPermissive, kStrict, "pod"}, {kDisable, kUnset, kUnset, ""},    {kPermissive, kUnset, kUnset, ""},
  };
  for (const auto& row : rows) {
    World world;
    world.add(row.mesh, {"istio-system", "mesh"});
    world.add(row.ns, {"shop", "ns"});
    world.add(row.workload, {"shop", "pod"}, {{"app", "web"}});
    world.add(kStrict, {"other", "other"});
    world.add(kStrict, {"shop", "api"}, {{"app", "api"}});
    world.add(kStrict, {"istio-system", "selects"}, {{"app", "web"}});  // ignored
    CHECK(world.allowed() == (row.strict.empty() ? kAll : "batch front six"));
    const auto clauses = world.set().clauses;
    CHECK((clauses.empty() ? "" : clauses[0].id.name) == row.strict);
  }
}

TEST_CASE("policies: a pod of the root namespace has the mesh's level and no other") {
  World world;
  world.target.pod.ns = "istio-system";
  world.add(MtlsMode::kStrict, {"istio-system", "pod"}, {{"app", "web"}});
  CHECK(world.allowed() == kAll);
  world.add(MtlsMode::kStrict, {"istio-system", "mesh"});
  CHECK(world.allowed() == "batch front six");
}

TEST_CASE("policies: modes of ports") {
  using enum MtlsMode;
  struct Row {
    MtlsMode ns;
    MtlsMode workload;
    std::map<std::uint16_t, MtlsMode> ports;
    std::string open;  // to plaintext
    std::size_t clauses;
  };
  const std::vector<Row> rows{
      {kStrict, kUnset, {{8080, kDisable}}, "8080", 1},
      {kStrict, kUnset, {{8080, kPermissive}, {9090, kUnset}}, "8080", 1},
      {kStrict, kUnset, {{8080, kStrict}}, "none", 2},
      {kUnset, kStrict, {{8080, kPermissive}, {80, kStrict}}, "8080", 2},
      {kUnset, kUnset, {{8080, kStrict}}, "80 8081 9090", 1},
      {kStrict, kPermissive, {{8080, kStrict}, {9090, kUnset}}, "80 8081 9090", 1},
      {kStrict, kDisable, {}, "80 8080 8081 9090", 0},
  };
  for (const auto& row : rows) {
    World world;
    world.add(row.ns, {"shop", "ns"}).port_modes = {{8081, kStrict}, {9090, kPermissive}};  // of no workload: ignored
    world.add(row.workload, {"shop", "pod"}, {{"app", "web"}}).port_modes = row.ports;
    CHECK(world.open_ports("nobody") == row.open);
    CHECK(world.open_ports("host") == row.open);
    CHECK(world.open_ports("front") == "80 8080 8081 9090");
    CHECK(world.set().clauses.size() == row.clauses);
  }
}

TEST_CASE("policies: of PeerAuthentications of one level the oldest counts") {
  World world;
  world.add(MtlsMode::kPermissive, {"shop", "a"}).created = "2026-02-01T00:00:00Z";
  auto& other = world.add(MtlsMode::kStrict, {"shop", "b"});
  CHECK(world.allowed() == kAll);  // not known: younger than any
  other.created = "2026-02-01T00:00:00Z";
  CHECK(world.allowed() == kAll);  // by name
  other.created = "2026-01-01T00:00:00Z";
  CHECK(world.allowed() == "batch front six");
  other.mode = MtlsMode::kUnset;  // it counts, and says nothing
  CHECK(world.allowed() == kAll);
  world.add(MtlsMode::kStrict, {"istio-system", "mesh"});
  CHECK(world.allowed() == "batch front six");
}

TEST_CASE("policies: the node's probes and excluded ports bypass policy") {
  World world;
  world.target.probe_ports = {8081, 8080};
  world.target.excluded_ports = {9090};
  world.add(MtlsMode::kStrict, {"shop", "default"});
  world.add(Action::kDeny, {from(source("namespaces", strings({"other"})))});
  CHECK(world.open_ports("host") == "8080 8081 9090");
  CHECK(world.open_ports("nobody") == "9090");
  CHECK(world.open_ports("batch") == "9090");
  CHECK(world.open_ports("front") == "80 8080 8081 9090");
  CHECK(world.verdict("host") == Verdict{.allowed = true, .decided_by = 0});
  world.add(Action::kDeny, {kAnything}, {"shop", "dry"}).dry_run = true;
  CHECK(world.verdict("host") == Verdict{.allowed = true, .decided_by = 0});  // policy has no say
  CHECK(to_text(world.set()) ==
        "default allow\n"
        "clause 0 bypass Pod probes\n"
        "clause 1 bypass Pod excluded ports\n"
        "clause 2 deny PeerAuthentication shop/default STRICT\n"
        "clause 3 deny AuthorizationPolicy shop/policy rules[0].from[0]\n"
        "clause 4 dry-run deny AuthorizationPolicy shop/dry rules[0]\n"
        "client unauthenticated: 1-2 4\n"
        "client host: 0-2 4\n"
        "client other/batch: 1 3-4\n"
        "client shop/front: 1 4\n"
        "client shop/web: 1 4\n"
        "client unknown: 1 3-4\n"
        "from ::/0: 0-4\n"
        "from 0.0.0.0/0: 0-4\n"
        "to ::/0: 0-4\n"
        "to 0.0.0.0/0: 0-4\n"
        "port 8080: 0 2-4\n"
        "port 8081: 0 2-4\n"
        "port 9090: 1-4\n"
        "port other: 2-4\n");
}

TEST_CASE("policies: what was never understood closes its scope") {
  struct Row {
    std::string kind;
    std::string ns;
    bool closes;
  };
  const std::vector<Row> rows{
      {"AuthorizationPolicy", "shop", true},
      {"AuthorizationPolicy", "istio-system", true},
      {"AuthorizationPolicy", "other", false},
      {"PeerAuthentication", "shop", true},
      {"PeerAuthentication", "other", false},
      {"PeerAuthentication", "istio-system", true},
      {"RequestAuthentication", "shop", true},
      {"RequestAuthentication", "istio-system", true},
      {"RequestAuthentication", "other", false},
      {"Mesh", "", true},
      {"Service", "shop", false},
  };
  for (const auto& row : rows) {
    CAPTURE(row.kind);
    CAPTURE(row.ns);
    World world;
    world.target.probe_ports = {8080};
    world.target.excluded_ports = {9090};
    world.input.unread = {{row.kind, {row.ns, "bad"}}};
    world.add(Action::kAllow, {kAnything});
    CHECK(world.set().closed == row.closes);
    CHECK(world.allowed() == (row.closes ? "host" : kAll));
    CHECK(world.open_ports("nobody") == (row.closes ? "9090" : "80 8080 8081 9090"));
    if (row.closes) CHECK(world.verdict("front") == Verdict{.allowed = false});
    const auto name = row.ns.empty() ? "bad" : row.ns + "/bad";
    if (row.closes)
      CHECK(to_text(world.set())
                .starts_with("closed: " + row.kind + " " + name + " was never understood\nclause 0 bypass"));
  }
}

TEST_CASE("policies: an account that was not known gets the stricter answer") {
  struct Row {
    std::string name;
    PolicySource source;
    bool allow_matches;
    bool deny_matches;
  };
  auto of_both = source("namespaces", strings({"shop"}));
  of_both.trust_domains = strings({"example.org"});
  const std::vector<Row> rows{
      {"anyone", {}, true, true},
      {"any address", source(blocks({"0.0.0.0/0"})), true, true},
      {"another address", source(blocks({"192.0.2.0/24"})), false, false},
      {"its namespace", source("namespaces", strings({"shop"})), false, true},
      {"any account", source("principals", strings({"*"})), false, true},
      {"not a namespace", source("namespaces", strings({}, {"other"})), false, true},
      {"no account", source("principals", strings({}, {"*"})), false, false},
      {"no namespace", source("namespaces", strings({"shop"}, {"*"})), false, false},
      {"the trust domain", source("trustDomains", strings({"cluster.local"})), false, true},
      {"not the trust domain", source("trustDomains", strings({}, {"cluster.*"})), false, false},
      {"another trust domain", of_both, false, false},
  };
  const Attempt attempt{account("shop", "new"), ip("10.0.0.8"), ip("10.0.0.7"), 8080};
  for (const auto& row : rows) {
    CAPTURE(row.name);
    World world;
    auto& policy = world.add(Action::kAllow, {from(row.source)});
    CHECK(decide(world.set(), attempt).allowed == row.allow_matches);
    policy.dry_run = true;
    CHECK(decide(world.set(), attempt).would_default_deny == !row.allow_matches);
    policy.action = Action::kDeny;
    CHECK(decide(world.set(), attempt).would_deny.empty() == !row.deny_matches);
    policy.dry_run = false;
    CHECK(decide(world.set(), attempt).allowed == !row.deny_matches);
  }
  World world;
  world.add(MtlsMode::kStrict, {"shop", "default"});
  world.target.probe_ports = {8080};
  CHECK(decide(world.set(), attempt).decided_by == -1);
  CHECK(decide(world.set(), attempt).allowed);
  world.target.excluded_ports = {8080};
  CHECK(decide(world.set(), attempt).decided_by == 1);
}

}  // namespace
}  // namespace underpass::compile
