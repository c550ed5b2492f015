// SPDX-License-Identifier: Apache-2.0
// What the endpoints controller does in a cluster, for Services without slices: from a selector and the pods' states to
// EndpointSlices. Conditions as in Kubernetes' own (endpointslice/utils.go, podToEndpoint).
#include <algorithm>
#include <tuple>

#include "agent/compile/derived_endpoints.h"
#include "agent/compile/services.h"

namespace underpass::compile {
namespace {

// The port of this pod, 0 where it has none of that name.
std::uint16_t find_target(const model::ServicePort& port, const model::Pod& pod) {
  if (const auto* number = std::get_if<std::uint16_t>(&port.target)) return *number;
  const auto& name = std::get<std::string>(port.target);
  const auto found = std::ranges::find_if(
      pod.ports, [&](const auto& one) { return one.name == name && one.protocol == port.protocol; });
  return found == pod.ports.end() ? std::uint16_t{0} : found->port;
}

// The Service's ports as this pod has them: 0 for those it lacks.
std::vector<std::uint16_t> find_targets(const model::Service& service, const model::Pod& pod) {
  std::vector<std::uint16_t> out;
  out.reserve(service.ports.size());
  for (const auto& port : service.ports) out.push_back(find_target(port, pod));
  return out;
}

model::EndpointSlice make_slice(const model::Service& service, bool v6, std::uint16_t weight,
                                const std::vector<std::uint16_t>& targets, std::size_t number) {
  model::EndpointSlice out{.id = {service.id.ns, service.id.name + "-" + std::to_string(number)},
                           .service = service.id.name,
                           .v6 = v6,
                           .weight = weight,
                           .ports = {},
                           .endpoints = {}};
  for (std::size_t i = 0; i < targets.size(); ++i) {
    const auto& port = service.ports[i];
    if (targets[i] != 0) out.ports.push_back({.name = port.name, .protocol = port.protocol, .port = targets[i]});
  }
  return out;
}

model::Endpoint make_endpoint(const model::Service& service, const model::Pod& pod, const IpAddress& ip) {
  return {.ip = ip,
          .node_name = pod.node_name,
          .zone = "",
          .for_zones = {},
          .ready = (pod.ready && !pod.deleting) || service.publish_not_ready,
          .serving = pod.ready,
          .terminating = pod.deleting};
}

}  // namespace

bool selects(const model::Service& service, const model::Pod& pod) {
  return !service.selector.empty() && std::ranges::all_of(service.selector, [&](const auto& wanted) {
    const auto label = pod.labels.find(wanted.first);
    return label != pod.labels.end() && label->second == wanted.second;
  });
}

std::vector<model::EndpointSlice> derive_slices(const model::Service& service,
                                                std::span<const model::Pod* const> pods) {
  using Likeness = std::tuple<bool, std::uint16_t, std::vector<std::uint16_t>>;  // family, weight, ports
  std::map<Likeness, std::vector<model::Endpoint>> groups;
  for (const auto* pod : pods) {
    if (pod->terminated || pod->node_name.empty() || !selects(service, *pod)) continue;
    for (const bool v6 : {false, true}) {
      const auto ip = std::ranges::find_if(pod->ips, [&](const auto& one) { return one.is_v4() != v6; });
      if (ip == pod->ips.end()) continue;
      groups[{v6, pod->weight, find_targets(service, *pod)}].push_back(make_endpoint(service, *pod, *ip));
    }
  }
  std::vector<model::EndpointSlice> out;
  out.reserve(groups.size());
  for (auto& [likeness, endpoints] : groups) {
    const auto& [v6, weight, targets] = likeness;
    out.push_back(make_slice(service, v6, weight, targets, out.size() + 1));
    out.back().endpoints = std::move(endpoints);
  }
  return out;
}

}  // namespace underpass::compile
