// SPDX-License-Identifier: Apache-2.0
// One Service: where each of its ports is dialled, and which endpoints answer. Who is eligible is what kube-proxy says
// (pkg/proxy/topology.go, CategorizeEndpoints): internalTrafficPolicy first, at cluster IPs alone, then readiness, then
// trafficDistribution among what is ready, and only where nothing is ready what still serves while it terminates.
#include "agent/compile/service_ports.h"

#include <algorithm>
#include <iterator>
#include <tuple>
#include <utility>

namespace underpass::compile {
namespace {

using model::Endpoint;

struct Candidate {
  const Endpoint* endpoint;
  Backend backend;
};
using Candidates = std::vector<Candidate>;

IpAddress unspecified(bool v6) {
  static const auto kIpv4 = IpAddress::parse("0.0.0.0").value();
  return v6 ? IpAddress() : kIpv4;
}

std::vector<Frontend> frontends_of(const model::Service& service, const model::ServicePort& port, bool v6) {
  std::vector<Frontend> out;
  bool has_cluster_ip = false;
  for (const auto& ip : service.cluster_ips) {
    if (ip.is_v4() == v6) continue;
    out.push_back({ip, port.port, port.protocol});
    has_cluster_ip = true;
  }
  for (const auto& ip : service.external_ips) {
    if (ip.is_v4() != v6) out.push_back({ip, port.port, port.protocol});
  }
  if (port.node_port != 0 && has_cluster_ip) out.push_back({unspecified(v6), port.node_port, port.protocol});
  std::ranges::sort(out);
  const auto twice = std::ranges::unique(out);
  out.erase(twice.begin(), twice.end());
  return out;
}

// Every endpoint that has this port, whatever its state.
Candidates find_candidates(const model::ServicePort& port, bool v6,
                           std::span<const std::shared_ptr<const model::EndpointSlice>> slices) {
  Candidates out;
  for (const auto& slice : slices) {
    if (slice->v6 != v6) continue;
    for (const auto& target : slice->ports) {
      if (target.name != port.name || target.protocol != port.protocol || target.port == 0) continue;
      for (const auto& endpoint : slice->endpoints) {
        if (endpoint.ip.is_v4() == v6) continue;  // not of the slice's family
        out.push_back({&endpoint, {.ip = endpoint.ip, .port = target.port, .weight = slice->weight}});
      }
    }
  }
  return out;
}

template <typename Predicate>
Candidates only(const Candidates& all, Predicate predicate) {
  Candidates out;
  std::ranges::copy_if(all, std::back_inserter(out), [&](const auto& one) { return predicate(*one.endpoint); });
  return out;
}

bool is_local(const Endpoint& endpoint, const Topology& topology) {
  return !topology.node_name.empty() && endpoint.node_name == topology.node_name;
}

// Empty where no zone is preferred. Hints are the control plane's decision, and so better than where an endpoint is.
Candidates find_in_zone(const Candidates& ready, const Topology& topology) {
  if (topology.zone.empty()) return {};
  const bool hinted = std::ranges::any_of(ready, [](const auto& one) { return !one.endpoint->for_zones.empty(); });
  return only(ready, [&](const Endpoint& endpoint) {
    if (!hinted) return endpoint.zone == topology.zone;
    return std::ranges::find(endpoint.for_zones, topology.zone) != endpoint.for_zones.end();
  });
}

Candidates prefer_close(model::TrafficDistribution distribution, Candidates ready, const Topology& topology) {
  if (distribution == model::TrafficDistribution::kAny) return ready;
  if (distribution == model::TrafficDistribution::kSameNode) {
    auto local = only(ready, [&](const Endpoint& endpoint) { return is_local(endpoint, topology); });
    if (!local.empty()) return local;
  }
  auto near = find_in_zone(ready, topology);
  return near.empty() ? ready : near;
}

Candidates find_eligible(const model::Service& service, bool only_local, Candidates all, const Topology& topology) {
  if (only_local) {
    all = only(all, [&](const Endpoint& endpoint) { return is_local(endpoint, topology); });
  }
  auto ready = only(all, [&](const Endpoint& endpoint) { return endpoint.ready || service.publish_not_ready; });
  if (ready.empty()) {
    return only(all, [](const Endpoint& endpoint) { return endpoint.serving && endpoint.terminating; });
  }
  // What is on this node is as close as it gets, whatever zone it is hinted for.
  return only_local ? ready : prefer_close(service.distribution, std::move(ready), topology);
}

// Sorted; of an endpoint that several slices have, the greatest weight.
std::vector<Backend> to_backends(const Candidates& candidates) {
  std::vector<Backend> out;
  out.reserve(candidates.size());
  for (const auto& candidate : candidates) out.push_back(candidate.backend);
  std::ranges::sort(out, [](const Backend& a, const Backend& b) {
    return std::tie(a.ip, a.port, b.weight) < std::tie(b.ip, b.port, a.weight);
  });
  const auto twice =
      std::ranges::unique(out, [](const Backend& a, const Backend& b) { return a.ip == b.ip && a.port == b.port; });
  out.erase(twice.begin(), twice.end());
  return out;
}

}  // namespace

bool is_cluster_ip(const model::Service& service, const IpAddress& ip) {
  return std::ranges::find(service.cluster_ips, ip) != service.cluster_ips.end();
}

PortTables compile_frontends(const model::Service& service) {
  PortTables out;
  if (service.cluster_ips.empty()) return out;  // headless, ExternalName, or no address assigned yet
  for (const auto& port : service.ports) {
    for (const bool v6 : {false, true}) {
      for (const auto& frontend : frontends_of(service, port, v6)) {
        const PortKey key{.service = service.id,
                          .protocol = port.protocol,
                          .port = port.port,
                          .v6 = v6,
                          .external = service.internal_local && !is_cluster_ip(service, frontend.ip)};
        auto& table = out[key];
        table.frontends.push_back(frontend);
        table.affinity_seconds = service.affinity_seconds;
        table.maglev = service.maglev;
      }
    }
  }
  return out;
}

PortTables compile_service(const model::Service& service,
                           std::span<const std::shared_ptr<const model::EndpointSlice>> slices,
                           const Topology& topology) {
  auto out = compile_frontends(service);
  for (auto& [key, table] : out) {
    const auto port = std::ranges::find_if(service.ports, [&, &wanted = key](const model::ServicePort& one) {
      return one.protocol == wanted.protocol && one.port == wanted.port;
    });
    const bool only_local = service.internal_local && !key.external;
    table.backends = to_backends(find_eligible(service, only_local, find_candidates(*port, key.v6, slices), topology));
  }
  return out;
}

}  // namespace underpass::compile
