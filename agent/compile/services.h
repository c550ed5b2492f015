// SPDX-License-Identifier: Apache-2.0
// From Services and EndpointSlices to what connect() looks up: for every port of a Service, in each IP family, the
// addresses at which it is dialled and the backends that may be reached from this node. Pure; what is compiled again is
// only what changed, so that one slice among thousands costs one Service.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "agent/compile/derived_endpoints.h"
#include "underpass/ids.h"
#include "underpass/ip_address.h"
#include "underpass/model/objects.h"

namespace underpass::compile {

// An address at which a Service is dialled. Where the address is the unspecified one of its family (0.0.0.0, ::), it
// means any address of any node: a NodePort.
struct Frontend {
  IpAddress ip;
  std::uint16_t port = 0;
  model::Protocol protocol = model::Protocol::kTcp;

  auto operator<=>(const Frontend&) const = default;
};

struct Backend {
  IpAddress ip;
  std::uint16_t port = 0;
  std::uint16_t weight = 1;  // 1 to 100

  auto operator<=>(const Backend&) const = default;
};

// One port of a Service in one IP family. With internalTrafficPolicy: Local the cluster IPs, which alone follow it, and
// the other frontends have backends of their own.
struct PortKey {
  NamespacedName service;
  model::Protocol protocol = model::Protocol::kTcp;
  std::uint16_t port = 0;
  bool v6 = false;
  bool external = false;  // the other frontends of a Service whose cluster IPs are Local

  auto operator<=>(const PortKey&) const = default;
};

struct PortTable {
  std::vector<Frontend> frontends;  // sorted, distinct; never empty
  std::vector<Backend> backends;    // sorted, distinct; empty: nothing is ready, connect() is refused
  std::uint32_t affinity_seconds = 0;
  bool maglev = false;

  bool operator==(const PortTable&) const = default;
};

using PortTables = std::map<PortKey, PortTable>;

// The node whose pods dial: what "local", "same node" and "same zone" mean.
struct Topology {
  std::string node_name;
  std::string zone;  // empty: not known, and then no zone is preferred

  bool operator==(const Topology&) const = default;
};

// The ports of one Service. `slices` are those of this Service, in any order.
PortTables compile_service(const model::Service& service,
                           std::span<const std::shared_ptr<const model::EndpointSlice>> slices,
                           const Topology& topology);

// The slices that the endpoints controller would make: one for each family that a selected pod has an address of.
// `pods` are those of the Service's namespace. Empty without a selector. A pod counts that is scheduled, has an address
// of the family and is not terminated; ready, serving and terminating as the controller sets them. Pods of another
// weight, or whose named targetPort is another number, are in slices of their own.
std::vector<model::EndpointSlice> derive_slices(const model::Service& service, std::span<const model::Pod* const> pods);

// Where the endpoints of a Service come from that has a selector and no EndpointSlice. In a cluster the slices are
// written for it, and a Service without any has no endpoint yet.
enum class MissingSlices { kDerived, kNone };

// Keeps the tables of all Services, and compiles anew only those that a snapshot changed.

class ServiceCompiler {
 public:
  explicit ServiceCompiler(MissingSlices missing_slices = MissingSlices::kDerived) : missing_slices_(missing_slices) {}

  struct Update {
    std::set<PortKey> changed;  // in tables(): new, or other than before
    std::set<PortKey> removed;
    [[nodiscard]] bool empty() const { return changed.empty() && removed.empty(); }
  };

  // `changes`: since the last update; the first one looks at everything anyway. The keys of the snapshot's maps are the
  // ids of the objects.
  //
  // A frontend that two Services claim is that one's whose cluster IP it is (else who may make a Service could take
  // another's traffic by spec.externalIPs: CVE-2020-8554), and then the older one's (Service::created, then namespace
  // and name); the other is compiled without it, and conflicts() has a diagnostic: kind Service, state kRefused, path
  // "spec.clusterIPs", "spec.externalIPs" or "spec.ports[].nodePort", cause "10.96.0.10:80/TCP is already that of
  // Service shop/web", and how many more there are: a Service has one diagnostic, without `since`, because nothing here
  // knows the time.
  Update update(const model::Snapshot& snapshot, const std::string& node_name, const model::Changes& changes);

  [[nodiscard]] const PortTables& tables() const { return tables_; }
  [[nodiscard]] const std::vector<model::Diagnostic>& conflicts() const { return conflicts_; }
  // All addresses of nodes, sorted: where NodePorts are dialled.
  [[nodiscard]] const std::vector<IpAddress>& node_addresses() const { return node_addresses_; }

 private:
  // What a Service is compiled from: as long as these are the same objects, its tables are. Here as soon as there is a
  // Service or a slice of that name; a slice without its Service waits.
  struct Inputs {
    std::shared_ptr<const model::Service> service;
    SharedSlices slices;
  };
  using Ids = std::set<NamespacedName>;

  // Each takes over its part of the snapshot, and adds the Services that are to be compiled again.
  void update_topology(const model::Snapshot& snapshot, const std::string& node_name, const model::Changes& changes,
                       Ids& dirty);
  void update_services(const model::Snapshot& snapshot, const model::Changes& changes, Ids& dirty);
  void update_slices(const model::Snapshot& snapshot, const model::Changes& changes, Ids& dirty);
  void update_derived(const model::Snapshot& snapshot, const model::Changes& changes, Ids& dirty);

  void replace_service(const NamespacedName& id, const std::shared_ptr<const model::Service>& now, Ids& dirty);
  void claim(const model::Service& service);
  void withdraw(const model::Service& service);
  void mark_rivals(const model::Service& service, Ids& dirty) const;
  [[nodiscard]] bool is_before(const Frontend& frontend, const PortKey& a, const PortKey& b) const;
  [[nodiscard]] PortTables compile(const NamespacedName& id) const;
  void replace_tables(const NamespacedName& id, Update& update);
  void list_conflicts();

  MissingSlices missing_slices_;
  Topology topology_;
  std::map<NamespacedName, std::shared_ptr<const model::EndpointSlice>> slices_;
  std::map<NamespacedName, Inputs> inputs_;
  DerivedEndpoints derived_;
  std::map<Frontend, std::vector<PortKey>> claims_;  // the one who has it first
  std::set<Frontend> contested_;                     // claimed by more than one
  PortTables tables_;
  std::vector<model::Diagnostic> conflicts_;
  std::vector<IpAddress> node_addresses_;
  bool seen_ = false;  // a snapshot
};

// "10.96.0.10:80/TCP", "[fd00::1]:53/UDP".
std::string to_text(const Frontend& frontend);

// The tables as sorted text, one frontend or backend a line: what golden files hold.
std::string to_text(const PortTables& tables);

}  // namespace underpass::compile
