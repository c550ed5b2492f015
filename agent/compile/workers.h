// SPDX-License-Identifier: Apache-2.0
// Which workers this node needs, and what each is given: who is captured, in which namespace, what policy asks there,
// and how the Mesh wants workers to be. Follows from the snapshot and from what became of the pods.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "agent/compile/compile.h"
#include "agent/compile/pod_ports.h"
#include "underpass/ids.h"
#include "underpass/model/objects.h"
#include "underpass/routing_table.h"

namespace underpass::compile {

// The name of the worker of all namespaces, which no namespace can have.
inline constexpr const char* kSharedWorker = "_shared";
// Whether the worker of that name may serve pods of this namespace, and speak of them.
inline bool is_worker_of(std::string_view worker, std::string_view ns) {
  return worker == ns || worker == kSharedWorker;
}

struct WorkerPod {
  NamespacedName id;
  std::string identity;  // spiffe://...
  bool v4 = false;       // it has addresses of that family
  bool v6 = false;
  bool inbound_only = false;  // what it dials itself is no worker's, but for tunnels
  bool tunnel_only = false;   // nothing but tunnels is
  std::map<std::string, std::string> labels;
  std::map<std::uint16_t, PortProtocol> ports;
  std::optional<std::uint32_t> policies;          // index of WorkerPlan::policy_sets
  bool tunnels = false;                           // it speaks HBONE with other nodes
  std::map<std::string, std::uint16_t> services;  // RoutingTable::Pod::services

  bool operator==(const WorkerPod&) const = default;
};

struct WorkerPlan {
  std::string name;                  // the namespace's, or kSharedWorker
  std::set<std::string> namespaces;  // whose pods it serves
  ProxySettings settings;
  std::map<NetnsCookie, WorkerPod> pods;
  std::map<std::uint32_t, std::string> identities;  // of all enrolled pods of the node, any of which may be a client
  std::string trust_domain;
  // Each once; equal content is the same object from one plan to the next.
  std::vector<std::shared_ptr<const HttpPolicySet>> policy_sets;
  std::map<std::string, RoutingTable::Provider> providers;  // that these policies name, and the Mesh has
  std::map<std::string, std::string> jwks;                  // what was fetched for them: who has that fills it in
  std::map<std::string, Certificate> certificates;          // by identity, of pods that tunnel: as `jwks`
  std::string trust_bundle;                                 // ... and so

  bool operator==(const WorkerPlan&) const = default;
};

class WorkerPlanner {
 public:
  // By name: a worker for each namespace that has an enrolled pod that is captured, or one for all of them
  // (spec.isolation). The pods of `compiled` have been through PolicyCompiler::update().
  std::map<std::string, WorkerPlan> plan(const model::Snapshot& snapshot, const Compiled& compiled);

 private:
  PodPorts ports_;
};

RoutingTable table_of(const WorkerPlan& plan, std::uint64_t revision);

// As sorted text: what golden files hold.
std::string to_text(const std::map<std::string, WorkerPlan>& plans);

}  // namespace underpass::compile
