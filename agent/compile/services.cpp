// SPDX-License-Identifier: Apache-2.0
// What changed from one snapshot to the next, and the tables that follow from it.
#include "agent/compile/services.h"

#include <algorithm>
#include <utility>

#include "agent/compile/service_ports.h"

namespace underpass::compile {
namespace {

// Of the objects that the compiler knows (`known`, by id) or the snapshot has, those that may be others.
template <typename Known, typename Objects>
std::set<NamespacedName> suspects(const Known& known, const Objects& objects, const std::set<NamespacedName>& changed,
                                  bool everything) {
  if (!everything) return changed;
  std::set<NamespacedName> out;
  for (const auto& [id, object] : known) out.insert(id);
  for (const auto& [id, object] : objects) out.insert(id);
  return out;
}

// Null: not there.
template <typename T>
std::shared_ptr<const T> find(const std::map<NamespacedName, std::shared_ptr<const T>>& objects,
                              const NamespacedName& id) {
  const auto found = objects.find(id);
  return found == objects.end() ? nullptr : found->second;
}

std::string path_of(const model::Service& service, const Frontend& frontend) {
  if (is_cluster_ip(service, frontend.ip)) return "spec.clusterIPs";
  if (std::ranges::find(service.external_ips, frontend.ip) != service.external_ips.end()) return "spec.externalIPs";
  return "spec.ports[].nodePort";
}

PortTables::const_iterator first_of(const PortTables& tables, const NamespacedName& id) {
  return tables.lower_bound({.service = id, .protocol = model::Protocol{}, .port = 0, .v6 = false});
}

}  // namespace

ServiceCompiler::Update ServiceCompiler::update(const model::Snapshot& snapshot, const std::string& node_name,
                                                const model::Changes& changes) {
  static const model::Changes kEverything{.everything = true};
  const auto& looked_at = std::exchange(seen_, true) ? changes : kEverything;
  Ids dirty;
  update_topology(snapshot, node_name, looked_at, dirty);
  update_services(snapshot, looked_at, dirty);
  update_slices(snapshot, looked_at, dirty);
  update_derived(snapshot, looked_at, dirty);
  Update out;
  for (const auto& id : dirty) replace_tables(id, out);
  if (!dirty.empty() && !(conflicts_.empty() && contested_.empty())) list_conflicts();
  return out;
}

void ServiceCompiler::update_topology(const model::Snapshot& snapshot, const std::string& node_name,
                                      const model::Changes& changes, Ids& dirty) {
  if (!changes.everything && !changes.nodes && node_name == topology_.node_name) return;
  node_addresses_.clear();
  for (const auto& [name, node] : snapshot.nodes) {
    node_addresses_.insert(node_addresses_.end(), node.addresses.begin(), node.addresses.end());
  }
  std::ranges::sort(node_addresses_);
  const auto twice = std::ranges::unique(node_addresses_);
  node_addresses_.erase(twice.begin(), twice.end());

  const auto here = snapshot.nodes.find(node_name);
  Topology topology{.node_name = node_name, .zone = here == snapshot.nodes.end() ? "" : here->second.zone};
  if (topology == topology_) return;
  topology_ = std::move(topology);
  for (const auto& [id, inputs] : inputs_) dirty.insert(id);
}

void ServiceCompiler::update_services(const model::Snapshot& snapshot, const model::Changes& changes, Ids& dirty) {
  for (const auto& id : suspects(inputs_, snapshot.services, changes.services, changes.everything)) {
    const auto now = find(snapshot.services, id);
    const auto known = inputs_.find(id);
    const auto before = known == inputs_.end() ? nullptr : known->second.service;
    if (now != before) replace_service(id, now, dirty);
  }
}

void ServiceCompiler::update_slices(const model::Snapshot& snapshot, const model::Changes& changes, Ids& dirty) {
  for (const auto& id : suspects(slices_, snapshot.slices, changes.slices, changes.everything)) {
    const auto now = find(snapshot.slices, id);
    const auto before = find(slices_, id);
    if (now == before) continue;
    if (before != nullptr && !before->service.empty()) {
      const NamespacedName service{id.ns, before->service};
      std::erase(inputs_[service].slices, before);
      dirty.insert(service);
    }
    if (now != nullptr && !now->service.empty()) {
      const NamespacedName service{id.ns, now->service};
      inputs_[service].slices.push_back(now);
      dirty.insert(service);
    }
    if (now == nullptr)
      slices_.erase(id);
    else
      slices_[id] = now;
  }
}

void ServiceCompiler::update_derived(const model::Snapshot& snapshot, const model::Changes& changes, Ids& dirty) {
  for (const auto& id : dirty) {
    const auto& inputs = inputs_[id];
    const auto& service = inputs.service;
    if (missing_slices_ == MissingSlices::kDerived && service != nullptr && inputs.slices.empty() &&
        !service->cluster_ips.empty() && !service->selector.empty()) {
      derived_.want(service);
    } else {
      derived_.forget(id);
    }
    if (service == nullptr && inputs.slices.empty()) inputs_.erase(id);
  }
  dirty.merge(derived_.update(snapshot, changes));
}

// Claims, and with them everybody's frontends, depend on the Service alone, not on what is behind it.
void ServiceCompiler::replace_service(const NamespacedName& id, const std::shared_ptr<const model::Service>& now,
                                      Ids& dirty) {
  dirty.insert(id);
  auto& service = inputs_[id].service;
  if (service != nullptr) {
    mark_rivals(*service, dirty);
    withdraw(*service);
  }
  service = now;
  if (service != nullptr) {
    claim(*service);
    mark_rivals(*service, dirty);
  }
}

void ServiceCompiler::claim(const model::Service& service) {
  for (const auto& [key, table] : compile_frontends(service)) {
    for (const auto& frontend : table.frontends) {
      auto& claims = claims_[frontend];
      const auto place =
          std::ranges::find_if(claims, [&, &mine = key](const auto& one) { return is_before(frontend, mine, one); });
      claims.insert(place, key);
      if (claims.size() > 1) contested_.insert(frontend);
    }
  }
}

void ServiceCompiler::withdraw(const model::Service& service) {
  for (const auto& [key, table] : compile_frontends(service)) {
    for (const auto& frontend : table.frontends) {
      const auto claims = claims_.find(frontend);
      std::erase(claims->second, key);
      if (claims->second.size() < 2) contested_.erase(frontend);
      if (claims->second.empty()) claims_.erase(claims);
    }
  }
}

// Those that have, or lack, a frontend because of this Service.
void ServiceCompiler::mark_rivals(const model::Service& service, Ids& dirty) const {
  if (contested_.empty()) return;
  for (const auto& [key, table] : compile_frontends(service)) {
    for (const auto& frontend : table.frontends) {
      if (!contested_.contains(frontend)) continue;
      for (const auto& rival : claims_.at(frontend)) dirty.insert(rival.service);
    }
  }
}

// The Service whose cluster IP it is, then the older one; of two ports of one Service the first.
bool ServiceCompiler::is_before(const Frontend& frontend, const PortKey& a, const PortKey& b) const {
  const auto& service_a = *inputs_.at(a.service).service;
  const auto& service_b = *inputs_.at(b.service).service;
  const bool own_a = is_cluster_ip(service_a, frontend.ip);
  if (own_a != is_cluster_ip(service_b, frontend.ip)) return own_a;
  const auto& created_a = service_a.created;
  const auto& created_b = service_b.created;
  if (created_a == created_b) return a < b;
  return !created_a.empty() && (created_b.empty() || created_a < created_b);
}

PortTables ServiceCompiler::compile(const NamespacedName& id) const {
  const auto found = inputs_.find(id);
  if (found == inputs_.end() || found->second.service == nullptr) return {};
  const auto& inputs = found->second;
  auto out = compile_service(*inputs.service, inputs.slices.empty() ? derived_.slices(id) : inputs.slices, topology_);
  if (contested_.empty()) return out;
  for (auto& [key, table] : out) {
    std::erase_if(table.frontends, [&, &mine = key](const Frontend& frontend) {
      return contested_.contains(frontend) && claims_.at(frontend).front() != mine;
    });
  }
  std::erase_if(out, [](const auto& one) { return one.second.frontends.empty(); });
  return out;
}

void ServiceCompiler::replace_tables(const NamespacedName& id, Update& update) {
  auto next = compile(id);
  for (auto it = first_of(tables_, id); it != tables_.end() && it->first.service == id;) {
    const auto now = next.find(it->first);
    if (now == next.end()) {
      update.removed.insert(it->first);
      it = tables_.erase(it);
      continue;
    }
    if (now->second == it->second) next.erase(now);
    ++it;
  }
  for (auto& [key, table] : next) {
    update.changed.insert(key);
    tables_.insert_or_assign(key, std::move(table));
  }
}

void ServiceCompiler::list_conflicts() {
  std::map<NamespacedName, model::Diagnostic> refused;
  std::map<NamespacedName, std::size_t> more;
  for (const auto& frontend : contested_) {
    const auto& claims = claims_.at(frontend);
    for (auto loser = claims.begin() + 1; loser != claims.end(); ++loser) {
      const auto& id = loser->service;
      const auto [place, first] = refused.try_emplace(id);
      if (!first) {
        ++more[id];
        continue;
      }
      place->second = {.kind = "Service",
                       .id = id,
                       .state = model::Diagnostic::State::kRefused,
                       .path = path_of(*inputs_.at(id).service, frontend),
                       .cause = to_text(frontend) + " is already that of Service " + claims.front().service.to_string(),
                       .since = ""};
    }
  }
  conflicts_.clear();
  for (auto& [id, diagnostic] : refused) {
    if (const auto others = more.find(id); others != more.end()) {
      diagnostic.cause += " (and " + std::to_string(others->second) + " more)";
    }
    conflicts_.push_back(std::move(diagnostic));
  }
}

}  // namespace underpass::compile
