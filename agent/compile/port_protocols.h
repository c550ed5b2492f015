// SPDX-License-Identifier: Apache-2.0
// What is spoken at the ports of pods, as the Services say that lead there: by selector, or by EndpointSlice where a
// Service has none. Kept from one snapshot to the next: a namespace whose Services are the same objects costs a look at
// each, and one without a worker nothing.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "underpass/model/objects.h"
#include "underpass/routing_table.h"

namespace underpass::compile {

class PortProtocols {
 public:
  using Ports = std::map<std::uint16_t, PortProtocol>;

  // From here on, of() tells of this snapshot, which must outlive that.
  void begin(const model::Snapshot& snapshot);
  // Ports of TCP that a Service leads to. Where several differ it is looked at what is spoken.
  const Ports& of(const model::Pod& pod, const std::vector<IpAddress>& ips);

 private:
  using NamedPorts = std::map<std::string, std::uint16_t>;
  // What of a pod its ports depend on; without addresses where nothing asks for them.
  using Likeness = std::tuple<std::map<std::string, std::string>, NamedPorts, std::vector<IpAddress>>;
  struct Namespace {
    std::vector<std::shared_ptr<const model::Service>> services;
    std::vector<std::shared_ptr<const model::EndpointSlice>> slices;  // of Services without a selector
    std::map<Likeness, Ports> pods;
  };

  Namespace& refresh(const std::string& ns);
  static Ports find(const Namespace& ns, const Likeness& pod);

  const model::Snapshot* snapshot_ = nullptr;
  std::set<std::string> refreshed_;  // since begin()
  std::map<std::string, Namespace> namespaces_;
};

}  // namespace underpass::compile
