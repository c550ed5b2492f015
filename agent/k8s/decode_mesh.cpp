// SPDX-License-Identifier: Apache-2.0
// Mesh (underpass.dev/v1alpha1): what holds for the whole mesh, in one object.
#include <boost/json/value.hpp>
#include <chrono>
#include <string>
#include <utility>

#include "agent/k8s/decode.h"
#include "agent/k8s/decode_duration.h"
#include "agent/k8s/decode_ext_authz.h"
#include "agent/k8s/decode_http_settings.h"
#include "agent/k8s/decode_metadata.h"
#include "agent/k8s/decode_policy_values.h"
#include "agent/k8s/decode_values.h"
#include "agent/k8s/field.h"

namespace underpass::k8s {
namespace json = boost::json;

namespace {

using model::Isolation;
using std::chrono::milliseconds;

ProxySettings decode_proxy(const Field& proxy) {
  ProxySettings out;
  if (!proxy.present()) return out;
  proxy.expect_members({"threads", "connectTimeout", "idleTimeout", "drainTimeout", "http"});
  out.threads = proxy["threads"].integer(1, 64).value_or(out.threads);
  out.connect_timeout = decode_duration(proxy["connectTimeout"], milliseconds(1)).value_or(out.connect_timeout);
  out.idle_timeout = decode_duration(proxy["idleTimeout"], milliseconds(0)).value_or(out.idle_timeout);
  out.drain_timeout = decode_duration(proxy["drainTimeout"], milliseconds(0)).value_or(out.drain_timeout);
  out.http = decode_http_settings(proxy["http"]);
  return out;
}

}  // namespace

Decoded<model::MeshConfig> decode_mesh(const json::value& object) {
  Findings findings;
  const Field root(object, findings);
  expect_object(root, {"trustDomain", "rootNamespace", "isolation", "proxy", "extensionProviders"});
  const auto name = root["metadata"]["name"];
  const auto spec = root["spec"];

  model::MeshConfig out;
  if (decode_id(root["metadata"], kMeshNaming).name != model::kMeshName) {
    name.refuse("must be \"" + std::string(model::kMeshName) + "\": there is one Mesh");
  }
  if (auto domain = decode_name(spec["trustDomain"]); !domain.empty()) out.trust_domain = std::move(domain);
  if (auto ns = decode_label_name(spec["rootNamespace"]); !ns.empty()) out.root_namespace = std::move(ns);
  out.isolation = decode_choice<Isolation>(spec["isolation"],
                                           {{"namespace", Isolation::kNamespace}, {"shared", Isolation::kShared}})
                      .value_or(out.isolation);
  out.proxy = decode_proxy(spec["proxy"]);
  out.providers = decode_extension_providers(spec["extensionProviders"]);
  if (findings.error) return std::unexpected(std::move(*findings.error));
  return out;
}

}  // namespace underpass::k8s
