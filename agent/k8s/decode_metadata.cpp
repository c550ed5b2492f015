// SPDX-License-Identifier: Apache-2.0
#include "agent/k8s/decode_metadata.h"

#include <initializer_list>
#include <optional>
#include <string>
#include <utility>

#include "agent/k8s/names.h"

namespace underpass::k8s {
namespace {

template <typename T>
std::optional<T> decode_choice(const Field& field, std::initializer_list<std::pair<std::string_view, T>> choices) {
  const auto text = field.string();
  if (!text) return std::nullopt;
  std::string allowed;
  for (const auto& [name, value] : choices) {
    if (*text == name) return value;
    allowed += (allowed.empty() ? "" : ", ") + std::string(name);
  }
  field.refuse("must be one of " + allowed);
  return std::nullopt;
}

}  // namespace

NamespacedName decode_id(const Field& metadata, Scope scope) {
  NamespacedName id;
  const auto name = metadata["name"];
  const auto ns = metadata["namespace"];
  id.name = name.string().value_or("");
  if (id.name.empty()) {
    name.refuse_field("missing");
  } else if (scope == Scope::kCluster ? !is_dns_label(id.name) : !is_dns_subdomain(id.name)) {
    name.refuse(scope == Scope::kCluster ? "not an RFC 1123 label (a-z, 0-9 and -, at most 63)"
                                         : "not an RFC 1123 subdomain (a-z, 0-9, - and ., at most 253)");
  }
  if (scope == Scope::kCluster) return id;
  id.ns = ns.string().value_or("");
  if (id.ns.empty()) {
    id.ns = "default";
  } else if (!is_dns_label(id.ns)) {
    ns.refuse("not an RFC 1123 label (a-z, 0-9 and -, at most 63)");
  }
  return id;
}

model::MeshSettings decode_mesh_settings(const Field& metadata) {
  using model::ShortCircuit;
  using model::ShortCircuitPeers;
  const auto labels = metadata["labels"];
  const auto annotations = metadata["annotations"];
  return {
      .mesh = decode_choice<bool>(labels["underpass.dev/mesh"], {{"enabled", true}, {"disabled", false}}),
      .short_circuit = decode_choice<ShortCircuit>(
          annotations["underpass.dev/short-circuit"],
          {{"auto", ShortCircuit::kAuto}, {"on", ShortCircuit::kOn}, {"off", ShortCircuit::kOff}}),
      .short_circuit_peers = decode_choice<ShortCircuitPeers>(
          annotations["underpass.dev/short-circuit-peers"],
          {{"namespace", ShortCircuitPeers::kNamespace}, {"mesh", ShortCircuitPeers::kMesh}}),
  };
}

}  // namespace underpass::k8s
