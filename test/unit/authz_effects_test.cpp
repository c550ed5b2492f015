// SPDX-License-Identifier: Apache-2.0
// What becomes of a request that policies match or do not match: which action counts first, what is only told, what
// cannot be told of a request, and what is no HTTP.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "test/unit/authz_world.h"

namespace underpass::authz {
namespace {

const PolicyRule kAnything{};
const PolicyRule kNothing = to_paths({"/nothing"});

std::string outcome(const Verdict& verdict) {
  switch (verdict.kind) {
    case Kind::kAllow:
      return "allow" + (verdict.decided_by.empty() ? "" : " by " + verdict.decided_by);
    case Kind::kAsk:
      return "ask " + verdict.provider + " by " + verdict.decided_by;
    case Kind::kDeny:
      return "deny by " + verdict.decided_by;
  }
  return "";
}

TEST_CASE("authz: CUSTOM counts before DENY, DENY before ALLOW, and an ALLOW that does not match denies") {
  const auto custom = [](const PolicyRule& rule) { return policy(Action::kCustom, {rule}, "custom"); };
  const auto deny = [](const PolicyRule& rule) { return policy(Action::kDeny, {rule}, "deny"); };
  const auto allow = [](const PolicyRule& rule) { return policy(Action::kAllow, {rule}, "allow"); };
  struct Row {
    std::vector<AuthorizationPolicy> policies;
    std::string outcome;
    std::string after_custom;
  };
  const std::vector<Row> rows{
      {{}, "allow", "allow"},
      {{allow(kAnything)}, "allow", "allow"},
      {{allow(kNothing)}, "deny by no ALLOW policy matches", "deny by no ALLOW policy matches"},
      {{policy(Action::kAllow, {}, "deny-all")}, "deny by no ALLOW policy matches", "deny by no ALLOW policy matches"},
      {{policy(Action::kDeny, {}, "none")}, "allow", "allow"},
      {{deny(kNothing)}, "allow", "allow"},
      {{deny(kAnything)}, "deny by shop/deny rule 0", "deny by shop/deny rule 0"},
      {{allow(kAnything), deny(kAnything)}, "deny by shop/deny rule 0", "deny by shop/deny rule 0"},
      {{allow(kNothing), deny(kNothing)}, "deny by no ALLOW policy matches", "deny by no ALLOW policy matches"},
      {{custom(kAnything)}, "ask ext-authz by shop/custom rule 0", "allow"},
      {{custom(kNothing)}, "allow", "allow"},
      {{custom(kAnything), deny(kAnything), allow(kAnything)},
       "ask ext-authz by shop/custom rule 0",
       "deny by shop/deny rule 0"},
      {{custom(kAnything), allow(kNothing)}, "ask ext-authz by shop/custom rule 0", "deny by no ALLOW policy matches"},
      {{policy(Action::kAudit, {kAnything}, "audit")}, "allow", "allow"},
      {{policy(Action::kAllow, {kNothing, kAnything}, "allow")}, "allow", "allow"},
      {{policy(Action::kDeny, {kNothing, kNothing, kAnything, kAnything}, "deny")},
       "deny by shop/deny rule 2",
       "deny by shop/deny rule 2"},
      {{policy(Action::kDeny, {kAnything}, "b"), policy(Action::kDeny, {kAnything}, "a")},
       "deny by shop/a rule 0",
       "deny by shop/a rule 0"},
  };
  for (const auto& row : rows) {
    const auto set = set_of(row.policies);
    CAPTURE(row.outcome);
    const Ask one;
    CHECK(outcome(decide(set, one)) == row.outcome);
    const Authorizer authorizer(set, "cluster.local");
    CHECK(outcome(authorizer.decide_after_custom(authorizer.know(one.peer), one.subject())) == row.after_custom);
  }
}

TEST_CASE("authz: CUSTOM policies with different providers that match one request deny it") {
  auto other = policy(Action::kCustom, {to_paths({"/both"})}, "other");
  other.provider = "other";
  const auto set = set_of({policy(Action::kCustom, {kAnything}, "custom"), other});
  CHECK(outcome(decide(set, ask("GET", "/"))) == "ask ext-authz by shop/custom rule 0");
  CHECK(outcome(decide(set, ask("GET", "/both"))) ==
        "deny by shop/other rule 0: another provider than shop/custom rule 0");
}

TEST_CASE("authz: audit and dry run are told and change nothing") {
  const auto verdict = decide(set_of({policy(Action::kAudit, {kAnything, kNothing, kAnything}, "audit"),
                                      dry(policy(Action::kDeny, {kAnything}, "dry-deny")),
                                      dry(policy(Action::kAllow, {kNothing}, "dry-allow"))}),
                              Ask());
  CHECK(verdict.kind == Kind::kAllow);
  CHECK(verdict.decided_by.empty());
  CHECK(verdict.audited == Texts{"shop/audit rule 0", "shop/audit rule 2"});
  CHECK(verdict.would_deny == Texts{"shop/dry-deny rule 0", "no ALLOW policy matches"});

  const auto denied =
      decide(set_of({policy(Action::kDeny, {kAnything}, "deny"), policy(Action::kAudit, {kAnything}, "audit"),
                     dry(policy(Action::kAllow, {kAnything}, "dry-allow"))}),
             Ask());
  CHECK(outcome(denied) == "deny by shop/deny rule 0");
  CHECK(denied.audited == Texts{"shop/audit rule 0"});
  CHECK(denied.would_deny.empty());

  PolicyRule twice = kAnything;
  twice.to = {PolicyOperation{}, PolicyOperation{}};
  twice.to[0].methods = twice.to[1].methods = strings({"GET"});
  CHECK(decide(set_of({policy(Action::kAudit, {twice}, "audit")}), Ask()).audited == Texts{"shop/audit rule 0"});
}

TEST_CASE("authz: of what only tells the worker counts what the kernel cannot tell") {
  const auto notices = [](std::vector<AuthorizationPolicy> policies) {
    return decide(set_of(policies), Ask()).notices;
  };
  const auto get = to_methods({"GET"});
  auto unknown = kAnything;
  unknown.when = {{.key = Key::kUnsupported, .name = "connection.sni"}};
  PolicySource source;
  source.namespaces = strings({"far"});
  CHECK(notices({policy(Action::kAudit, {kAnything}, "audit"), dry(policy(Action::kDeny, {unknown}, "deny")),
                 dry(policy(Action::kAllow, {from(source)}, "none"))})
            .empty());
  CHECK(notices({policy(Action::kAudit, {kAnything, get}), policy(Action::kAudit, {get}, "second")}) ==
        std::vector<Notice>{{.policy = {"shop", "policy"}, .audited = true}});
  CHECK(notices({dry(policy(Action::kDeny, {kAnything}, "first")), dry(policy(Action::kDeny, {get})),
                 policy(Action::kDeny, {kAnything}, "denies")}) == std::vector<Notice>{{.policy = {"shop", "policy"}}});
  CHECK(notices({dry(policy(Action::kCustom, {kAnything}))}) == std::vector<Notice>{{.policy = {"shop", "policy"}}});
  // That none allows it, where one of them asks for HTTP.
  CHECK(notices({dry(policy(Action::kAllow, {from(source)})), dry(policy(Action::kAllow, {kNothing}, "nothing"))}) ==
        std::vector<Notice>(1));
  CHECK(notices({dry(policy(Action::kAllow, {kNothing})), dry(policy(Action::kAllow, {get}, "get"))}).empty());
}

TEST_CASE("authz: what cannot be told widens what denies, and nothing else") {
  auto sni = to_paths({"/a"});
  sni.when = {{.key = Key::kUnsupported, .name = "connection.sni"}};
  auto bad_template = to_methods({"GET"});
  bad_template.to[0].paths = paths({"/a", "/{**}/b/{*}"});
  for (const auto& rule : {sni, bad_template}) {
    const auto a = ask("GET", "/a");
    CHECK(outcome(decide(set_of({policy(Action::kAllow, {rule})}), a)) == "deny by no ALLOW policy matches");
    CHECK(decide(set_of({policy(Action::kAudit, {rule})}), a).audited.empty());
    CHECK(outcome(decide(set_of({policy(Action::kDeny, {rule})}), a)) == "deny by shop/policy rule 0");
    CHECK(decide(set_of({policy(Action::kCustom, {rule})}), a).kind == Kind::kAsk);
    CHECK(decide(set_of({dry(policy(Action::kDeny, {rule}))}), a).would_deny == Texts{"shop/policy rule 0"});
  }
  CHECK(decide(set_of({policy(Action::kDeny, {sni})}), ask("GET", "/b")).kind == Kind::kAllow);
  CHECK(decide(set_of({policy(Action::kDeny, {bad_template})}), ask("GET", "/b")).kind == Kind::kDeny);
  CHECK(decide(set_of({policy(Action::kDeny, {bad_template})}), ask("POST", "/a")).kind == Kind::kAllow);
  // One operation that cannot be told takes nothing from the others.
  bad_template.to.push_back(to_paths({"/c"}).to.front());
  CHECK(decide(set_of({policy(Action::kAllow, {bad_template})}), ask("GET", "/c")).kind == Kind::kAllow);
}

TEST_CASE("authz: a policy that was never understood denies everything") {
  auto set = set_of({policy(Action::kAllow, {kAnything})});
  set.closed_by = "AuthorizationPolicy shop/broken";
  CHECK(outcome(decide(set, Ask())) == "deny by AuthorizationPolicy shop/broken");
  CHECK(outcome(decide_tcp(set, Ask())) == "deny by AuthorizationPolicy shop/broken");
  const Authorizer authorizer(set, "cluster.local");
  const Ask one;
  CHECK(authorizer.decide_after_custom(authorizer.know(one.peer), one.subject()).kind == Kind::kDeny);
}

TEST_CASE("authz: without HTTP what allows is out, and what denies does without it") {
  const auto at_port = [](std::uint16_t port, PolicyRule rule) {
    if (rule.to.empty()) rule.to.emplace_back();
    for (auto& operation : rule.to) operation.ports.values = {port};
    return rule;
  };
  const auto plain = at_port(8080, kAnything);
  const auto http = at_port(8080, to_methods({"DELETE"}));
  auto with_header = plain;
  with_header.when = when(Key::kHeader, strings({"1"}), {"x-id"}).when;
  auto with_token_source = plain;
  with_token_source.from = {PolicySource{}, PolicySource{}};
  with_token_source.from[0].request_principals = strings({"*"});
  with_token_source.from[1].namespaces = strings({"other"});
  auto mixed = http;
  mixed.to.push_back(plain.to.front());

  CHECK(outcome(decide_tcp(set_of({policy(Action::kAllow, {plain})}), Ask())) == "allow");
  for (const auto& rule : {http, with_header, with_token_source, mixed}) {
    CHECK(outcome(decide_tcp(set_of({policy(Action::kAllow, {rule})}), Ask())) == "deny by no ALLOW policy matches");
    CHECK(decide_tcp(set_of({policy(Action::kAudit, {rule})}), Ask()).audited.empty());
    CHECK(outcome(decide_tcp(set_of({policy(Action::kDeny, {rule})}), Ask())) == "deny by shop/policy rule 0");
    CHECK(outcome(decide_tcp(set_of({policy(Action::kCustom, {rule})}), Ask())) == "deny by shop/policy rule 0");
  }
  with_token_source.from[1].namespaces = strings({"shop"});
  CHECK(outcome(decide_tcp(set_of({policy(Action::kAllow, {with_token_source})}), Ask())) == "allow");
  CHECK(outcome(decide_tcp(set_of({policy(Action::kDeny, {at_port(80, to_methods({"GET"}))})}), Ask())) == "allow");
}

TEST_CASE("authz: a thousand rules are judged one by one") {
  std::vector<PolicyRule> rules;
  for (int i = 0; i < 1000; ++i) {
    const auto number = std::to_string(i);
    auto rule = to_methods({i % 2 == 0 ? "GET" : "POST"});
    rule.to[0].paths = paths({i % 3 == 0 ? "/a/" + number : i % 3 == 1 ? "/b/" + number + "/*" : "/c/{*}/" + number});
    rules.push_back(rule);
  }
  const auto set = set_of({policy(Action::kDeny, rules)});
  CHECK(outcome(decide(set, ask("GET", "/a/999"))) == "allow");
  CHECK(outcome(decide(set, ask("POST", "/a/999"))) == "deny by shop/policy rule 999");
  CHECK(outcome(decide(set, ask("GET", "/b/64/x"))) == "deny by shop/policy rule 64");
  CHECK(outcome(decide(set, ask("GET", "/b/6/x"))) == "allow");
  CHECK(outcome(decide(set, ask("POST", "/c/x/65"))) == "deny by shop/policy rule 65");
  CHECK(outcome(decide(set, ask("GET", "/c/x/998"))) == "deny by shop/policy rule 998");
}

}  // namespace
}  // namespace underpass::authz
