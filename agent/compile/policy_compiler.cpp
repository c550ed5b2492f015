// SPDX-License-Identifier: Apache-2.0
#include "agent/compile/policy_compiler.h"

#include <algorithm>
#include <utility>

namespace underpass::compile {
namespace {

// The Mesh says which trust domain and which root namespace policies are of.
bool is_policy(const std::string& kind) {
  return kind == "AuthorizationPolicy" || kind == "PeerAuthentication" || kind == "Mesh";
}

PolicyInput input_of(const model::Snapshot& snapshot, const Compiled& compiled) {
  PolicyInput out;
  out.mesh = snapshot.mesh.value_or(model::MeshConfig{});
  for (const auto& [id, policy] : snapshot.authorization_policies) out.policies.push_back(policy);
  for (const auto& [id, one] : snapshot.peer_authentications) out.peer_authentications.push_back(one);
  // Of one that is stale the last good version is among those above.
  for (const auto& diagnostic : snapshot.diagnostics)
    if (diagnostic.state == model::Diagnostic::State::kRefused && is_policy(diagnostic.kind))
      out.unread.push_back({diagnostic.kind, diagnostic.id});
  for (const auto& pod : compiled.pods)
    if (pod.enrolled) out.accounts.push_back(pod.account);
  std::ranges::sort(out.accounts);
  const auto twice = std::ranges::unique(out.accounts);
  out.accounts.erase(twice.begin(), twice.end());
  return out;
}

// Nothing could be decided otherwise, and nothing is to be counted: a bypass alone bypasses nothing.
bool is_open(const PolicySet& set) {
  return !set.closed && !set.has_allow() && !set.has_dry_run_allow() &&
         std::ranges::all_of(set.clauses, [](const auto& clause) { return clause.effect == Effect::kBypass; });
}

}  // namespace

void PolicyCompiler::update(const model::Snapshot& snapshot, Compiled& compiled) {
  auto input = input_of(snapshot, compiled);
  // Objects are shared: the same pointer is the same policy.
  if (input != input_) sets_.clear();
  input_ = std::move(input);
  for (const auto& status : compiled.pods) {
    if (!status.enrolled) continue;
    const auto& pod = snapshot.pods.at(status.id);
    compiled.tables.pods.at(status.netns_cookie).identity =
        numbers_.number_of({.kind = Identity::Kind::kAccount, .account = status.account});
    auto set = set_of({.pod = status.id,
                       .labels = pod.labels,
                       .ips = pod.ips,
                       .probe_ports = pod.probe_ports,
                       .excluded_ports = pod.exclude_inbound_ports});
    if (set != nullptr) compiled.tables.policies.emplace(status.netns_cookie, std::move(set));
  }
}

std::shared_ptr<const PolicySet> PolicyCompiler::set_of(const PolicyTarget& target) {
  const auto [found, fresh] =
      sets_.try_emplace({target.pod.ns, target.labels, target.probe_ports, target.excluded_ports});
  if (fresh) {
    auto set = compile_policy_set(input_, target);
    if (!is_open(set)) found->second = std::make_shared<const PolicySet>(std::move(set));
  }
  return found->second;
}

}  // namespace underpass::compile
