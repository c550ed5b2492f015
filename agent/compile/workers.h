// SPDX-License-Identifier: Apache-2.0
// Which workers this node needs, and what each is given: who is captured, in which namespace, and how the Mesh wants
// workers to be. A pure function of the snapshot and of what became of the pods.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>

#include "agent/compile/compile.h"
#include "underpass/ids.h"
#include "underpass/model/objects.h"
#include "underpass/routing_table.h"

namespace underpass::compile {

// The name of the worker of all namespaces, which no namespace can have.
inline constexpr const char* kSharedWorker = "_shared";

struct WorkerPod {
  NamespacedName id;
  std::string identity;  // spiffe://...
  bool v4 = false;       // it has addresses of that family
  bool v6 = false;

  bool operator==(const WorkerPod&) const = default;
};

struct WorkerPlan {
  std::string name;                  // the namespace's, or kSharedWorker
  std::set<std::string> namespaces;  // whose pods it serves
  ProxySettings settings;
  std::map<NetnsCookie, WorkerPod> pods;
  std::map<std::uint32_t, std::string> identities;  // of all enrolled pods of the node, any of which may be a client

  bool operator==(const WorkerPlan&) const = default;
};

// By name: a worker for each namespace that has an enrolled pod that is captured, or one for all of them
// (spec.isolation). The pods of `compiled` have their identities' numbers (PolicyCompiler::update).
std::map<std::string, WorkerPlan> plan_workers(const model::Snapshot& snapshot, const Compiled& compiled);

RoutingTable table_of(const WorkerPlan& plan, std::uint64_t revision);

// As sorted text: what golden files hold.
std::string to_text(const std::map<std::string, WorkerPlan>& plans);

}  // namespace underpass::compile
