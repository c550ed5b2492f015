// SPDX-License-Identifier: Apache-2.0
#include "agent/state/snapshot_objects.h"

#include <cassert>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <variant>

namespace underpass::state {
namespace {

// Calls `use` with the map that has this kind of object and the object's key in it; the one Mesh is in an
// optional, and the decoder sees to its name.
template <typename Snapshot, typename Use>
auto in_its_map(Snapshot& snapshot, const ObjectKey& key, const Use& use) {
  if (key.kind == "Namespace") return use(snapshot.namespaces, key.id.name);
  if (key.kind == "ServiceAccount") return use(snapshot.service_accounts, key.id);
  if (key.kind == "Service") return use(snapshot.services, key.id);
  if (key.kind == "EndpointSlice") return use(snapshot.slices, key.id);
  if (key.kind == "Node") return use(snapshot.nodes, key.id.name);
  if (key.kind == "AuthorizationPolicy") return use(snapshot.authorization_policies, key.id);
  if (key.kind == "PeerAuthentication") return use(snapshot.peer_authentications, key.id);
  if (key.kind == "RequestAuthentication") return use(snapshot.request_authentications, key.id);
  if (key.kind == "NodeWorkloads") return use(snapshot.node_workloads, key.id.name);
  if (key.kind == "Mesh") return use(snapshot.mesh, key.id.name);
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

template <typename Name, typename T>
const T* find_in(const std::map<Name, T>& objects, const Name& name) {
  const auto found = objects.find(name);
  return found == objects.end() ? nullptr : &found->second;
}
const model::MeshConfig* find_in(const std::optional<model::MeshConfig>& mesh, const std::string& name) {
  return mesh && name == model::kMeshName ? &*mesh : nullptr;
}

template <typename Name, typename T>
void put_in(std::map<Name, T>& objects, const Name& name, const k8s::Object& object) {
  objects.insert_or_assign(name, std::get<T>(object));
}
void put_in(std::optional<model::MeshConfig>& mesh, const std::string& /*name*/, const k8s::Object& object) {
  mesh = std::get<model::MeshConfig>(object);
}

template <typename Name, typename T>
void remove_from(std::map<Name, T>& objects, const Name& name) {
  objects.erase(name);
}
void remove_from(std::optional<model::MeshConfig>& mesh, const std::string& /*name*/) { mesh.reset(); }

}  // namespace

bool contains(const model::Snapshot& snapshot, const ObjectKey& key) {
  return in_its_map(snapshot, key,
                    [](const auto& objects, const auto& name) { return find_in(objects, name) != nullptr; });
}

bool holds(const model::Snapshot& snapshot, const ObjectKey& key, const k8s::Object& object) {
  return in_its_map(snapshot, key, [&](const auto& objects, const auto& name) {
    const auto* found = find_in(objects, name);
    return found != nullptr && equal(*found, std::get<std::remove_cvref_t<decltype(*found)>>(object));
  });
}

void put(model::Snapshot& snapshot, const ObjectKey& key, const k8s::Object& object) {
  in_its_map(snapshot, key, [&](auto& objects, const auto& name) { put_in(objects, name, object); });
}

void remove(model::Snapshot& snapshot, const ObjectKey& key) {
  in_its_map(snapshot, key, [](auto& objects, const auto& name) { remove_from(objects, name); });
}

void note(const ObjectKey& key, model::Changes& changes) {
  if (key.kind == "Service") changes.services.insert(key.id);
  if (key.kind == "EndpointSlice") changes.slices.insert(key.id);
  if (key.kind == "Pod") changes.pods.insert(key.id);
  if (key.kind == "NodeWorkloads") changes.node_workloads.insert(key.id.name);
  if (key.kind == "Node") changes.nodes = true;
  if (key.kind == "Namespace") changes.namespaces = true;
  note_problem(key, changes);
}

void note_problem(const ObjectKey& key, model::Changes& changes) {
  if (model::is_policy_kind(key.kind)) changes.policies = true;
}

}  // namespace underpass::state
