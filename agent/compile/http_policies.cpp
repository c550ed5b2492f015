// SPDX-License-Identifier: Apache-2.0
#include "agent/compile/http_policies.h"

#include <algorithm>
#include <tuple>
#include <vector>

#include "agent/compile/policy_scope.h"

namespace underpass::compile {
namespace {

using model::AuthorizationPolicy;
using model::PolicyCondition;
using model::PolicyRule;
using model::RequestAuthentication;
using Action = AuthorizationPolicy::Action;

bool needs_http(const PolicyRule& rule) {
  const auto asks = [](const auto& part) { return part.needs_http(); };
  return std::ranges::any_of(rule.from, asks) || std::ranges::any_of(rule.to, asks) ||
         std::ranges::any_of(rule.when, [&](const PolicyCondition& condition) {
           return condition.needs_http() && condition.key != PolicyCondition::Key::kUnsupported;
         });
}

// As they count (Istio): CUSTOM, DENY, ALLOW, and AUDIT, which changes nothing.
int rank_of(Action action) {
  switch (action) {
    case Action::kCustom:
      return 0;
    case Action::kDeny:
      return 1;
    case Action::kAllow:
      return 2;
    case Action::kAudit:
      break;
  }
  return 3;
}

std::vector<const AuthorizationPolicy*> find_policies(const PolicyInput& input, const PolicyTarget& target) {
  std::vector<const AuthorizationPolicy*> out;
  for (const auto& policy : input.policies)
    if (is_in_scope(policy->id, input, target) && selects(policy->selector, target.labels)) out.push_back(policy.get());
  std::ranges::sort(out, {}, [](const auto* policy) { return std::tuple(rank_of(policy->action), policy->id); });
  return out;
}

// The oldest first; one of which it is not known how old it is, is younger than any.
std::vector<const RequestAuthentication*> find_authentications(const PolicyInput& input, const PolicyTarget& target) {
  std::vector<const RequestAuthentication*> out;
  for (const auto& one : input.request_authentications)
    if (is_in_scope(one->id, input, target) && selects(one->selector, target.labels)) out.push_back(one.get());
  std::ranges::sort(out, {}, [](const auto* one) { return std::tuple(one->created.empty(), one->created, one->id); });
  return out;
}

bool only_tells(const AuthorizationPolicy& policy) { return policy.dry_run || policy.action == Action::kAudit; }

// Who asks for a worker, and whether to be decided by it.
void ask(WorkersPart& part, bool decides, const std::string& kind, const NamespacedName& id) {
  if (!part.why.empty() && (part.decides || !decides)) return;
  part.decides = decides;
  part.why = kind + " " + id.to_string();
}

}  // namespace

bool has_unknown_condition(const PolicyRule& rule) {
  return std::ranges::any_of(rule.when,
                             [](const auto& condition) { return condition.key == PolicyCondition::Key::kUnsupported; });
}

bool needs_http(const AuthorizationPolicy& policy) {
  if (policy.action == Action::kCustom) return !policy.rules.empty();
  return std::ranges::any_of(policy.rules, [](const PolicyRule& rule) { return needs_http(rule); });
}

HttpPolicySet compile_tunnels_part(const PolicyInput& input, const PolicyTarget& target) {
  HttpPolicySet out;
  for (const auto* policy : find_policies(input, target)) out.policies.push_back(*policy);
  for (const auto* one : find_authentications(input, target)) out.authentications.push_back(*one);
  if (const auto* unread = find_unread(input, target)) {
    const auto& id = unread->id;
    out.closed_by = unread->kind + " " + (id.ns.empty() ? id.name : id.to_string());
    out.why_closed = describe(*unread);
  }
  return out;
}

std::optional<WorkersPart> compile_workers_part(const PolicyInput& input, const PolicyTarget& target) {
  WorkersPart out;
  for (const auto* policy : find_policies(input, target))
    if (needs_http(*policy)) ask(out, !only_tells(*policy), "AuthorizationPolicy", policy->id);
  for (const auto* one : find_authentications(input, target))
    if (!one->rules.empty()) ask(out, true, "RequestAuthentication", one->id);
  if (out.why.empty()) return std::nullopt;
  out.policies = compile_tunnels_part(input, target);
  return out;
}

}  // namespace underpass::compile
