// SPDX-License-Identifier: Apache-2.0
#include "agent/admin/explain_policy.h"

#include <algorithm>
#include <boost/json/object.hpp>

#include "agent/compile/policy_words.h"

namespace underpass::admin {
namespace {

namespace json = boost::json;
using compile::ClauseOrigin;
using compile::Effect;
using compile::Identity;
using compile::PodStatus;
using compile::PolicySet;
using compile::Verdict;

Identity identity_of(const PodStatus& client, bool attested) {
  if (!attested) return {};
  return {.kind = Identity::Kind::kAccount, .account = client.account};
}

IpAddress address_of(const PodStatus& client, bool v4) {
  const auto found = std::ranges::find(client.ips, v4, &IpAddress::is_v4);
  return found != client.ips.end() ? *found : IpAddress();
}

// "Pod shop/a (spiffe://cluster.local/ns/shop/sa/a)"
std::string who_is(const PodStatus& client, bool attested) {
  return "Pod " + client.id.to_string() + " (" + (attested ? client.identity : "unauthenticated") + ")";
}

json::value object_of(const std::string& kind, const NamespacedName& id, const std::string& rule) {
  return json::object{{"kind", kind},
                      {"namespace", id.ns.empty() ? json::value(nullptr) : json::value(id.ns)},
                      {"name", id.name},
                      {"rule", rule.empty() ? json::value(nullptr) : json::value(rule)}};
}

Judgement by_clause(const ClauseOrigin& origin, bool allowed, const std::string& who, const PodStatus& server,
                    std::uint16_t port) {
  if (origin.effect == Effect::kBypass)
    return {true, object_of("Pod", server.id, compile::rule_of(origin)),
            "policy has no say at port " + std::to_string(port) + " of Pod " + server.id.to_string() + " (" +
                compile::rule_of(origin) + ")"};
  Judgement out{allowed, object_of(origin.kind, origin.id, compile::rule_of(origin)),
                compile::describe(origin) + (allowed ? " allows " : " denies ") + who};
  if (origin.kind == "PeerAuthentication") out.reason += ": plaintext is refused";
  return out;
}

Judgement by_none(const PolicySet& set, const Verdict& verdict, const std::string& who, const PodStatus& server) {
  const std::string pod = "Pod " + server.id.to_string();
  if (verdict.default_deny)
    return {false, object_of("AuthorizationPolicy", set.allow_policies.front(), ""),
            "no ALLOW policy of " + pod + " matches " + who + ": " + compile::join(set.allow_policies)};
  if (set.closed)
    return {false,
            set.closed_by.kind.empty() ? json::value(nullptr) : object_of(set.closed_by.kind, set.closed_by.id, ""),
            pod + " is closed: " + set.why_closed};
  return {true, nullptr, "no policy of " + pod + " denies " + who};
}

// What would be, if what is in dry run were in force.
std::string dry_run_of(const PolicySet& set, const Verdict& verdict) {
  std::string out;
  for (const auto clause : verdict.would_deny)
    out += "; in dry run, " + compile::describe(set.clauses[clause]) + " would deny it";
  if (verdict.would_default_deny)
    out += "; in dry run, no ALLOW policy would match: " + compile::join(set.dry_run_allow_policies);
  return out;
}

}  // namespace

Judgement judge(const PodStatus& client, bool attested, const PodStatus& server, const IpAddress& server_ip,
                std::uint16_t port, const PolicySet* set, bool has_worker) {
  if (client.id == server.id || (set == nullptr && server.decided_by.empty())) return {};
  Judgement out;
  Verdict verdict;
  bool bypassed = false;
  if (set != nullptr) {
    verdict = compile::decide(*set, {.client = identity_of(client, attested),
                                     .client_ip = address_of(client, server_ip.is_v4()),
                                     .server_ip = server_ip,
                                     .server_port = port});
    const auto who = who_is(client, attested);
    const ClauseOrigin* clause =
        verdict.decided_by >= 0 ? &set->clauses[static_cast<std::size_t>(verdict.decided_by)] : nullptr;
    out = clause != nullptr ? by_clause(*clause, verdict.allowed, who, server, port)
                            : by_none(*set, verdict, who, server);
    bypassed = clause != nullptr && clause->effect == Effect::kBypass;
  }
  if (out.allowed && !bypassed && !server.decided_by.empty()) {
    out.reason += (out.reason.empty() ? "HTTP decides: " : ", and HTTP decides: ") + server.decided_by;
    out.allowed = out.worker_decides = has_worker;
    if (!has_worker) out.reason += "; no worker is there to do so";
  }
  if (set != nullptr) out.reason += dry_run_of(*set, verdict);
  return out;
}

}  // namespace underpass::admin
