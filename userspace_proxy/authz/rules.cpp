// SPDX-License-Identifier: Apache-2.0
#include "userspace_proxy/authz/rules.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "userspace_proxy/authz/facts.h"

namespace underpass::authz {
namespace {

using model::AuthorizationPolicy;
using Action = AuthorizationPolicy::Action;

constexpr std::string_view kNoAllow = "no ALLOW policy matches";

// Of what cannot be told they are in force without it; others not at all.
bool is_widened(const AuthorizationPolicy& policy) {
  return policy.action == Action::kDeny || policy.action == Action::kCustom;
}

// Whether the rule asks for HTTP with this source. A key that is not known is no HTTP.
bool asks_http(const AuthorizationPolicy& policy, const model::PolicyRule& rule, const model::PolicySource* source) {
  if (policy.action == Action::kCustom || (source != nullptr && source->needs_http())) return true;
  return std::ranges::any_of(rule.to, &model::PolicyOperation::needs_http) ||
         std::ranges::any_of(rule.when, [](const model::PolicyCondition& condition) {
           return condition.needs_http() && condition.key != model::PolicyCondition::Key::kUnsupported;
         });
}

void read_rule(const AuthorizationPolicy& policy, std::size_t number, std::vector<Rules::Read>& out) {
  const auto& rule = policy.rules[number];
  const int sources = static_cast<int>(rule.from.size());
  const int operations = static_cast<int>(rule.to.size());
  for (int s = sources == 0 ? -1 : 0; s < sources; ++s) {
    const auto* source = s < 0 ? nullptr : &rule.from[static_cast<std::size_t>(s)];
    const bool http = asks_http(policy, rule, source);
    for (int o = operations == 0 ? -1 : 0; o < operations; ++o) {
      const auto* operation = o < 0 ? nullptr : &rule.to[static_cast<std::size_t>(o)];
      out.push_back({.clause = {.policy = &policy, .rule = number, .source = s, .operation = o},
                     .demand = demand_of(rule, source, operation),
                     .tcp = !http || is_widened(policy),
                     .http = http});
    }
  }
}

}  // namespace

Effect Rules::effect_of(const AuthorizationPolicy& policy) {
  switch (policy.action) {
    case Action::kAllow:
      return policy.dry_run ? Effect::kDryRunAllow : Effect::kAllow;
    case Action::kDeny:
      return policy.dry_run ? Effect::kDryRunDeny : Effect::kDeny;
    case Action::kAudit:
      return Effect::kAudit;
    case Action::kCustom:
      return policy.dry_run ? Effect::kDryRunDeny : Effect::kAsk;
  }
  std::unreachable();
}

std::string Rules::Clause::name() const { return policy->id.to_string() + " rule " + std::to_string(rule); }

bool Rules::Read::is_in_force() const { return demand.unknown.empty() || is_widened(*clause.policy); }

std::vector<Rules::Read> Rules::read(const HttpPolicySet& set) {
  std::vector<const AuthorizationPolicy*> policies;
  for (const auto& policy : set.policies) policies.push_back(&policy);
  std::ranges::sort(policies, {}, [](const auto* policy) { return std::tuple(effect_of(*policy), policy->id); });
  std::vector<Read> out;
  for (const auto* policy : policies)
    for (std::size_t rule = 0; rule < policy->rules.size(); ++rule) read_rule(*policy, rule, out);
  return out;
}

Rules::Rules(const HttpPolicySet& set) : set_(set) {
  for (const auto& policy : set.policies) {
    has_allow_ |= effect_of(policy) == Effect::kAllow;
    has_dry_run_allow_ |= effect_of(policy) == Effect::kDryRunAllow;
  }
  auto all = read(set);
  tells_dry_run_allow_ = std::ranges::any_of(
      all, [](const Read& one) { return one.http && effect_of(*one.clause.policy) == Effect::kDryRunAllow; });
  std::erase_if(all, [](const Read& one) { return !one.is_in_force(); });
  for (const auto& one : all) clauses_.push_back(one.clause);
  for (std::size_t i = 0; i < kEffects; ++i) {
    const auto end = std::ranges::upper_bound(clauses_, static_cast<Effect>(i), {},
                                              [](const Clause& clause) { return effect_of(*clause.policy); });
    ends_.at(i) = static_cast<std::size_t>(end - clauses_.begin());
  }
  index(all);
}

// One that does not have the clause yet.
Dimension& Rules::dimension_of(const Fact& fact, std::size_t clause) {
  auto& dimensions = fact.is_of_request() ? of_request_ : of_peer_;
  for (auto& dimension : dimensions)
    if (dimension.fact() == fact && !dimension.has(clause)) return dimension;
  return dimensions.emplace_back(fact, clauses_.size());
}

void Rules::index(const std::vector<Read>& all) {
  tcp_.resize(words_for(all.size()));
  http_.resize(tcp_.size());
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (all[i].tcp) set_bit(tcp_, i);
    if (all[i].http) set_bit(http_, i);
    for (const auto& requirement : all[i].demand.requirements) dimension_of(requirement.fact, i).add(requirement, i);
  }
  for (auto* dimensions : {&of_peer_, &of_request_}) {
    for (auto& dimension : *dimensions) dimension.finish();
    std::ranges::sort(*dimensions, {}, &Dimension::fact);
  }
}

std::vector<Word> Rules::match_peer(const Peer& peer) const {
  const PeerFacts facts(peer);
  std::vector<Word> out(tcp_.size(), ~Word{0});
  std::vector<Word> room(out.size());
  for (const auto& dimension : of_peer_)
    dimension.narrow(out, room, [&](const auto& use) { facts.tell(dimension.fact(), use); });
  return out;
}

ClauseWords Rules::match_request(ConstWords known, const Subject& subject) const {
  ClauseWords out(known.begin(), known.end());
  ClauseWords room(known.size(), boost::container::default_init);
  for (const auto& dimension : of_request_) {
    dimension.narrow(out, room, [&](const auto& use) { tell(subject, dimension.fact(), dimension.wants_port(), use); });
  }
  return out;
}

bool Rules::may_pass(ConstWords known) const {
  ClauseWords whole(known.begin(), known.end());
  for (std::size_t i = 0; i < whole.size(); ++i) whole[i] &= ~http_[i];
  return first(whole, Effect::kDeny) == kNone && (!has_allow_ || first(known, Effect::kAllow) != kNone);
}

ClauseWords Rules::match_tcp(ConstWords known) const {
  ClauseWords out(known.begin(), known.end());
  for (std::size_t i = 0; i < out.size(); ++i) out[i] &= tcp_[i];
  return out;
}

std::size_t Rules::begin_of(Effect effect) const {
  return effect == Effect::kAsk ? 0 : ends_.at(static_cast<std::size_t>(effect) - 1);
}

std::size_t Rules::first(ConstWords matched, Effect effect) const {
  return find_bit(matched, begin_of(effect), end_of(effect));
}

// A rule of which several clauses match is named once.
std::vector<std::string> Rules::names_of(ConstWords matched, Effect effect) const {
  std::vector<std::string> out;
  for (auto i = first(matched, effect); i != kNone; i = find_bit(matched, i + 1, end_of(effect))) {
    auto name = name_of(i);
    if (out.empty() || out.back() != name) out.push_back(std::move(name));
  }
  return out;
}

void Rules::notice(ConstWords matched, Verdict& out) const {
  for (const auto effect : {Effect::kDryRunDeny, Effect::kAudit}) {
    auto i = first(matched, effect);
    while (i != kNone && !has_bit(http_, i)) i = find_bit(matched, i + 1, end_of(effect));
    if (i != kNone) out.notices.push_back({.policy = clauses_[i].policy->id, .audited = effect == Effect::kAudit});
  }
  if (tells_dry_run_allow_ && first(matched, Effect::kDryRunAllow) == kNone) out.notices.emplace_back();
}

Verdict Rules::closed() const { return {.kind = Verdict::Kind::kDeny, .decided_by = set_.closed_by}; }

// Where policies that match have different providers, there is none to ask (Istio: one provider for a workload).
Verdict Rules::ask(ConstWords matched, std::size_t clause) const {
  const auto& provider = clauses_[clause].policy->provider;
  for (auto i = clause; i != kNone; i = find_bit(matched, i + 1, end_of(Effect::kAsk))) {
    if (clauses_[i].policy->provider == provider) continue;
    return {.kind = Verdict::Kind::kDeny, .decided_by = name_of(i) + ": another provider than " + name_of(clause)};
  }
  return {.kind = Verdict::Kind::kAsk, .provider = provider, .decided_by = name_of(clause)};
}

Verdict Rules::judge(ConstWords matched, bool asks) const {
  if (const auto i = first(matched, Effect::kAsk); asks && i != kNone) return ask(matched, i);
  Verdict out;
  out.audited = names_of(matched, Effect::kAudit);
  out.would_deny = names_of(matched, Effect::kDryRunDeny);
  if (has_dry_run_allow_ && first(matched, Effect::kDryRunAllow) == kNone) out.would_deny.emplace_back(kNoAllow);
  notice(matched, out);
  if (const auto i = first(matched, Effect::kDeny); i != kNone) {
    out.kind = Verdict::Kind::kDeny;
    out.decided_by = name_of(i);
  } else if (has_allow_ && first(matched, Effect::kAllow) == kNone) {
    out.kind = Verdict::Kind::kDeny;
    out.decided_by = kNoAllow;
  }
  return out;
}

}  // namespace underpass::authz
