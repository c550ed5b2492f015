// SPDX-License-Identifier: Apache-2.0
// Which objects apply to a workload, and the clauses that they are.
#include "agent/compile/policies.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "agent/compile/http_policies.h"
#include "agent/compile/mtls_levels.h"
#include "agent/compile/policy_bits.h"
#include "agent/compile/policy_scope.h"

namespace underpass::compile {
namespace {

using model::AuthorizationPolicy;
using model::MtlsMode;
using model::PeerAuthentication;
using model::PolicyCondition;
using model::PolicyRule;
using model::PolicySource;

std::vector<Clause> bypass_clauses(const PolicyTarget& target) {
  std::vector<Clause> out;
  const auto add = [&](const std::vector<std::uint16_t>& ports, std::size_t rule, bool only_host) {
    if (ports.empty()) return;
    out.push_back({.origin = {.effect = Effect::kBypass, .kind = "Pod", .id = {}, .rule = rule},
                   .of_accounts = !only_host,
                   .of_unauthenticated = !only_host,
                   .identity = {},
                   .client_ip = {},
                   .server_ip = {},
                   .ports = PortSet::only({ports.begin(), ports.end()})});
  };
  add(target.probe_ports, 0, true);
  add(target.excluded_ports, 1, false);
  return out;
}

Clause strict_clause(const PeerAuthentication& origin, PortSet ports, std::size_t rule) {
  return {.origin = {.effect = Effect::kDeny, .kind = "PeerAuthentication", .id = origin.id, .rule = rule},
          .of_accounts = false,
          .identity = {},
          .client_ip = {},
          .server_ip = {},
          .ports = std::move(ports)};
}

void add_strict_clauses(const PolicyInput& input, const PolicyTarget& target, std::vector<Clause>& out) {
  const auto levels = find_mtls_levels(input, target);
  PortSet::Ports own_mode;
  PortSet::Ports strict;
  if (levels.workload != nullptr) {
    for (const auto& [port, mode] : levels.workload->port_modes) {
      if (mode == MtlsMode::kUnset) continue;
      own_mode.insert(port);
      if (mode == MtlsMode::kStrict) strict.insert(port);
    }
  }
  if (const auto* level = levels.innermost(); level != nullptr && level->mode == MtlsMode::kStrict)
    out.push_back(strict_clause(*level, PortSet::all_but(std::move(own_mode)), 0));
  if (!strict.empty()) out.push_back(strict_clause(*levels.workload, PortSet::only(std::move(strict)), 1));
}

Effect effect_of(const AuthorizationPolicy& policy) {
  switch (policy.action) {
    case AuthorizationPolicy::Action::kAllow:
      return policy.dry_run ? Effect::kDryRunAllow : Effect::kAllow;
    case AuthorizationPolicy::Action::kAudit:
      return Effect::kAudit;
    case AuthorizationPolicy::Action::kDeny:
    case AuthorizationPolicy::Action::kCustom:
      break;
  }
  return policy.dry_run ? Effect::kDryRunDeny : Effect::kDeny;
}

// In the order of their clauses.
std::vector<const AuthorizationPolicy*> find_policies(const PolicyInput& input, const PolicyTarget& target) {
  std::vector<const AuthorizationPolicy*> out;
  for (const auto& policy : input.policies) {
    if (is_in_scope(policy->id, input, target) && selects(policy->selector, target.labels)) out.push_back(policy.get());
  }
  std::ranges::sort(out, {}, [](const auto* policy) { return std::tuple(effect_of(*policy), policy->id); });
  return out;
}

void ask_identity(Attribute attribute, const model::Match<model::StringMatch>& match, Clause& out) {
  if (!match.empty()) out.identity.push_back({attribute, &match});
}

void ask_ip(const model::Match<model::IpBlock>& match, std::vector<const model::Match<model::IpBlock>*>& out) {
  if (!match.empty()) out.push_back(&match);
}

void add_source(const PolicySource& source, Clause& out) {
  ask_identity(Attribute::kPrincipal, source.principals, out);
  ask_identity(Attribute::kNamespace, source.namespaces, out);
  ask_identity(Attribute::kServiceAccount, source.service_accounts, out);
  ask_identity(Attribute::kTrustDomain, source.trust_domains, out);
  ask_ip(source.ip_blocks, out.client_ip);
  ask_ip(source.remote_ip_blocks, out.client_ip);
  out.origin.needs_http |= source.needs_http();
}

void add_condition(const PolicyCondition& condition, Clause& out) {
  switch (condition.key) {
    case PolicyCondition::Key::kSourceIp:
    case PolicyCondition::Key::kRemoteIp:
      ask_ip(condition.blocks, out.client_ip);
      return;
    case PolicyCondition::Key::kSourceNamespace:
      ask_identity(Attribute::kNamespace, condition.strings, out);
      return;
    case PolicyCondition::Key::kSourcePrincipal:
      ask_identity(Attribute::kPrincipal, condition.strings, out);
      return;
    case PolicyCondition::Key::kDestinationIp:
      ask_ip(condition.blocks, out.server_ip);
      return;
    case PolicyCondition::Key::kDestinationPort:
      out.ports = out.ports & PortSet::of(condition.ports);
      return;
    case PolicyCondition::Key::kHeader:
    case PolicyCondition::Key::kRequestPrincipal:
    case PolicyCondition::Key::kAudiences:
    case PolicyCondition::Key::kPresenter:
    case PolicyCondition::Key::kClaim:
      out.origin.needs_http = true;
      return;
    case PolicyCondition::Key::kUnsupported:
      return;
  }
}

// What a rule asks for whatever the source.
Clause clause_of(const PolicyRule& rule, ClauseOrigin origin) {
  Clause out{.origin = std::move(origin), .identity = {}, .client_ip = {}, .server_ip = {}, .ports = {}};
  if (rule.to.empty()) out.ports = PortSet::all_but({});
  for (const auto& operation : rule.to) {
    out.ports = out.ports | PortSet::of(operation.ports);
    out.origin.needs_http |= operation.needs_http();
  }
  for (const auto& condition : rule.when) add_condition(condition, out);
  return out;
}

// Of what a policy that has this effect asks, can the set have a clause?
bool is_in_set(const Clause& clause, const PolicyRule& rule, Effect effect) {
  const bool denies = effect == Effect::kDeny || effect == Effect::kDryRunDeny;
  // Nobody can tell, so no connection has it.
  if (has_unknown_condition(rule) && !denies) return false;
  return !clause.origin.needs_http || effect == Effect::kAllow;
}

void add_policy_clauses(const AuthorizationPolicy& policy, std::vector<Clause>& out) {
  const auto effect = effect_of(policy);
  const auto add = [&](const PolicyRule& rule, Clause clause) {
    if (is_in_set(clause, rule, effect)) out.push_back(std::move(clause));
  };
  for (std::size_t i = 0; i < policy.rules.size(); ++i) {
    const auto& rule = policy.rules[i];
    const auto common = clause_of(rule, {.effect = effect,
                                         .kind = "AuthorizationPolicy",
                                         .id = policy.id,
                                         .rule = i,
                                         .needs_http = policy.action == AuthorizationPolicy::Action::kCustom});
    if (rule.from.empty()) add(rule, common);
    for (std::size_t source = 0; source < rule.from.size(); ++source) {
      auto clause = common;
      clause.origin.source = static_cast<int>(source);
      add_source(rule.from[source], clause);
      add(rule, std::move(clause));
    }
  }
}

// Those that this set is made of: without the dry-run ALLOWs where the worker tells whether one of them matches.
std::vector<const AuthorizationPolicy*> find_policies_of_set(const PolicyInput& input, const PolicyTarget& target) {
  auto out = find_policies(input, target);
  const auto is_dry_run_allow = [](const auto* policy) { return effect_of(*policy) == Effect::kDryRunAllow; };
  if (std::ranges::any_of(out, [&](const auto* policy) { return is_dry_run_allow(policy) && needs_http(*policy); }))
    std::erase_if(out, is_dry_run_allow);
  return out;
}

}  // namespace

PolicySet compile_policy_set(const PolicyInput& input, const PolicyTarget& target) {
  const auto bypasses = bypass_clauses(target);
  const auto close = [&](std::string why) {
    auto set = compile_clauses(bypasses, input.mesh, input.accounts);
    set.closed = true;
    set.why_closed = std::move(why);
    return set;
  };
  if (const auto* unread = find_unread(input, target)) {
    auto set = close(describe(*unread));
    set.closed_by = *unread;
    return set;
  }

  auto clauses = bypasses;
  add_strict_clauses(input, target, clauses);
  const auto policies = find_policies_of_set(input, target);
  for (const auto* policy : policies) {
    add_policy_clauses(*policy, clauses);
    if (clauses.size() > kMaxClauses)
      return close("its policies are more than " + std::to_string(kMaxClauses) + " rules and sources");
  }
  auto set = compile_clauses(clauses, input.mesh, input.accounts);
  for (const auto* policy : policies) {
    const auto effect = effect_of(*policy);
    if (effect == Effect::kAllow) set.allow_policies.push_back(policy->id);
    if (effect == Effect::kDryRunAllow) set.dry_run_allow_policies.push_back(policy->id);
  }
  return set;
}

}  // namespace underpass::compile
