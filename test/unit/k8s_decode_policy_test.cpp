// SPDX-License-Identifier: Apache-2.0
// Every field of an AuthorizationPolicy, and every way in which one can be wrong: a wrong one is refused whole, with
// the path of what is wrong, and never matches more than was meant.
#include <doctest/doctest.h>

#include <chrono>
#include <string>
#include <vector>

#include "agent/k8s/decode.h"
#include "agent/k8s/folder.h"
#include "agent/k8s/yaml.h"
#include "test/unit/k8s_policy_text.h"

namespace underpass::k8s {
namespace {
TEST_CASE("policy: everything there is") {
  const auto policy = decode(R"(
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: web
  namespace: shop
  creationTimestamp: 2026-01-02T03:04:05Z
  generation: 5
  annotations: {istio.io/dry-run: "true", example.com/anything: 5}
spec:
  selector: {matchLabels: {app: web, tier: ""}}
  action: DENY
  rules:
  - from:
    - source:
        principals: [cluster.local/ns/shop/sa/web, cluster.local/*, "*/sa/web", "*"]
        notPrincipals: [cluster.local/ns/shop/sa/bad]
        requestPrincipals: ["*"]
        namespaces: [shop, team-*, "*-prod"]
        notNamespaces: [kube-system]
        trustDomains: [cluster.local, "old-*"]
        notTrustDomains: [other.local]
        ipBlocks: [10.0.0.0/8, 192.0.2.7, "fd00::/8", "::/0"]
        notIpBlocks: [10.1.0.0/16]
        remoteIpBlocks: ["fd00::7", 0.0.0.0/0]
        notRemoteIpBlocks: [10.2.0.0/31]
        notRequestPrincipals: [a]
    - source:
        serviceAccounts: [web, other/api]
        notServiceAccounts: [web.v2]
    to:
    - operation:
        ports: ["80", "65535"]
        notPorts: ["81"]
        hosts: [a.example.com]
        notHosts: [b.example.com]
        methods: [GET]
        notMethods: [POST]
        paths: ["/a/*", "/b/{*}/c"]
        notPaths: [/c]
    when:
    - {key: source.ip, values: [10.0.0.0/8], notValues: [10.0.0.1]}
    - {key: "request.headers[x-id]", values: [a*]}
status: {conditions: []}
)");
  REQUIRE_MESSAGE(policy.has_value(), policy.error().path << ": " << policy.error().cause);
  const PolicySource first{
      .principals = {{exactly("cluster.local/ns/shop/sa/web"),
                      {Kind::kPrefix, "cluster.local/"},
                      {Kind::kSuffix, "/sa/web"},
                      {Kind::kPresent, ""}},
                     {exactly("cluster.local/ns/shop/sa/bad")}},
      .namespaces = {{exactly("shop"), {Kind::kPrefix, "team-"}, {Kind::kSuffix, "-prod"}}, {exactly("kube-system")}},
      .service_accounts = {},
      .trust_domains = {{exactly("cluster.local"), {Kind::kPrefix, "old-"}}, {exactly("other.local")}},
      .ip_blocks = {{block("10.0.0.0", 104), block("192.0.2.7", 128), block("fd00::", 8), block("::", 0)},
                    {block("10.1.0.0", 112)}},
      .remote_ip_blocks = {{block("fd00::7", 128), block("0.0.0.0", 96)}, {block("10.2.0.0", 127)}},
      .request_principals = {{{Kind::kPresent, ""}}, {exactly("a")}},
  };
  PolicySource second;
  second.service_accounts = {{exactly("shop/web"), exactly("other/api")}, {exactly("shop/web.v2")}};
  const PolicyOperation only{.ports = {{80, 65535}, {81}},
                             .hosts = {{exactly("a.example.com")}, {exactly("b.example.com")}},
                             .methods = {{exactly("GET")}, {exactly("POST")}},
                             .paths = {{{Kind::kPrefix, "/a/"}, {Kind::kTemplate, "/b/{*}/c"}}, {exactly("/c")}}};
  PolicyCondition by_ip{.key = Key::kSourceIp, .name = "source.ip", .strings = {}, .blocks = {}, .ports = {}};
  by_ip.blocks = {{block("10.0.0.0", 104)}, {block("10.0.0.1", 128)}};
  PolicyCondition by_header{.key = Key::kHeader, .name = "request.headers[x-id]", .members = {"x-id"}};
  by_header.strings = {{{Kind::kPrefix, "a"}}, {}};
  CHECK(*policy == model::AuthorizationPolicy{
                       .id = {"shop", "web"},
                       .created = "2026-01-02T03:04:05Z",
                       .action = Action::kDeny,
                       .selector = {{"app", "web"}, {"tier", ""}},
                       .rules = {{.from = {first, second}, .to = {only}, .when = {by_ip, by_header}}},
                       .dry_run = true,
                   });
}

TEST_CASE("policy: what is absent, null or empty") {
  const model::AuthorizationPolicy plain{.id = {"shop", "web"}, .created = "", .selector = {}, .rules = {}};
  CHECK(good("") == plain);
  CHECK(good("selector: {}, rules: [], action: ALLOW, targetRefs: []", ", annotations: {istio.io/dry-run: 'false'}") ==
        plain);
  CHECK(good("selector: null, rules: null, action: null, provider: null, targetRef: null", ", annotations: null") ==
        plain);
  CHECK(good("selector: {matchLabels: null}") == plain);
  CHECK(decode("{metadata: {name: web, namespace: shop}}").value() == plain);
  CHECK(decode("{metadata: {name: web, namespace: shop}, spec: null}").value() == plain);
}

TEST_CASE("policy: no rule matches nothing, an empty rule everything") {
  CHECK(good("rules: []").rules.empty());
  CHECK(good("rules: [{}]").rules == std::vector{model::PolicyRule{}});
  CHECK(good("rules: [{from: null, to: null, when: null}]").rules == std::vector{model::PolicyRule{}});
  CHECK(good("rules: [{when: []}]").rules == std::vector{model::PolicyRule{}});
  CHECK(good("action: DENY, rules: [{}]").rules.size() == 1);
  // What looks like nothing must not mean everything.
  for (const char* rule : {"from: []", "to: []", "from: [{}]", "to: [{}]", "from: [{source: {}}]",
                           "to: [{operation: {}}]", "from: [null]", "when: [{}]", "when: [null]"}) {
    CAPTURE(rule);
    CHECK(bad(std::string("rules: [{") + rule + "}]").starts_with("spec.rules[0]."));
  }
}

TEST_CASE("policy: actions") {
  CHECK(good("action: ALLOW").action == Action::kAllow);
  CHECK(good("action: AUDIT").action == Action::kAudit);
  CHECK(good("action: DENY, rules: [{}]").action == Action::kDeny);
  CHECK(good("action: CUSTOM, provider: {name: ext}, rules: [{}]").action == Action::kCustom);
}

TEST_CASE("policy: a field that is not known refuses the whole") {
  CHECK(bad("rule: []") == "spec.rule: unknown field");
  CHECK(bad("Rules: [{}]") == "spec.Rules: unknown field");
  CHECK(bad("selector: {matchLabel: {}}") == "spec.selector.matchLabel: unknown field");
  CHECK(bad("rules: [{form: []}]") == "spec.rules[0].form: unknown field");
  CHECK(bad("rules: [{from: [{sources: {}}]}]") == "spec.rules[0].from[0].sources: unknown field");
  CHECK(bad("rules: [{to: [{operation: {ports: ['80']}, hosts: [a]}]}]") == "spec.rules[0].to[0].hosts: unknown field");
  CHECK(bad("action: CUSTOM, provider: {name: a, url: b}, rules: [{}]") == "spec.provider.url: unknown field");
  for (const char* field : {"ipblocks", "ip_blocks", "notipBlocks", "principal", "services", "ports"}) {
    CHECK(bad_source("namespaces: [a], " + std::string(field) + ": [b]") ==
          "spec.rules[0].from[0].source." + std::string(field) + ": unknown field");
  }
  for (const char* field : {"port", "not_ports", "Paths", "headers", "ipBlocks"}) {
    CHECK(bad_operation("methods: [a], " + std::string(field) + ": [b]") ==
          "spec.rules[0].to[0].operation." + std::string(field) + ": unknown field");
  }
  CHECK(bad_source("\"a\\nb\": []") == "spec.rules[0].from[0].source[\"a\\nb\"]: unknown field");
  const auto long_key = bad_source(std::string(1000, 'k') + ": []");
  CHECK(long_key.size() < 200);
  // Beside spec too, where wrong indentation puts them.
  const auto beside = decode("{metadata: {name: web}, spec: {action: ALLOW}, rules: [{}]}");
  REQUIRE_FALSE(beside.has_value());
  CHECK(beside.error().path + ": " + beside.error().cause == "rules: unknown field");
}

TEST_CASE("policy: what is wrong is said by path and cause") {
  struct Row {
    const char* spec;
    const char* message;
  };
  const Row rows[] = {
      {"action: allow", "spec.action: \"allow\": must be one of ALLOW, DENY, AUDIT, CUSTOM"},
      {"action: ''", "spec.action: \"\": must be one of ALLOW, DENY, AUDIT, CUSTOM"},
      {"action: 1", "spec.action: 1: must be a string (put it in quotes)"},
      {"action: DENY", "spec.rules: missing: without one the policy never matches; [{}] matches everything"},
      {"action: DENY, rules: []", "spec.rules: missing: without one the policy never matches; [{}] matches everything"},
      {"action: CUSTOM, provider: {name: a}",
       "spec.rules: missing: without one the policy never matches; [{}] matches everything"},
      {"action: CUSTOM, rules: [{}]", "spec.provider: missing"},
      {"action: CUSTOM, provider: {}, rules: [{}]", "spec.provider.name: missing"},
      {"action: CUSTOM, provider: {name: ''}, rules: [{}]", "spec.provider.name: \"\": must not be empty"},
      {"action: DENY, provider: {name: a}, rules: [{}]", "spec.provider: only with action CUSTOM"},
      {"targetRefs: [{kind: Gateway, name: a}]", "spec.targetRefs: not supported: it needs a waypoint; use selector"},
      {"targetRef: {kind: Gateway, name: a}", "spec.targetRef: not supported: it needs a waypoint; use selector"},
      {"targetRefs: {}", "spec.targetRefs: a mapping: must be a list"},
      {"selector: {matchExpressions: []}", "spec.selector.matchExpressions: not supported: use matchLabels"},
      {"selector: {matchLabels: {a: b}, matchExpressions: [{key: a, operator: Exists}]}",
       "spec.selector.matchExpressions: not supported: use matchLabels"},
      {"selector: []", "spec.selector: a list: must be a mapping"},
      {"selector: {matchLabels: [a]}", "spec.selector.matchLabels: a list: must be a mapping"},
      {"selector: {matchLabels: {a: 1}}", "spec.selector.matchLabels.a: 1: must be a string (put it in quotes)"},
      {"selector: {matchLabels: {a: null}}", "spec.selector.matchLabels.a: missing"},
      {"selector: {matchLabels: {'': b}}", "spec.selector.matchLabels[\"\"]: a label without a name"},
      {"selector: {matchLabels: {a: b*}}", "spec.selector.matchLabels.a: \"b*\": wildcards (*) are not supported here"},
      {"selector: {matchLabels: {'*': b}}",
       "spec.selector.matchLabels[*]: \"b\": wildcards (*) are not supported here"},
      {"rules: {}", "spec.rules: a mapping: must be a list"},
      {"rules: [null]", "spec.rules[0]: missing"},
      {"rules: [{}, []]", "spec.rules[1]: a list: must be a mapping"},
      {"rules: [{from: {}}]", "spec.rules[0].from: a mapping: must be a list"},
      {"rules: [{from: []}]", "spec.rules[0].from: must not be empty"},
      {"rules: [{from: [null]}]", "spec.rules[0].from[0]: missing"},
      {"rules: [{from: [{}]}]", "spec.rules[0].from[0].source: missing"},
      {"rules: [{from: [{source: null}]}]", "spec.rules[0].from[0].source: missing"},
      {"rules: [{from: [{source: {}}]}]", "spec.rules[0].from[0].source: must not be empty"},
      {"rules: [{from: [{source: []}]}]", "spec.rules[0].from[0].source: a list: must be a mapping"},
      {"rules: [{from: [{source: {namespaces: [a]}}, {source: {namespaces: []}}]}]",
       "spec.rules[0].from[1].source: must not be empty"},
      {"rules: [{from: [{source: {principals: a}}]}]",
       "spec.rules[0].from[0].source.principals: \"a\": must be a list"},
      {"rules: [{from: [{source: {principals: [spiffe://cluster.local/ns/a/sa/b]}}]}]",
       "spec.rules[0].from[0].source.principals[0]: \"spiffe://cluster.local/ns/a/sa/b\": must be written without "
       "spiffe://"},
      {"rules: [{from: [{source: {notPrincipals: ['spiffe://*']}}]}]",
       "spec.rules[0].from[0].source.notPrincipals[0]: \"spiffe://*\": must be written without spiffe://"},
      {"rules: [{from: [{source: {requestPrincipals: ['']}}]}]",
       "spec.rules[0].from[0].source.requestPrincipals[0]: \"\": must not be empty"},
      {"rules: [{to: []}]", "spec.rules[0].to: must not be empty"},
      {"rules: [{to: [{}]}]", "spec.rules[0].to[0].operation: missing"},
      {"rules: [{to: [{operation: {}}]}]", "spec.rules[0].to[0].operation: must not be empty"},
      {"rules: [{to: [{operation: {ports: []}}]}]", "spec.rules[0].to[0].operation: must not be empty"},
      {"rules: [{to: [{operation: 80}]}]", "spec.rules[0].to[0].operation: 80: must be a mapping"},
      {"rules: [{when: {}}]", "spec.rules[0].when: a mapping: must be a list"},
      {"rules: [{when: [{values: [a]}]}]", "spec.rules[0].when[0].key: missing"},
      {"rules: [{when: [{key: '', values: [a]}]}]", "spec.rules[0].when[0].key: \"\": must not be empty"},
      {"rules: [{when: [{key: [a], values: [a]}]}]", "spec.rules[0].when[0].key: a list: must be a string"},
  };
  for (const auto& row : rows) {
    CAPTURE(row.spec);
    CHECK(bad(row.spec) == row.message);
  }
  for (const char* list : {"principals", "notPrincipals", "requestPrincipals", "notRequestPrincipals", "namespaces",
                           "notNamespaces", "serviceAccounts", "notServiceAccounts", "trustDomains", "notTrustDomains",
                           "ipBlocks", "notIpBlocks", "remoteIpBlocks", "notRemoteIpBlocks"}) {
    const auto path = "spec.rules[0].from[0].source." + std::string(list) + "[0]: ";
    CHECK(bad_source(std::string(list) + ": ['']") == path + "\"\": must not be empty");
    CHECK(bad_source(std::string(list) + ": [null]") == path + "missing");
    CHECK(bad_source(std::string(list) + ": [true]") == path + "true: must be a string (put it in quotes)");
    CHECK(bad_source(std::string(list) + ": []") == "spec.rules[0].from[0].source: must not be empty");
  }
  for (const char* list : {"ports", "notPorts", "hosts", "notHosts", "methods", "notMethods", "paths", "notPaths"}) {
    const auto path = "spec.rules[0].to[0].operation." + std::string(list) + "[0]: ";
    CHECK(bad_operation(std::string(list) + ": ['']") == path + "\"\": must not be empty");
    CHECK(bad_operation(std::string(list) + ": [null]") == path + "missing");
    CHECK(bad_operation(std::string(list) + ": [{}]") == path + "a mapping: must be a string");
  }
  CHECK(bad("", ", annotations: {istio.io/dry-run: 'yes'}") ==
        "metadata.annotations[istio.io/dry-run]: \"yes\": must be one of true, false");
  CHECK(bad("", ", annotations: {istio.io/dry-run: true}") ==
        "metadata.annotations[istio.io/dry-run]: true: must be a string (put it in quotes)");
  CHECK(bad("", ", creationTimestamp: yesterday").starts_with("metadata.creationTimestamp: \"yesterday\": not a time"));
  const auto spec = decode("{metadata: {name: web}, spec: [a]}");
  REQUIRE_FALSE(spec.has_value());
  CHECK(spec.error().path + ": " + spec.error().cause == "spec: a list: must be a mapping");
}

TEST_CASE("policy: a key that is there twice refuses the text") {
  const auto file =
      decode_file("a.yaml", policy_with("rules: [{from: [{source: {namespaces: [a], namespaces: [b]}}]}]"), {});
  CHECK(file.items.empty());
  REQUIRE(file.unreadable.size() == 1);
  CHECK(file.unreadable[0].cause == "duplicate key \"namespaces\"");
  const auto json = decode_file("a.json", R"({"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
      "metadata": {"name": "web"}, "spec": {"rules": [], "rules": [{}]}})",
                                {});
  CHECK(json.items.empty());
  CHECK(json.unreadable.size() == 1);
}

TEST_CASE("policy: a thousand rules and ten thousand blocks, at once") {
  std::string rules;
  for (int i = 0; i < 1000; ++i) {
    rules += R"({"from": [{"source": {"principals": ["cluster.local/ns/n)" + std::to_string(i) +
             R"(/sa/web"]}}], "to": [{"operation": {"ports": ["80"]}}]},)";
  }
  std::string blocks;
  for (int i = 0; i < 10'000; ++i) {
    blocks += "\"10." + std::to_string(i / 256) + "." + std::to_string(i % 256) + ".0/24\",";
  }
  rules += R"({"from": [{"source": {"ipBlocks": [)" + blocks + "\"10.255.0.0/16\"]}}]}";
  const auto start = std::chrono::steady_clock::now();
  const auto policy = good("rules: [" + rules + "]");
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(5));  // with sanitizers too
  CHECK(policy.rules.size() == 1001);
  CHECK(policy.rules.back().from.at(0).ip_blocks.values.size() == 10'001);
  CHECK(bad("rules: [" + rules + R"(, {"from": [{"source": {"ipBlocks": [)" + blocks + "\"10.255.0.0/15\"]}}]}]") ==
        "spec.rules[1001].from[0].source.ipBlocks[10000]: \"10.255.0.0/15\": has bits behind its prefix: the block is "
        "10.254.0.0/15");
}

}  // namespace
}  // namespace underpass::k8s
