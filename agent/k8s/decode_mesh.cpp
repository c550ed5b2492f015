// SPDX-License-Identifier: Apache-2.0
// Mesh (underpass.dev/v1alpha1): what holds for the whole mesh, in one object.
#include <boost/json/value.hpp>
#include <string>
#include <utility>

#include "agent/k8s/decode.h"
#include "agent/k8s/decode_metadata.h"
#include "agent/k8s/decode_policy_values.h"
#include "agent/k8s/decode_values.h"
#include "agent/k8s/field.h"

namespace underpass::k8s {
namespace json = boost::json;

Decoded<model::MeshConfig> decode_mesh(const json::value& object) {
  Findings findings;
  const Field root(object, findings);
  expect_object(root, {"trustDomain", "rootNamespace"});
  const auto name = root["metadata"]["name"];
  const auto spec = root["spec"];

  model::MeshConfig out;
  if (decode_id(root["metadata"], kMeshNaming).name != model::kMeshName) {
    name.refuse("must be \"" + std::string(model::kMeshName) + "\": there is one Mesh");
  }
  if (auto domain = decode_name(spec["trustDomain"]); !domain.empty()) out.trust_domain = std::move(domain);
  if (auto ns = decode_label_name(spec["rootNamespace"]); !ns.empty()) out.root_namespace = std::move(ns);
  if (findings.error) return std::unexpected(std::move(*findings.error));
  return out;
}

}  // namespace underpass::k8s
