// SPDX-License-Identifier: Apache-2.0
#include "agent/compile/port_protocols.h"

#include <algorithm>
#include <utility>
#include <variant>

#include "agent/compile/policy_scope.h"
#include "agent/compile/port_protocol.h"

namespace underpass::compile {
namespace {

using model::EndpointSlice;
using model::Protocol;

void add(PortProtocols::Ports& out, std::uint16_t port, PortProtocol protocol) {
  const auto [place, fresh] = out.try_emplace(port, protocol);
  if (!fresh && place->second != protocol) place->second = PortProtocol::kDetect;
}

bool has_address(const EndpointSlice& slice, const std::vector<IpAddress>& ips) {
  return std::ranges::any_of(slice.endpoints,
                             [&](const auto& endpoint) { return std::ranges::find(ips, endpoint.ip) != ips.end(); });
}

}  // namespace

void PortProtocols::begin(const model::Snapshot& snapshot) {
  std::erase_if(namespaces_, [&](const auto& entry) { return !refreshed_.contains(entry.first); });
  refreshed_.clear();
  snapshot_ = &snapshot;
}

const PortProtocols::Ports& PortProtocols::of(const model::Pod& pod, const std::vector<IpAddress>& ips) {
  auto& ns = refresh(pod.id.ns);
  Likeness likeness{pod.labels, {}, {}};
  for (const auto& port : pod.ports)
    if (port.protocol == Protocol::kTcp && !port.name.empty()) std::get<1>(likeness).emplace(port.name, port.port);
  if (!ns.slices.empty()) std::get<2>(likeness) = ips;
  const auto [place, fresh] = ns.pods.try_emplace(std::move(likeness));
  if (fresh) place->second = find(ns, place->first);
  return place->second;
}

PortProtocols::Namespace& PortProtocols::refresh(const std::string& name) {
  auto& ns = namespaces_[name];
  if (!refreshed_.insert(name).second) return ns;
  Namespace now;
  const NamespacedName first{name, ""};
  for (auto at = snapshot_->services.lower_bound(first); at != snapshot_->services.end() && at->first.ns == name; ++at)
    now.services.push_back(at->second);
  for (auto at = snapshot_->slices.lower_bound(first); at != snapshot_->slices.end() && at->first.ns == name; ++at) {
    const auto service = snapshot_->services.find({name, at->second->service});
    if (service != snapshot_->services.end() && service->second->selector.empty()) now.slices.push_back(at->second);
  }
  // Objects are shared: the same pointer is the same Service.
  if (now.services != ns.services || now.slices != ns.slices) ns = std::move(now);
  return ns;
}

PortProtocols::Ports PortProtocols::find(const Namespace& ns, const Likeness& pod) {
  const auto& [labels, named, ips] = pod;
  Ports out;
  for (const auto& service : ns.services) {
    if (service->selector.empty() || !selects(service->selector, labels)) continue;
    for (const auto& port : service->ports) {
      if (port.protocol != Protocol::kTcp) continue;
      const auto* const name = std::get_if<std::string>(&port.target);
      const auto container = name != nullptr ? named.find(*name) : named.end();
      if (name != nullptr && container == named.end()) continue;
      add(out, name != nullptr ? container->second : std::get<std::uint16_t>(port.target),
          protocol_of(port.app_protocol, port.name));
    }
  }
  for (const auto& slice : ns.slices) {
    if (!has_address(*slice, ips)) continue;
    for (const auto& port : slice->ports)
      if (port.protocol == Protocol::kTcp && port.port != 0)
        add(out, port.port, protocol_of(port.app_protocol, port.name));
  }
  return out;
}

}  // namespace underpass::compile
