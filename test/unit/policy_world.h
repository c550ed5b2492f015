// SPDX-License-Identifier: Apache-2.0
// A pod, those who connect to it, and policies in few words.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "agent/compile/policies.h"
#include "test/support/policy_values.h"

namespace underpass::compile {

using model::AuthorizationPolicy;
using model::MtlsMode;
using model::PeerAuthentication;
using model::PolicyCondition;
using model::PolicyOperation;
using model::PolicyRule;
using model::PolicySource;
using test::blocks;
using test::ip;
using test::strings;
using Action = AuthorizationPolicy::Action;
using Key = PolicyCondition::Key;

inline Identity account(const std::string& ns, const std::string& name) {
  return {.kind = Identity::Kind::kAccount, .account = {ns, name}};
}
inline const Identity kNobody{.kind = Identity::Kind::kUnauthenticated, .account = {}};
inline const Identity kHost{.kind = Identity::Kind::kHost, .account = {}};

// Pod shop/web-1 (app=web), 10.0.0.7 and fd00::7, and those who try its port 8080. "six" comes over IPv6, "new" has an
// account that was not known when the set was compiled.
struct World {
  PolicyInput input;
  PolicyTarget target{.pod = {"shop", "web-1"},
                      .labels = {{"app", "web"}, {"tier", "1"}},
                      .ips = {ip("10.0.0.7"), ip("fd00::7")},
                      .probe_ports = {},
                      .excluded_ports = {}};
  std::map<std::string, Attempt> clients;

  World() {
    input.accounts = {{"shop", "front"}, {"shop", "web"}, {"other", "batch"}};
    const auto v4 = ip("10.0.0.7");
    clients["front"] = {account("shop", "front"), ip("10.0.0.8"), v4, 8080};
    clients["batch"] = {account("other", "batch"), ip("10.1.0.9"), v4, 8080};
    clients["six"] = {account("shop", "web"), ip("fd00::9"), ip("fd00::7"), 8080};
    clients["host"] = {kHost, ip("10.0.0.1"), v4, 8080};
    clients["nobody"] = {kNobody, ip("192.0.2.1"), v4, 8080};
  }

  AuthorizationPolicy& add(Action action, std::vector<PolicyRule> rules, NamespacedName id = {"shop", "policy"}) {
    auto policy = std::make_shared<AuthorizationPolicy>();
    policy->id = std::move(id);
    policy->action = action;
    policy->rules = std::move(rules);
    input.policies.push_back(policy);
    return *policy;
  }

  PeerAuthentication& add(MtlsMode mode, NamespacedName id, std::map<std::string, std::string> selector = {}) {
    auto one = std::make_shared<PeerAuthentication>();
    one->id = std::move(id);
    one->mode = mode;
    one->selector = std::move(selector);
    input.peer_authentications.push_back(one);
    return *one;
  }

  PolicySet set() const {
    const auto out = compile_policy_set(input, target);
    auto others = input;  // in any order
    std::ranges::reverse(others.policies);
    std::ranges::reverse(others.peer_authentications);
    std::ranges::reverse(others.accounts);
    CHECK(compile_policy_set(others, target) == out);
    return out;
  }

  Verdict verdict(const Attempt& attempt) const {
    const auto out = decide(set(), attempt);
    CHECK(out == evaluate_plainly(input, target, attempt));
    return out;
  }
  Verdict verdict(const std::string& client) const { return verdict(clients.at(client)); }

  // The clients of which it is true, "batch front host".
  std::string who(const std::function<bool(const Verdict&)>& is) const {
    std::string out;
    for (const auto& [name, attempt] : clients)
      if (is(verdict(attempt))) out += (out.empty() ? "" : " ") + name;
    return out.empty() ? "none" : out;
  }
  std::string allowed() const {
    return who([](const Verdict& verdict) { return verdict.allowed; });
  }

  // The ports, of those that the tests use, to which `client` may connect.
  std::string open_ports(const std::string& client) const {
    std::string out;
    for (const int port : {80, 8080, 8081, 9090}) {
      auto attempt = clients.at(client);
      attempt.server_port = static_cast<std::uint16_t>(port);
      if (verdict(attempt).allowed) out += (out.empty() ? "" : " ") + std::to_string(port);
    }
    return out.empty() ? "none" : out;
  }
};

inline const std::string kAll = "batch front host nobody six";

// Whoever matches the rule: the same, whatever the policy does with them.
inline std::string matched_by(const PolicyRule& rule) {
  const auto with = [&](Action action, bool dry_run) {
    World world;
    world.add(action, {rule}).dry_run = dry_run;
    return world;
  };
  auto out = with(Action::kAllow, false).allowed();
  CHECK(with(Action::kDeny, false).who([](const auto& verdict) { return !verdict.allowed; }) == out);
  CHECK(with(Action::kDeny, true).who([](const auto& verdict) { return !verdict.would_deny.empty(); }) == out);
  CHECK(with(Action::kAllow, true).who([](const auto& verdict) { return !verdict.would_default_deny; }) == out);
  CHECK(with(Action::kAudit, false).who([](const auto& verdict) { return !verdict.audited.empty(); }) == out);
  return out;
}

inline PolicyRule from(PolicySource source) { return {.from = {std::move(source)}, .to = {}, .when = {}}; }
inline PolicyRule to(PolicyOperation operation) { return {.from = {}, .to = {std::move(operation)}, .when = {}}; }
inline PolicyRule when(PolicyCondition condition) { return {.from = {}, .to = {}, .when = {std::move(condition)}}; }

inline PolicyCondition when_strings(Key key, model::Match<model::StringMatch> match) {
  PolicyCondition out{.key = key};
  out.strings = std::move(match);
  return out;
}
inline PolicyCondition when_blocks(Key key, model::Match<model::IpBlock> match) {
  PolicyCondition out{.key = key};
  out.blocks = std::move(match);
  return out;
}
inline PolicyCondition when_ports(model::Match<std::uint16_t> match) {
  PolicyCondition out{.key = Key::kDestinationPort};
  out.ports = std::move(match);
  return out;
}
inline PolicyCondition when_http() { return {.key = Key::kHeader, .name = "request.headers[x-id]"}; }

inline PolicySource source(const std::string& field, model::Match<model::StringMatch> match) {
  PolicySource out;
  (field == "principals"        ? out.principals
   : field == "namespaces"      ? out.namespaces
   : field == "serviceAccounts" ? out.service_accounts
                                : out.trust_domains) = std::move(match);
  return out;
}
inline PolicySource source(model::Match<model::IpBlock> match) {
  PolicySource out;
  out.ip_blocks = std::move(match);
  return out;
}
inline PolicySource http_source() {
  PolicySource out;
  out.request_principals = {.values = {{model::StringMatch::Kind::kPresent, ""}}, .not_values = {}};
  return out;
}
inline PolicyOperation ports(std::vector<std::uint16_t> values, std::vector<std::uint16_t> not_values = {}) {
  PolicyOperation out;
  out.ports = {.values = std::move(values), .not_values = std::move(not_values)};
  return out;
}
inline PolicyOperation http_operation(std::vector<std::uint16_t> values = {}) {
  auto out = ports(std::move(values));
  out.methods = {.values = {{model::StringMatch::Kind::kExact, "GET"}}, .not_values = {}};
  return out;
}
inline const PolicyRule kAnything{};

}  // namespace underpass::compile
