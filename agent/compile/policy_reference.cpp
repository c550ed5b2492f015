// SPDX-License-Identifier: Apache-2.0
// One connection judged by the objects themselves, in the words of Istio's reference: what the compiler is tested
// against. Nothing here is shared with it, on purpose, down to how a string or a network is matched; keep it so.
#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "agent/compile/policies.h"

namespace underpass::compile {
namespace {

using model::AuthorizationPolicy;
using model::IpBlock;
using model::Match;
using model::MtlsMode;
using model::PeerAuthentication;
using model::PolicyCondition;
using model::PolicyRule;
using model::PolicySource;
using model::StringMatch;
using Action = AuthorizationPolicy::Action;
using Key = PolicyCondition::Key;
using Text = std::optional<std::string>;  // absent: the client has no such thing

bool equals(const StringMatch& wanted, const Text& actual) {
  if (!actual.has_value()) return false;
  const auto& part = wanted.text;
  if (wanted.kind == StringMatch::Kind::kPresent) return true;
  if (wanted.kind == StringMatch::Kind::kExact) return *actual == part;
  if (actual->size() < part.size()) return false;
  const bool at_front = wanted.kind == StringMatch::Kind::kPrefix;
  return actual->compare(at_front ? 0 : actual->size() - part.size(), part.size(), part) == 0;
}

bool equals(std::uint16_t wanted, std::uint16_t actual) { return wanted == actual; }

bool equals(const IpBlock& wanted, const IpAddress& actual) {
  const bool wants_v4 = wanted.base.is_v4() && wanted.prefix >= 96;
  if (wants_v4 != actual.is_v4()) return false;
  const auto a = wanted.base.to_abi();
  const auto b = actual.to_abi();
  for (std::size_t bit = 0; bit < wanted.prefix; ++bit) {
    const auto mask = 0x80U >> (bit % 8);
    if ((a.bytes[bit / 8] & mask) != (b.bytes[bit / 8] & mask)) return false;
  }
  return true;
}

// "A list of values. If not set, any value is allowed", and "a list of negative match of values".
template <typename T, typename Actual>
bool fits(const Match<T>& match, const Actual& actual) {
  for (const auto& unwanted : match.not_values)
    if (equals(unwanted, actual)) return false;
  if (match.values.empty()) return true;
  for (const auto& wanted : match.values)
    if (equals(wanted, actual)) return true;
  return false;
}

class Reading {
 public:
  Reading(const PolicyInput& input, const PolicyTarget& target, const Attempt& attempt)
      : input_(input), target_(target), attempt_(attempt) {
    if (attempt.client.kind != Identity::Kind::kAccount) return;
    const auto& account = attempt.client.account;
    namespace_ = account.ns;
    service_account_ = account.ns + "/" + account.name;
    trust_domain_ = input.mesh.trust_domain;
    principal_ = input.mesh.trust_domain + "/ns/" + account.ns + "/sa/" + account.name;
  }

  Verdict verdict() {
    read_pod();
    if (const auto bypass = first(Effect::kBypass); bypass >= 0) return {.allowed = true, .decided_by = bypass};
    if (is_scope_unread()) return {.allowed = false};
    read_peer_authentications();
    bool has_allow = false;
    bool has_dry_run_allow = false;
    for (const auto effect :
         {Effect::kDeny, Effect::kAllow, Effect::kDryRunDeny, Effect::kDryRunAllow, Effect::kAudit}) {
      for (const auto* policy : policies_with(effect)) {
        read_policy(*policy, effect);
        has_allow |= effect == Effect::kAllow;
        has_dry_run_allow |= effect == Effect::kDryRunAllow;
      }
    }
    if (next_ > kMaxClauses) return {.allowed = false};

    Verdict out{.would_deny = matched_[Effect::kDryRunDeny],
                .would_default_deny = has_dry_run_allow && matched_[Effect::kDryRunAllow].empty(),
                .audited = matched_[Effect::kAudit]};
    // "If there are any DENY policies that match the request, deny the request."
    if (!matched_[Effect::kDeny].empty()) {
      out.allowed = false;
      out.decided_by = first(Effect::kDeny);
      return out;
    }
    // "If there are no ALLOW policies for the workload, allow the request."
    if (!has_allow) return out;
    // "If any of the ALLOW policies match the request, allow the request." "Deny the request."
    out.decided_by = first(Effect::kAllow);
    out.allowed = out.decided_by >= 0;
    out.default_deny = !out.allowed;
    return out;
  }

 private:
  // The next clause, and whether the connection is one that it means.
  void clause(Effect effect, bool matches) {
    if (matches) matched_[effect].push_back(next_);
    ++next_;
  }

  int first(Effect effect) { return matched_[effect].empty() ? -1 : static_cast<int>(matched_[effect].front()); }

  bool is_about_us(const NamespacedName& id, const std::map<std::string, std::string>& match_labels) const {
    if (id.ns != target_.pod.ns && id.ns != input_.mesh.root_namespace) return false;
    for (const auto& [key, value] : match_labels)
      if (!target_.labels.contains(key) || target_.labels.at(key) != value) return false;
    return true;
  }

  bool is_scope_unread() const {
    for (const auto& one : input_.unread)
      if (one.kind == "Mesh" || ((one.kind == "AuthorizationPolicy" || one.kind == "PeerAuthentication" ||
                                  one.kind == "RequestAuthentication") &&
                                 is_about_us(one.id, {})))
        return true;
    return false;
  }

  void read_pod() {
    const auto has_port = [&](const auto& ports) { return std::ranges::count(ports, attempt_.server_port) > 0; };
    if (!target_.probe_ports.empty()) {
      clause(Effect::kBypass, has_port(target_.probe_ports) && attempt_.client.kind == Identity::Kind::kHost);
    }
    if (!target_.excluded_ports.empty()) clause(Effect::kBypass, has_port(target_.excluded_ports));
  }

  // "The oldest one takes effect".
  template <typename Predicate>
  const PeerAuthentication* oldest(Predicate is_of_level) const {
    const PeerAuthentication* out = nullptr;
    for (const auto& one : input_.peer_authentications) {
      if (!is_about_us(one->id, one->selector) || !is_of_level(*one)) continue;
      if (out == nullptr) {
        out = one.get();
        continue;
      }
      const auto age = [](const PeerAuthentication& of) { return of.created.empty() ? "unknown" : of.created; };
      if (age(*one) < age(*out) || (age(*one) == age(*out) && one->id < out->id)) out = one.get();
    }
    return out;
  }

  void read_peer_authentications() {
    const auto of_mesh = [&](const auto& one) { return one.id.ns == input_.mesh.root_namespace; };
    const auto* mesh = oldest([&](const auto& one) { return of_mesh(one) && one.selector.empty(); });
    const auto* ns = oldest([&](const auto& one) { return !of_mesh(one) && one.selector.empty(); });
    const auto* workload = oldest([&](const auto& one) { return !of_mesh(one) && !one.selector.empty(); });

    auto mode = MtlsMode::kPermissive;  // "UNSET: inherit from parent, if has one. Otherwise treated as PERMISSIVE."
    if (mesh != nullptr && mesh->mode != MtlsMode::kUnset) mode = mesh->mode;
    if (ns != nullptr && ns->mode != MtlsMode::kUnset) mode = ns->mode;
    if (workload != nullptr && workload->mode != MtlsMode::kUnset) mode = workload->mode;

    auto port_mode = MtlsMode::kUnset;
    bool has_strict_port = false;
    if (workload != nullptr) {
      const auto found = workload->port_modes.find(attempt_.server_port);
      if (found != workload->port_modes.end()) port_mode = found->second;
      for (const auto& [port, one] : workload->port_modes) has_strict_port |= one == MtlsMode::kStrict;
    }
    const bool is_plaintext = attempt_.client.kind != Identity::Kind::kAccount;
    if (mode == MtlsMode::kStrict) clause(Effect::kDeny, is_plaintext && port_mode == MtlsMode::kUnset);
    if (has_strict_port) clause(Effect::kDeny, is_plaintext && port_mode == MtlsMode::kStrict);
  }

  static Effect effect_of(const AuthorizationPolicy& policy) {
    if (policy.action == Action::kAudit) return Effect::kAudit;
    if (policy.action == Action::kAllow) return policy.dry_run ? Effect::kDryRunAllow : Effect::kAllow;
    return policy.dry_run ? Effect::kDryRunDeny : Effect::kDeny;  // CUSTOM: closed until its provider is asked
  }

  std::vector<const AuthorizationPolicy*> policies_with(Effect effect) const {
    std::map<NamespacedName, const AuthorizationPolicy*> by_name;
    bool workers_alone = false;
    for (const auto& one : input_.policies) {
      if (!is_about_us(one->id, one->selector) || effect_of(*one) != effect) continue;
      by_name[one->id] = one.get();
      // Whether none of them matches is the worker's to tell, if one of them needs it.
      for (const auto& rule : one->rules) workers_alone |= effect == Effect::kDryRunAllow && is_for_worker(*one, rule);
    }
    std::vector<const AuthorizationPolicy*> out;
    if (workers_alone) return out;
    for (const auto& [id, policy] : by_name) out.push_back(policy);
    return out;
  }

  // Does somebody have to look at requests to tell whether this rule matches?
  static bool is_for_worker(const AuthorizationPolicy& policy, const PolicyRule& rule) {
    bool out = policy.action == Action::kCustom || asks_http(rule);
    for (const auto& source : rule.from) out |= source.needs_http();
    return out;
  }

  static bool asks_http(const PolicyRule& rule) {
    bool out = false;
    for (const auto& operation : rule.to) out |= operation.needs_http();
    for (const auto& condition : rule.when) out |= condition.needs_http() && condition.key != Key::kUnsupported;
    return out;
  }

  // The clauses of a policy are those that its effect can be told of without HTTP; an ALLOW, whose worker decides, is
  // told of as if it had none.
  void read_policy(const AuthorizationPolicy& policy, Effect effect) {
    const bool is_deny = policy.action == Action::kDeny || policy.action == Action::kCustom;
    const bool ignores_http = effect == Effect::kAllow;
    for (const auto& rule : policy.rules) {
      bool has_unknown_key = false;
      for (const auto& condition : rule.when) has_unknown_key |= condition.key == Key::kUnsupported;
      if (has_unknown_key && !is_deny) continue;
      if ((asks_http(rule) || policy.action == Action::kCustom) && !ignores_http) continue;
      if (rule.from.empty()) clause(effect, fits_to(rule) && fits_when(rule));
      for (const auto& source : rule.from) {
        if (source.needs_http() && !ignores_http) continue;
        clause(effect, fits_source(source) && fits_to(rule) && fits_when(rule));
      }
    }
  }

  bool fits_source(const PolicySource& source) const {
    if (!fits(source.principals, principal_)) return false;
    if (!fits(source.namespaces, namespace_)) return false;
    if (!fits(source.service_accounts, service_account_)) return false;
    if (!fits(source.trust_domains, trust_domain_)) return false;
    return fits(source.ip_blocks, attempt_.client_ip) && fits(source.remote_ip_blocks, attempt_.client_ip);
  }

  bool fits_to(const PolicyRule& rule) const {
    if (rule.to.empty()) return true;
    for (const auto& operation : rule.to)
      if (fits(operation.ports, attempt_.server_port)) return true;
    return false;
  }

  bool fits_when(const PolicyRule& rule) const {
    for (const auto& condition : rule.when)
      if (!fits_condition(condition)) return false;
    return true;
  }

  bool fits_condition(const PolicyCondition& condition) const {
    const auto key = condition.key;
    if (key == Key::kSourceIp || key == Key::kRemoteIp) return fits(condition.blocks, attempt_.client_ip);
    if (key == Key::kDestinationIp) return fits(condition.blocks, attempt_.server_ip);
    if (key == Key::kDestinationPort) return fits(condition.ports, attempt_.server_port);
    if (key == Key::kSourceNamespace) return fits(condition.strings, namespace_);
    if (key == Key::kSourcePrincipal) return fits(condition.strings, principal_);
    return true;  // of HTTP
  }

  const PolicyInput& input_;
  const PolicyTarget& target_;
  const Attempt& attempt_;
  Text principal_, namespace_, service_account_, trust_domain_;
  std::size_t next_ = 0;
  std::map<Effect, std::vector<std::size_t>> matched_;
};

}  // namespace

Verdict evaluate_plainly(const PolicyInput& input, const PolicyTarget& target, const Attempt& attempt) {
  return Reading(input, target, attempt).verdict();
}

}  // namespace underpass::compile
