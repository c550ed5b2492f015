// SPDX-License-Identifier: Apache-2.0
#include "agent/compile/workers.h"

#include <algorithm>

namespace underpass::compile {
namespace {

bool has_family(const PodStatus& pod, bool v4) {
  return std::ranges::any_of(pod.ips, [&](const IpAddress& ip) { return ip.is_v4() == v4; });
}

}  // namespace

std::map<std::string, WorkerPlan> plan_workers(const model::Snapshot& snapshot, const Compiled& compiled) {
  const auto mesh = snapshot.mesh.value_or(model::MeshConfig{});
  std::map<std::uint32_t, std::string> identities;
  for (const auto& pod : compiled.pods)
    if (pod.enrolled) identities[compiled.tables.pods.at(pod.netns_cookie).identity] = pod.identity;

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
    }
    plan.namespaces.insert(pod.id.ns);
    plan.pods[pod.netns_cookie] = {
        .id = pod.id, .identity = pod.identity, .v4 = has_family(pod, true), .v6 = has_family(pod, false)};
  }
  return out;
}

RoutingTable table_of(const WorkerPlan& plan, std::uint64_t revision) {
  RoutingTable out{.revision = revision, .settings = plan.settings, .pods = {}, .identities = plan.identities};
  for (const auto& [netns, pod] : plan.pods)
    out.pods.push_back({.netns = netns, .id = pod.id, .identity = pod.identity});
  return out;
}

}  // namespace underpass::compile
