// SPDX-License-Identifier: Apache-2.0
#include "agent/compile/policy_compiler.h"

#include <algorithm>
#include <memory>
#include <set>
#include <utility>

namespace underpass::compile {
namespace {

PolicyInput input_of(const model::Snapshot& snapshot, const Compiled& compiled) {
  PolicyInput out;
  out.mesh = snapshot.mesh.value_or(model::MeshConfig{});
  for (const auto& [id, policy] : snapshot.authorization_policies) out.policies.push_back(policy);
  for (const auto& [id, one] : snapshot.peer_authentications) out.peer_authentications.push_back(one);
  for (const auto& [id, one] : snapshot.request_authentications) out.request_authentications.push_back(one);
  // Of one that is stale the last good version is among those above.
  for (const auto& diagnostic : snapshot.diagnostics)
    if (diagnostic.state == model::Diagnostic::State::kRefused && model::is_policy_kind(diagnostic.kind))
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

// Where a provider of these policies is asked: at its Service's cluster IPs.
void add_errands(const HttpPolicySet& policies, const model::Snapshot& snapshot, NetnsCookie netns,
                 std::set<Errand>& out) {
  if (!snapshot.mesh) return;
  for (const auto& policy : policies.policies) {
    const auto provider = snapshot.mesh->providers.find(policy.provider);
    if (policy.action != model::AuthorizationPolicy::Action::kCustom || provider == snapshot.mesh->providers.end())
      continue;
    const auto service = snapshot.services.find(provider->second.service);
    if (service == snapshot.services.end()) continue;
    for (const auto& ip : service->second->cluster_ips)
      out.insert({.netns = netns, .ip = ip, .port = provider->second.port});
  }
}

}  // namespace

void PolicyCompiler::update(const model::Snapshot& snapshot, Compiled& compiled) {
  auto input = input_of(snapshot, compiled);
  // Objects are shared: the same pointer is the same policy.
  if (input != input_) judgements_.clear();
  input_ = std::move(input);
  for (auto& status : compiled.pods) {
    if (!status.enrolled) continue;
    const auto& pod = snapshot.pods.at(status.id);
    compiled.tables.pods.at(status.netns_cookie).identity =
        numbers_.number_of({.kind = Identity::Kind::kAccount, .account = status.account});
    const auto& judgement = judgement_of({.pod = status.id,
                                          .labels = pod.labels,
                                          .ips = status.ips,
                                          .probe_ports = pod.probe_ports,
                                          .excluded_ports = pod.exclude_inbound_ports});
    if (judgement.set != nullptr) compiled.tables.policies.emplace(status.netns_cookie, judgement.set);
    if (status.tunnels) status.http = judgement.tunnelled;
    if (judgement.http == nullptr) continue;
    lead_to_worker(judgement, pod, status, compiled.tables);
    add_errands(*judgement.http, snapshot, status.netns_cookie, compiled.tables.errands);
  }
  std::erase_if(http_sets_, [](const auto& set) { return set.use_count() == 1; });
}

const PolicyCompiler::Judgement& PolicyCompiler::judgement_of(const PolicyTarget& target) {
  const auto [found, fresh] =
      judgements_.try_emplace({target.pod.ns, target.labels, target.probe_ports, target.excluded_ports});
  auto& out = found->second;
  if (!fresh) return out;
  if (auto part = compile_workers_part(input_, target)) {
    out.http = shared(std::move(part->policies));
    out.worker_decides = part->decides;
    out.why = std::move(part->why);
  } else if (auto all = compile_tunnels_part(input_, target); all != HttpPolicySet{}) {
    out.tunnelled = shared(std::move(all));
  }
  // One that a worker decides of has a set to be refused by, where no worker is there.
  auto set = compile_policy_set(input_, target);
  if (out.worker_decides || !is_open(set)) out.set = std::make_shared<const PolicySet>(std::move(set));
  return out;
}

// So that a worker is told of what is other than before, and of nothing else.
std::shared_ptr<const HttpPolicySet> PolicyCompiler::shared(HttpPolicySet set) {
  const auto same = std::ranges::find_if(http_sets_, [&](const auto& one) { return *one == set; });
  if (same != http_sets_.end()) return *same;
  return http_sets_.emplace_back(std::make_shared<const HttpPolicySet>(std::move(set)));
}

// What others dial of the pod, besides what the annotation asks for.
void PolicyCompiler::lead_to_worker(const Judgement& judgement, const model::Pod& pod, PodStatus& status,
                                    Tables& tables) {
  auto& row = tables.pods.at(status.netns_cookie);
  row.capture |= UP_CAPTURE_INBOUND | (judgement.worker_decides ? UP_CAPTURE_MUST : 0);
  if (judgement.worker_decides) status.decided_by = judgement.why;
  status.http = judgement.http;
  if (status.capture && !status.tunnel_only) return;
  status.tunnel_only = false;
  status.capture = status.inbound_only = true;
  status.capture_reason = judgement.why;
  for (const auto port : pod.exclude_inbound_ports) tables.excluded.insert({status.netns_cookie, port, true});
}

}  // namespace underpass::compile
