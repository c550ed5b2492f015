// SPDX-License-Identifier: Apache-2.0
#include "agent/compile/pod_ports.h"

#include <algorithm>
#include <utility>
#include <variant>

#include "agent/compile/policy_scope.h"
#include "agent/compile/port_protocol.h"

namespace underpass::compile {
namespace {

using model::EndpointSlice;
using model::Protocol;

void add_protocol(PodPorts::Ports& out, std::uint16_t port, PortProtocol protocol) {
  const auto [place, fresh] = out.protocols.try_emplace(port, protocol);
  if (!fresh && place->second != protocol) place->second = PortProtocol::kDetect;
}

void add_name(PodPorts::Ports& out, const model::Service& service, std::uint16_t port, std::uint16_t target) {
  out.names.emplace(service.id.name + "." + service.id.ns + ".svc.cluster.local:" + std::to_string(port), target);
}

bool has_address(const EndpointSlice& slice, const std::vector<IpAddress>& ips) {
  return std::ranges::any_of(slice.endpoints,
                             [&](const auto& endpoint) { return std::ranges::find(ips, endpoint.ip) != ips.end(); });
}

}  // namespace

void PodPorts::begin(const model::Snapshot& snapshot) {
  std::erase_if(namespaces_, [&](const auto& entry) { return !refreshed_.contains(entry.first); });
  refreshed_.clear();
  snapshot_ = &snapshot;
}

const PodPorts::Ports& PodPorts::of(const model::Pod& pod, const std::vector<IpAddress>& ips) {
  auto& ns = refresh(pod.id.ns);
  Likeness likeness{pod.labels, {}, {}};
  for (const auto& port : pod.ports)
    if (port.protocol == Protocol::kTcp && !port.name.empty()) std::get<1>(likeness).emplace(port.name, port.port);
  if (!ns.slices.empty()) std::get<2>(likeness) = ips;
  const auto [place, fresh] = ns.pods.try_emplace(std::move(likeness));
  if (fresh) place->second = find(ns, place->first);
  return place->second;
}

PodPorts::Namespace& PodPorts::refresh(const std::string& name) {
  auto& ns = namespaces_[name];
  if (!refreshed_.insert(name).second) return ns;
  Namespace now;
  const NamespacedName first{name, ""};
  for (auto at = snapshot_->services.lower_bound(first); at != snapshot_->services.end() && at->first.ns == name; ++at)
    now.services.push_back(at->second);
  for (auto at = snapshot_->slices.lower_bound(first); at != snapshot_->slices.end() && at->first.ns == name; ++at) {
    const auto service = snapshot_->services.find({name, at->second->service});
    if (service != snapshot_->services.end() && service->second->selector.empty())
      now.slices.emplace_back(service->second, at->second);
  }
  // Objects are shared: the same pointer is the same Service.
  if (now.services != ns.services || now.slices != ns.slices) ns = std::move(now);
  return ns;
}

PodPorts::Ports PodPorts::find(const Namespace& ns, const Likeness& pod) {
  const auto& [labels, named, ips] = pod;
  Ports out;
  for (const auto& service : ns.services) {
    if (service->selector.empty() || !selects(service->selector, labels)) continue;
    for (const auto& port : service->ports) {
      if (port.protocol != Protocol::kTcp) continue;
      const auto* const name = std::get_if<std::string>(&port.target);
      const auto container = name != nullptr ? named.find(*name) : named.end();
      if (name != nullptr && container == named.end()) continue;
      const auto target = name != nullptr ? container->second : std::get<std::uint16_t>(port.target);
      add_protocol(out, target, protocol_of(port.app_protocol, port.name));
      add_name(out, *service, port.port, target);
    }
  }
  for (const auto& [service, slice] : ns.slices) {
    if (!has_address(*slice, ips)) continue;
    for (const auto& target : slice->ports) {
      if (target.protocol != Protocol::kTcp || target.port == 0) continue;
      add_protocol(out, target.port, protocol_of(target.app_protocol, target.name));
      for (const auto& port : service->ports)
        if (port.protocol == Protocol::kTcp && port.name == target.name)
          add_name(out, *service, port.port, target.port);
    }
  }
  return out;
}

}  // namespace underpass::compile
