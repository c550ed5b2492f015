// SPDX-License-Identifier: Apache-2.0
#include "agent/compile/workers.h"

#include <algorithm>
#include <utility>

namespace underpass::compile {
namespace {

bool has_family(const PodStatus& pod, bool v4) {
  return std::ranges::any_of(pod.ips, [&](const IpAddress& ip) { return ip.is_v4() == v4; });
}

// With the addresses of its Service, of which there may be none yet.
void add_provider(const std::string& name, const model::Snapshot& snapshot, WorkerPlan& plan) {
  if (name.empty() || !snapshot.mesh) return;
  const auto provider = snapshot.mesh->providers.find(name);
  if (provider == snapshot.mesh->providers.end()) return;
  const auto service = snapshot.services.find(provider->second.service);
  plan.providers[name] = {
      .settings = provider->second,
      .addresses = service == snapshot.services.end() ? std::vector<IpAddress>() : service->second->cluster_ips};
}

// Its place among those of the plan.
std::uint32_t index_of(const std::shared_ptr<const HttpPolicySet>& set, const model::Snapshot& snapshot,
                       WorkerPlan& plan) {
  const auto found = std::ranges::find(plan.policy_sets, set);
  if (found != plan.policy_sets.end()) return static_cast<std::uint32_t>(found - plan.policy_sets.begin());
  plan.policy_sets.push_back(set);
  for (const auto& policy : set->policies) add_provider(policy.provider, snapshot, plan);
  return static_cast<std::uint32_t>(plan.policy_sets.size() - 1);
}

}  // namespace

std::map<std::string, WorkerPlan> WorkerPlanner::plan(const model::Snapshot& snapshot, const Compiled& compiled) {
  const auto mesh = snapshot.mesh.value_or(model::MeshConfig{});
  std::map<std::uint32_t, std::string> identities;
  for (const auto& pod : compiled.pods)
    if (pod.enrolled) identities[compiled.tables.pods.at(pod.netns_cookie).identity] = pod.identity;

  identities.insert(compiled.remote_identities.begin(), compiled.remote_identities.end());

  ports_.begin(snapshot);
  std::map<std::string, WorkerPlan> out;
  for (const auto& pod : compiled.pods) {
    if (!pod.enrolled || !pod.capture) continue;
    const std::string name = mesh.isolation == model::Isolation::kShared ? kSharedWorker : pod.id.ns;
    const auto [place, fresh] = out.try_emplace(name);
    auto& plan = place->second;
    if (fresh) {
      plan.name = name;
      plan.settings = mesh.proxy;
      plan.identities = identities;
      plan.trust_domain = mesh.trust_domain;
    }
    plan.namespaces.insert(pod.id.ns);
    const auto& object = snapshot.pods.at(pod.id);
    const auto& ports = ports_.of(object, pod.ips);
    auto& row = plan.pods[pod.netns_cookie];
    row = {.id = pod.id,
           .identity = pod.identity,
           .v4 = has_family(pod, true),
           .v6 = has_family(pod, false),
           .inbound_only = pod.inbound_only,
           .tunnel_only = pod.tunnel_only,
           .labels = object.labels,
           .ports = ports.protocols,
           .policies = std::nullopt,
           .tunnels = pod.tunnels,
           .services = pod.tunnels ? ports.names : std::map<std::string, std::uint16_t>()};
    if (pod.http) row.policies = index_of(pod.http, snapshot, plan);
  }
  return out;
}

RoutingTable table_of(const WorkerPlan& plan, std::uint64_t revision) {
  RoutingTable out{.revision = revision,
                   .settings = plan.settings,
                   .pods = {},
                   .identities = plan.identities,
                   .trust_domain = plan.trust_domain,
                   .policy_sets = {},
                   .providers = plan.providers,
                   .jwks = plan.jwks,
                   .certificates = plan.certificates,
                   .trust_bundle = plan.trust_bundle};
  for (const auto& [netns, pod] : plan.pods)
    out.pods.push_back({.netns = netns,
                        .id = pod.id,
                        .identity = pod.identity,
                        .labels = pod.labels,
                        .ports = pod.ports,
                        .policies = pod.policies,
                        .tunnels = pod.tunnels,
                        .services = pod.services});
  for (const auto& set : plan.policy_sets) out.policy_sets.push_back(*set);
  return out;
}

}  // namespace underpass::compile
