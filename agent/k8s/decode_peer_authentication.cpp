// SPDX-License-Identifier: Apache-2.0
// PeerAuthentication (security.istio.io/v1 and v1beta1), as strict as AuthorizationPolicy.
#include <boost/json/value.hpp>
#include <cstdint>
#include <map>
#include <utility>

#include "agent/k8s/decode.h"
#include "agent/k8s/decode_metadata.h"
#include "agent/k8s/decode_policy_values.h"
#include "agent/k8s/decode_values.h"
#include "agent/k8s/field.h"
#include "agent/k8s/names.h"

namespace underpass::k8s {
namespace json = boost::json;

namespace {

model::MtlsMode decode_mtls(const Field& field) {
  using model::MtlsMode;
  field.expect_members({"mode"});
  return decode_choice<MtlsMode>(field["mode"], {{"UNSET", MtlsMode::kUnset},
                                                 {"DISABLE", MtlsMode::kDisable},
                                                 {"PERMISSIVE", MtlsMode::kPermissive},
                                                 {"STRICT", MtlsMode::kStrict}})
      .value_or(MtlsMode::kUnset);
}

std::map<std::uint16_t, model::MtlsMode> decode_port_modes(const Field& field) {
  std::map<std::uint16_t, model::MtlsMode> out;
  for (const auto& [key, value] : field.members()) {
    const auto port = parse_port(key);
    if (!port) value.refuse_field("the port must be 1 to 65535");
    out.emplace(port.value_or(0), decode_mtls(value));
  }
  if (field.present() && out.empty()) field.refuse_field(kEmpty);
  return out;
}

}  // namespace

Decoded<model::PeerAuthentication> decode_peer_authentication(const json::value& object) {
  Findings findings;
  const Field root(object, findings);
  expect_object(root, {"selector", "mtls", "portLevelMtls"});
  const auto metadata = root["metadata"];
  const auto spec = root["spec"];
  const auto mtls = spec["mtls"];
  const auto ports = spec["portLevelMtls"];

  model::PeerAuthentication out;
  out.id = decode_id(metadata, kUsualNaming);
  out.created = decode_created(metadata);
  refuse_dry_run(metadata);
  out.selector = decode_selector(spec["selector"]);
  if (mtls.present()) out.mode = decode_mtls(mtls);
  out.port_modes = decode_port_modes(ports);
  if (ports.present() && out.selector.empty()) ports.refuse_field("only with a selector");
  if (findings.error) return std::unexpected(std::move(*findings.error));
  return out;
}

}  // namespace underpass::k8s
