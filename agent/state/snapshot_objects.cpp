// SPDX-License-Identifier: Apache-2.0
#include "agent/state/snapshot_objects.h"

#include <cassert>
#include <memory>
#include <type_traits>
#include <variant>

namespace underpass::state {
namespace {

// Calls `use` with the map that has this kind of object and the object's key in it.
template <typename Snapshot, typename Use>
auto in_its_map(Snapshot& snapshot, const ObjectKey& key, const Use& use) {
  if (key.kind == "Namespace") return use(snapshot.namespaces, key.id.name);
  if (key.kind == "ServiceAccount") return use(snapshot.service_accounts, key.id);
  if (key.kind == "Service") return use(snapshot.services, key.id);
  if (key.kind == "EndpointSlice") return use(snapshot.slices, key.id);
  if (key.kind == "Node") return use(snapshot.nodes, key.id.name);
  assert(key.kind == "Pod");
  return use(snapshot.pods, key.id);
}

template <typename T>
bool equal(const T& a, const T& b) {
  return a == b;
}
template <typename T>
bool equal(const std::shared_ptr<const T>& a, const std::shared_ptr<const T>& b) {
  return a == b || *a == *b;
}

template <typename Map>
using ObjectOf = typename std::remove_cvref_t<Map>::mapped_type;

}  // namespace

bool contains(const model::Snapshot& snapshot, const ObjectKey& key) {
  return in_its_map(snapshot, key, [](const auto& objects, const auto& name) { return objects.contains(name); });
}

bool holds(const model::Snapshot& snapshot, const ObjectKey& key, const k8s::Object& object) {
  return in_its_map(snapshot, key, [&](const auto& objects, const auto& name) {
    const auto found = objects.find(name);
    return found != objects.end() && equal(found->second, std::get<ObjectOf<decltype(objects)>>(object));
  });
}

void put(model::Snapshot& snapshot, const ObjectKey& key, const k8s::Object& object) {
  in_its_map(snapshot, key, [&](auto& objects, const auto& name) {
    objects.insert_or_assign(name, std::get<ObjectOf<decltype(objects)>>(object));
  });
}

void remove(model::Snapshot& snapshot, const ObjectKey& key) {
  in_its_map(snapshot, key, [](auto& objects, const auto& name) { objects.erase(name); });
}

void note(const ObjectKey& key, model::Changes& changes) {
  if (key.kind == "Service") changes.services.insert(key.id);
  if (key.kind == "EndpointSlice") changes.slices.insert(key.id);
  if (key.kind == "Pod") changes.pods.insert(key.id);
  if (key.kind == "Node") changes.nodes = true;
}

}  // namespace underpass::state
