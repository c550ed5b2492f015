// SPDX-License-Identifier: Apache-2.0
// The ports of pods to which Services lead: by selector, or by EndpointSlice where a Service has none. Kept from one
// snapshot to the next: a namespace whose Services are the same objects costs a look at each, and one without a worker
// nothing.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "underpass/model/objects.h"
#include "underpass/routing_table.h"

namespace underpass::compile {

class PodPorts {
 public:
  // Of TCP.
  struct Ports {
    std::map<std::uint16_t, PortProtocol> protocols;  // where Services differ: it is looked at what is spoken
    std::map<std::string, std::uint16_t> names;       // RoutingTable::Pod::services

    bool operator==(const Ports&) const = default;
  };

  // From here on, of() tells of this snapshot, which must outlive that.
  void begin(const model::Snapshot& snapshot);
  const Ports& of(const model::Pod& pod, const std::vector<IpAddress>& ips);

 private:
  using ServicePtr = std::shared_ptr<const model::Service>;
  using NamedPorts = std::map<std::string, std::uint16_t>;
  // What of a pod its ports depend on; without addresses where nothing asks for them.
  using Likeness = std::tuple<std::map<std::string, std::string>, NamedPorts, std::vector<IpAddress>>;
  struct Namespace {
    std::vector<ServicePtr> services;
    // Of Services without a selector.
    std::vector<std::pair<ServicePtr, std::shared_ptr<const model::EndpointSlice>>> slices;
    std::map<Likeness, Ports> pods;
  };

  Namespace& refresh(const std::string& ns);
  static Ports find(const Namespace& ns, const Likeness& pod);

  const model::Snapshot* snapshot_ = nullptr;
  std::set<std::string> refreshed_;  // since begin()
  std::map<std::string, Namespace> namespaces_;
};

}  // namespace underpass::compile
