// SPDX-License-Identifier: Apache-2.0
// The slices of the Services that have none of their own, kept up to date. Derived anew are only those Services that
// select a pod that changed; a slice that came out as before is the same object as before.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "underpass/ids.h"
#include "underpass/model/objects.h"

namespace underpass::compile {

using SharedSlices = std::vector<std::shared_ptr<const model::EndpointSlice>>;

// Every label that the Service asks for. A Service without a selector selects nothing.
bool selects(const model::Service& service, const model::Pod& pod);

class DerivedEndpoints {
 public:
  // From the next update() on, this Service, or this version of it, has slices here.
  void want(const std::shared_ptr<const model::Service>& service);
  void forget(const NamespacedName& id);

  // The Services that have other slices than before.
  std::set<NamespacedName> update(const model::Snapshot& snapshot, const model::Changes& changes);

  // Of a Service that is wanted; empty for another.
  [[nodiscard]] const SharedSlices& slices(const NamespacedName& id) const;

 private:
  struct Derived {
    std::shared_ptr<const model::Service> service;
    SharedSlices slices;
    bool stale = true;
  };
  struct PodsOfNamespace {
    std::vector<model::Pod> pods;  // sorted; as last seen, and only the fields that derive_slices() reads
    std::map<NamespacedName, Derived> services;
    bool seen = false;
  };

  static void update_pods(const model::Snapshot& snapshot, const std::string& ns, PodsOfNamespace& all);
  static void derive(const model::Snapshot& snapshot, PodsOfNamespace& all, std::set<NamespacedName>& changed);

  std::map<std::string, PodsOfNamespace> namespaces_;  // those with a wanted Service
};

}  // namespace underpass::compile
