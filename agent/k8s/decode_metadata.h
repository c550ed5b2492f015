// SPDX-License-Identifier: Apache-2.0
// What every object has in its metadata: its name, and our label and annotations.
#pragma once

#include "agent/k8s/field.h"
#include "underpass/ids.h"
#include "underpass/model/objects.h"

namespace underpass::k8s {

enum class Scope { kCluster, kNamespaced };

// Name and namespace ("default" where a namespaced object says none), both valid unless an error was recorded.
NamespacedName decode_id(const Field& metadata, Scope scope);

// The label underpass.dev/mesh and the annotations underpass.dev/short-circuit and underpass.dev/short-circuit-peers.
model::MeshSettings decode_mesh_settings(const Field& metadata);

}  // namespace underpass::k8s
