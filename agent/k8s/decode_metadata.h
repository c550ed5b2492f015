// SPDX-License-Identifier: Apache-2.0
// What objects of several kinds have in their metadata: their name, and our label and annotations.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "agent/k8s/field.h"
#include "underpass/ids.h"
#include "underpass/model/objects.h"

namespace underpass::k8s {

// How the objects of a kind are named: in a namespace or not, by an RFC 1123 label or a subdomain.
struct Naming {
  bool namespaced = true;
  bool label = false;
};
inline constexpr Naming kNamespaceNaming{.namespaced = false, .label = true};
inline constexpr Naming kNodeNaming{.namespaced = false, .label = false};
inline constexpr Naming kMeshNaming{.namespaced = false, .label = false};
inline constexpr Naming kServiceNaming{.namespaced = true, .label = true};
inline constexpr Naming kUsualNaming{.namespaced = true, .label = false};

// The annotation by which Istio applies a policy for show.
inline constexpr std::string_view kDryRun = "istio.io/dry-run";

// Name and namespace ("default" where a namespaced object says none), both valid unless an error was recorded.
NamespacedName decode_id(const Field& metadata, Naming naming);

// metadata.creationTimestamp as the API server writes it, so that the older of two is the smaller text; or empty.
std::string decode_created(const Field& metadata);

// The annotation underpass.dev/weight, 1 to 100; 1 where there is none.
std::uint16_t decode_weight(const Field& metadata);

// The label underpass.dev/mesh.
std::optional<bool> decode_mesh_label(const Field& metadata);

// The label underpass.dev/mesh and the annotations underpass.dev/short-circuit, underpass.dev/short-circuit-peers,
// underpass.dev/capture and underpass.dev/local-mtls.
model::MeshSettings decode_mesh_settings(const Field& metadata);

}  // namespace underpass::k8s
