// SPDX-License-Identifier: Apache-2.0
// Why a request may pass or not, rule by rule, in words.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "test/support/http_policy_dice.h"
#include "test/unit/authz_world.h"

namespace underpass::authz {
namespace {

std::string to_text(const std::vector<Explanation>& all) {
  std::string out;
  for (const auto& one : all) {
    out += one.clause + (one.decides ? " decides" : one.matches ? " matches" : " does not match");
    for (const auto& miss : one.misses) out += "\n  " + miss;
    for (const auto& ignored : one.ignored) out += "\n  ignored: " + ignored;
    out += "\n";
  }
  return out;
}

std::string explain(const HttpPolicySet& set, const Ask& ask) {
  return to_text(Authorizer(set, "cluster.local").explain(ask.peer, ask.subject()));
}

TEST_CASE("authz: explain says of every rule what keeps it from matching, and which one decides") {
  PolicyRule rule;
  rule.from = {PolicySource{}, PolicySource{}};
  rule.from[0].principals = strings({"cluster.local/ns/shop/sa/web", "*/admin"});
  rule.from[0].ip_blocks = blocks({"192.0.2.0/24", "fd00::8"}, {"10.0.0.0/8"});
  rule.from[1].namespaces = strings({"shop"});
  rule.to = {PolicyOperation{}, PolicyOperation{}};
  rule.to[0].methods = strings({"GET", "HEAD"});
  rule.to[0].hosts = strings({"shop.example:80"});
  rule.to[0].ports.values = {80};
  rule.to[1].methods = strings({"P*"});
  rule.to[1].paths = paths({"*"}, {"/a/{*}", "/b*"});
  const auto post = [](const std::string& path) {
    auto out = ask("POST", path);
    out.request.authority = "shop.example:8080";
    return out;
  };
  const std::string first =
      "ALLOW shop/allow rule 0 from 0 to 0 does not match\n"
      "  principals: cluster.local/ns/shop/sa/front is not cluster.local/ns/shop/sa/web, */admin\n"
      "  ipBlocks: 10.0.0.8 is not 192.0.2.0/24, fd00::8\n"
      "  ipBlocks: 10.0.0.8 is excluded by 10.0.0.0/8\n"
      "  ports: 8080 is not 80\n"
      "  hosts: shop.example:8080 is not shop.example:80\n"
      "  methods: POST is not GET, HEAD\n";
  const auto set = set_of({policy(Action::kAllow, {rule}, "allow")});
  const auto good = explain(set, post("/x"));
  CHECK(good.starts_with(first));
  CHECK(good.ends_with("ALLOW shop/allow rule 0 from 1 to 1 decides\n"));
  const auto bad = explain(set, post("/a/b"));
  CHECK(
      bad.ends_with("ALLOW shop/allow rule 0 from 1 to 1 does not match\n"
                    "  paths: /a/b is excluded by /a/{*}, /b*\n"));
}

TEST_CASE("authz: explain names the action, and what cannot be told") {
  auto sni = to_paths({"/a"});
  sni.when = {{.key = Key::kUnsupported, .name = "connection.sni"}};
  const auto header = when(Key::kHeader, strings({"1", "2", "3", "4", "5", "6", "7"}), {"x-id"});
  auto token = when(Key::kClaim, strings({"admin"}), {"group"});
  token.when[0].name = "request.auth.claims[group]";
  const auto set = set_of({policy(Action::kAudit, {PolicyRule{}}, "audit"), policy(Action::kAllow, {sni, header}, "b"),
                           policy(Action::kDeny, {token, sni}, "a"), dry(policy(Action::kAllow, {PolicyRule{}}, "d"))});
  CHECK(explain(set, ask("GET", "/a")) ==
        "DENY shop/a rule 0 does not match\n"
        "  request.auth.claims[group]: nothing is not admin\n"
        "DENY shop/a rule 1 to 0 decides\n"
        "  ignored: connection.sni\n"
        "ALLOW shop/b rule 0 to 0 does not match\n"
        "  connection.sni\n"
        "ALLOW shop/b rule 1 does not match\n"
        "  key: nothing is not 1, 2, 3, 4, 5 and 2 more\n"
        "ALLOW (dry run) shop/d rule 0 matches\n"
        "AUDIT shop/audit rule 0 matches\n");
  CHECK(explain(set_of({}), Ask()).empty());
}

// Where something decides there is one, and it is the one that the verdict names.
TEST_CASE("authz: explain and verdict agree") {
  const auto seed = test::draw_seed();
  MESSAGE("UNDERPASS_SEED=", seed);
  test::Dice dice(seed);
  int deciding = 0;
  for (int world = 0; world < 3000; ++world) {
    const auto set = test::draw_http_policies(dice);
    const Authorizer authorizer(set, "cluster.local");
    const auto peer = test::draw_peer(dice);
    const auto request = test::draw_request(dice);
    const auto verdict = authorizer.decide(authorizer.know(peer), request.subject());
    std::string by;
    bool has_allow = false;
    for (const auto& one : authorizer.explain(peer, request.subject())) {
      CHECK(one.matches == one.misses.empty());
      has_allow |= one.clause.starts_with("ALLOW shop/") || one.clause.starts_with("ALLOW istio-system/");
      if (!one.decides) continue;
      REQUIRE(by.empty());
      by = one.clause;
      ++deciding;
    }
    CAPTURE(request.to_string());
    CAPTURE(by);
    if (verdict.kind == Verdict::Kind::kAllow) {
      CHECK((by.empty() ? !has_allow : by.starts_with("ALLOW ")));
    } else if (verdict.decided_by.ends_with("no ALLOW policy matches") || !set.closed_by.empty() ||
               verdict.decided_by.contains("another provider")) {
      CHECK(by.empty());
    } else {
      CHECK((by + " ").contains(" " + verdict.decided_by + " "));
    }
  }
  CHECK(deciding >= 300);
}

}  // namespace
}  // namespace underpass::authz
