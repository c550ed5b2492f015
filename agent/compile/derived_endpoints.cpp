// SPDX-License-Identifier: Apache-2.0
#include "agent/compile/derived_endpoints.h"

#include <algorithm>
#include <iterator>
#include <span>
#include <tuple>
#include <unordered_map>
#include <utility>

#include "agent/compile/services.h"

namespace underpass::compile {
namespace {

// What derive_slices() reads of a pod.
auto facts_of(const model::Pod& pod) {
  return std::tie(pod.id, pod.node_name, pod.ips, pod.labels, pod.terminated, pod.ready, pod.deleting, pod.ports,
                  pod.weight);
}

model::Pod copy_facts(const model::Pod& pod) {
  model::Pod out;
  std::tie(out.id, out.node_name, out.ips, out.labels, out.terminated, out.ready, out.deleting, out.ports, out.weight) =
      facts_of(pod);
  return out;
}

// Pods by each of their labels: a thousand Services in a namespace need not look at all of its pods each.
class PodIndex {
 public:
  explicit PodIndex(std::span<const model::Pod> pods) {
    for (const auto& pod : pods) {
      for (const auto& [name, value] : pod.labels) by_label_[name + "=" + value].push_back(&pod);
    }
  }

  // All that the selector selects, and others: those with its rarest label.
  [[nodiscard]] std::span<const model::Pod* const> find(const model::Service& service) const {
    const std::vector<const model::Pod*>* rarest = nullptr;
    for (const auto& [name, value] : service.selector) {
      const auto found = by_label_.find(name + "=" + value);
      if (found == by_label_.end()) return {};
      if (rarest == nullptr || found->second.size() < rarest->size()) rarest = &found->second;
    }
    return rarest == nullptr ? std::span<const model::Pod* const>() : *rarest;
  }

 private:
  std::unordered_map<std::string, std::vector<const model::Pod*>> by_label_;
};

std::vector<model::EndpointSlice> with_zones(std::vector<model::EndpointSlice> slices,
                                             const model::Snapshot& snapshot) {
  for (auto& slice : slices) {
    for (auto& endpoint : slice.endpoints) {
      const auto node = snapshot.nodes.find(endpoint.node_name);
      if (node != snapshot.nodes.end()) endpoint.zone = node->second.zone;
    }
  }
  return slices;
}

// Whether `now` are other slices than `before`, which then become them.
bool replace(SharedSlices& before, std::vector<model::EndpointSlice> now) {
  const auto same = [](const auto& a, const auto& b) { return *a == b; };
  if (std::ranges::equal(before, now, same)) return false;
  before.resize(now.size());
  for (std::size_t i = 0; i < now.size(); ++i) {
    if (before[i] == nullptr || *before[i] != now[i]) {
      before[i] = std::make_shared<const model::EndpointSlice>(std::move(now[i]));
    }
  }
  return true;
}

}  // namespace

void DerivedEndpoints::want(const std::shared_ptr<const model::Service>& service) {
  auto& derived = namespaces_[service->id.ns].services[service->id];
  if (derived.service == service) return;
  derived.service = service;
  derived.stale = true;
}

void DerivedEndpoints::forget(const NamespacedName& id) {
  const auto found = namespaces_.find(id.ns);
  if (found == namespaces_.end()) return;
  found->second.services.erase(id);
  if (found->second.services.empty()) namespaces_.erase(found);
}

const SharedSlices& DerivedEndpoints::slices(const NamespacedName& id) const {
  static const SharedSlices kNone;
  const auto ns = namespaces_.find(id.ns);
  if (ns == namespaces_.end()) return kNone;
  const auto derived = ns->second.services.find(id);
  return derived == ns->second.services.end() ? kNone : derived->second.slices;
}

std::set<NamespacedName> DerivedEndpoints::update(const model::Snapshot& snapshot, const model::Changes& changes) {
  std::set<std::string> touched;
  for (const auto& pod : changes.pods) touched.insert(pod.ns);
  std::set<NamespacedName> changed;
  for (auto& [ns, all] : namespaces_) {
    if (!std::exchange(all.seen, true) || changes.everything || touched.contains(ns)) update_pods(snapshot, ns, all);
    if (changes.everything || changes.nodes) {  // an endpoint's zone is its node's
      for (auto& [id, derived] : all.services) derived.stale = true;
    }
    derive(snapshot, all, changed);
  }
  return changed;
}

// Takes over the pods, and marks the Services that select one that changed, as it was or as it is.
void DerivedEndpoints::update_pods(const model::Snapshot& snapshot, const std::string& ns, PodsOfNamespace& all) {
  const auto mark = [&](const model::Pod& pod) {
    for (auto& [id, derived] : all.services) derived.stale = derived.stale || selects(*derived.service, pod);
  };
  auto now = snapshot.pods.lower_bound({ns, ""});
  const auto is_here = [&] { return now != snapshot.pods.end() && now->first.ns == ns; };
  auto before = all.pods.begin();
  for (; is_here() && before != all.pods.end() && facts_of(*before) == facts_of(now->second); ++before) ++now;
  if (!is_here() && before == all.pods.end()) return;

  std::vector<model::Pod> pods(std::make_move_iterator(all.pods.begin()), std::make_move_iterator(before));
  while (is_here() || before != all.pods.end()) {
    const bool gone = !is_here() || (before != all.pods.end() && before->id < now->first);
    const bool fresh = before == all.pods.end() || (is_here() && now->first < before->id);
    if (gone) {
      mark(*before++);
    } else if (fresh) {
      mark(pods.emplace_back(copy_facts(now++->second)));
    } else if (facts_of(*before) == facts_of(now->second)) {
      pods.push_back(std::move(*before++));
      ++now;
    } else {
      mark(*before++);
      mark(pods.emplace_back(copy_facts(now++->second)));
    }
  }
  all.pods = std::move(pods);
}

void DerivedEndpoints::derive(const model::Snapshot& snapshot, PodsOfNamespace& all,
                              std::set<NamespacedName>& changed) {
  const auto stale = std::ranges::count_if(all.services, [](const auto& one) { return one.second.stale; });
  if (stale == 0) return;
  // An index costs about as much as looking at every pod a few times.
  constexpr std::ptrdiff_t kWorthAnIndex = 8;
  const PodIndex index(stale < kWorthAnIndex ? std::span<const model::Pod>() : all.pods);
  std::vector<const model::Pod*> pods;
  if (stale < kWorthAnIndex) {
    for (const auto& pod : all.pods) pods.push_back(&pod);
  }
  for (auto& [id, derived] : all.services) {
    if (!std::exchange(derived.stale, false)) continue;
    const auto candidates =
        stale < kWorthAnIndex ? std::span<const model::Pod* const>(pods) : index.find(*derived.service);
    if (replace(derived.slices, with_zones(derive_slices(*derived.service, candidates), snapshot))) changed.insert(id);
  }
}

}  // namespace underpass::compile
