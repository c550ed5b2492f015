// SPDX-License-Identifier: Apache-2.0
// The authorizer says what the policies say, whatever the policies, the connection and the request; and of what is no
// HTTP what the kernel's programs say.
#include <doctest/doctest.h>

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "agent/compile/policies.h"
#include "test/support/http_policy_dice.h"
#include "test/support/http_policy_reference.h"
#include "test/support/policy_values.h"
#include "test/support/share.h"
#include "userspace_proxy/authz/authorizer.h"

namespace underpass::authz {
namespace {

using test::Dice;
using Counts = std::map<std::string, int>;

constexpr int kWorlds = 4000 / test::kShare;
constexpr int kPeers = 3;      // of each world
constexpr int kRequests = 10;  // of each peer

std::string to_text(const Verdict& verdict) {
  std::string out = verdict.kind == Verdict::Kind::kAllow  ? "allow"
                    : verdict.kind == Verdict::Kind::kDeny ? "deny"
                                                           : "ask";
  out += " " + verdict.provider + " by " + verdict.decided_by + "; would deny:";
  for (const auto& one : verdict.would_deny) out += " " + one + ",";
  out += "; audited:";
  for (const auto& one : verdict.audited) out += " " + one + ",";
  return out;
}

void count(const HttpPolicySet& set, const Verdict& verdict, Counts& counts) {
  ++counts["compared"];
  if (!set.closed_by.empty()) {
    ++counts["closed"];
  } else if (verdict.kind == Verdict::Kind::kAsk) {
    ++counts["asked"];
  } else if (verdict.kind == Verdict::Kind::kAllow) {
    ++counts[set.policies.empty() ? "no policy" : "allowed"];
  } else {
    const bool by_default = verdict.decided_by == "no ALLOW policy matches";
    ++counts[by_default ? "default" : verdict.decided_by.contains("another provider") ? "two providers" : "denied"];
  }
  counts["would deny"] += verdict.would_deny.empty() ? 0 : 1;
  counts["audited"] += verdict.audited.empty() ? 0 : 1;
}

std::string to_text(const Counts& counts) {
  std::string out;
  for (const auto& [name, number] : counts) out += name + " " + std::to_string(number) + ", ";
  return out;
}

TEST_CASE("authz: the bits say what the policies say") {
  const auto seed = test::draw_seed();
  MESSAGE("UNDERPASS_SEED=", seed);
  Dice dice(seed);
  Counts counts;
  for (int world = 0; world < kWorlds; ++world) {
    const auto set = test::draw_http_policies(dice);
    const Authorizer authorizer(set, "cluster.local");
    for (int i = 0; i < kPeers; ++i) {
      const auto peer = test::draw_peer(dice);
      const auto known = authorizer.know(peer);
      CAPTURE(world);
      CAPTURE(peer.identity);
      CAPTURE(peer.server_port);
      REQUIRE(to_text(authorizer.decide_tcp(known)) == to_text(test::judge_tcp_plainly(set, peer)));
      for (int j = 0; j < kRequests; ++j) {
        const auto request = test::draw_request(dice);
        const auto subject = request.subject();
        const auto verdict = authorizer.decide(known, subject);
        count(set, verdict, counts);
        const bool same = to_text(verdict) == to_text(test::judge_plainly(set, peer, subject));
        const bool same_then = to_text(authorizer.decide_after_custom(known, subject)) ==
                               to_text(test::judge_plainly(set, peer, subject, test::Stage::kAfterCustom));
        if (same && same_then) continue;
        FAIL(request.to_string(), "\nis:     ", to_text(verdict),
             "\nshould: ", to_text(test::judge_plainly(set, peer, subject)));
      }
    }
  }
  MESSAGE(to_text(counts));
  CHECK(counts["compared"] >= 100'000 / test::kShare);
  for (const auto* name : {"allowed", "denied", "default", "would deny", "audited"}) {
    CAPTURE(name);
    CHECK(counts[name] >= counts["compared"] / 20);
  }
  for (const auto* name : {"asked", "closed", "no policy"}) {
    CAPTURE(name);
    CHECK(counts[name] >= counts["compared"] / 100);
  }
  CHECK(counts["two providers"] > 0);
}

// The policies that apply to the pod, as the agent hands them out.
HttpPolicySet http_policies(const compile::PolicyInput& input, const compile::PolicyTarget& target) {
  HttpPolicySet out;
  for (const auto& policy : input.policies) {
    const bool is_near = policy->id.ns == target.pod.ns || policy->id.ns == input.mesh.root_namespace;
    bool is_selected = true;
    for (const auto& [key, value] : policy->selector) {
      const auto found = target.labels.find(key);
      is_selected &= found != target.labels.end() && found->second == value;
    }
    if (is_near && is_selected) out.policies.push_back(*policy);
  }
  return out;
}

bool needs_http(const HttpPolicySet& set) {
  for (const auto& policy : set.policies) {
    if (policy.action == model::AuthorizationPolicy::Action::kCustom) return true;
    for (const auto& rule : policy.rules) {
      for (const auto& source : rule.from)
        if (source.needs_http()) return true;
      for (const auto& operation : rule.to)
        if (operation.needs_http()) return true;
      for (const auto& condition : rule.when)
        if (condition.needs_http()) return true;
    }
  }
  return false;
}

// In the authorizer's words.
std::string to_text(const compile::PolicySet& set, const compile::Verdict& verdict) {
  const auto name_of = [&](std::size_t clause) {
    const auto& origin = set.clauses.at(clause);
    return origin.id.to_string() + " rule " + std::to_string(origin.rule);
  };
  const auto names_of = [&](const std::vector<std::size_t>& clauses) {
    std::vector<std::string> out;
    for (const auto clause : clauses)
      if (out.empty() || out.back() != name_of(clause)) out.push_back(name_of(clause));
    return out;
  };
  Verdict out;
  out.kind = verdict.allowed ? Verdict::Kind::kAllow : Verdict::Kind::kDeny;
  if (!verdict.allowed) {
    out.decided_by =
        verdict.default_deny ? "no ALLOW policy matches" : name_of(static_cast<std::size_t>(verdict.decided_by));
  }
  out.would_deny = names_of(verdict.would_deny);
  if (verdict.would_default_deny) out.would_deny.emplace_back("no ALLOW policy matches");
  out.audited = names_of(verdict.audited);
  return to_text(out);
}

std::string identity_of(const compile::PolicyInput& input, const compile::Identity& client) {
  if (client.kind != compile::Identity::Kind::kAccount) return "";
  return "spiffe://" + input.mesh.trust_domain + "/ns/" + client.account.ns + "/sa/" + client.account.name;
}

// Where nothing needs HTTP both say the same; where something does, the kernel has refused nobody to whom a request may
// be allowed.
TEST_CASE("authz: it says what the kernel says, and more where a request decides") {
  const auto seed = test::draw_seed();
  MESSAGE("UNDERPASS_SEED=", seed);
  Dice dice(seed);
  Counts counts;
  for (int world = 0; world < 3000 / test::kShare; ++world) {
    auto input = test::draw_policies(dice);
    input.peer_authentications.clear();
    input.unread.clear();
    auto target = test::draw_target(dice);
    target.probe_ports.clear();
    target.excluded_ports.clear();
    const auto kernel = compile::compile_policy_set(input, target);
    const auto set = http_policies(input, target);
    const Authorizer authorizer(set, input.mesh.trust_domain);
    for (int i = 0; i < 15; ++i) {
      const auto attempt = test::draw_attempt(dice);
      if (attempt.client.kind == compile::Identity::Kind::kAccount && !kernel.identities.contains(attempt.client))
        continue;
      const auto known = authorizer.know({.identity = identity_of(input, attempt.client),
                                          .client_ip = attempt.client_ip,
                                          .remote_ip = attempt.client_ip,
                                          .server_ip = attempt.server_ip,
                                          .server_port = attempt.server_port});
      const auto verdict = compile::decide(kernel, attempt);
      const auto request = test::draw_request(dice);
      const auto of_request = authorizer.decide_after_custom(known, request.subject());
      const auto of_connection = authorizer.decide_tcp(known);
      CAPTURE(world);
      ++counts["compared"];
      counts["refused"] += verdict.allowed ? 0 : 1;
      if (!needs_http(set)) {
        ++counts["without HTTP"];
        REQUIRE(to_text(of_connection) == to_text(kernel, verdict));
        REQUIRE(to_text(of_request) == to_text(kernel, verdict));
        continue;
      }
      for (const auto& worker : {of_request, of_connection}) {
        const bool let_in = worker.kind == Verdict::Kind::kAllow;
        CAPTURE(compile::to_text(kernel));
        CAPTURE(to_text(worker));
        REQUIRE((verdict.allowed || !let_in));
        counts["taken back"] += verdict.allowed && !let_in ? 1 : 0;
      }
    }
  }
  MESSAGE(to_text(counts));
  CHECK(counts["without HTTP"] >= 10'000 / test::kShare);
  CHECK(counts["taken back"] >= 1'000 / test::kShare);
  CHECK(counts["refused"] >= counts["compared"] / 10);
  CHECK(counts["refused"] <= counts["compared"] - counts["compared"] / 10);
}

}  // namespace
}  // namespace underpass::authz
