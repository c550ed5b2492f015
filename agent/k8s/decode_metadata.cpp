// SPDX-License-Identifier: Apache-2.0
#include "agent/k8s/decode_metadata.h"

#include <charconv>
#include <string_view>
#include <system_error>

#include "agent/k8s/decode_values.h"
#include "agent/k8s/names.h"

namespace underpass::k8s {
namespace {

constexpr std::string_view kTimePattern = "0000-00-00T00:00:00Z";  // 0: any digit

bool is_time(std::string_view text) {
  if (text.size() != kTimePattern.size()) return false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool digit = text[i] >= '0' && text[i] <= '9';
    if (kTimePattern[i] == '0' ? !digit : text[i] != kTimePattern[i]) return false;
  }
  return true;
}

}  // namespace

NamespacedName decode_id(const Field& metadata, Naming naming) {
  NamespacedName id;
  const auto name = metadata["name"];
  const auto ns = metadata["namespace"];
  id.name = name.string().value_or("");
  if (id.name.empty()) {
    name.refuse_field("missing");
  } else if (naming.label ? !is_dns_label(id.name) : !is_dns_subdomain(id.name)) {
    name.refuse(naming.label ? kNotALabel : kNotASubdomain);
  }
  if (!naming.namespaced) return id;
  id.ns = ns.string().value_or("");
  if (id.ns.empty()) {
    id.ns = "default";
  } else if (!is_dns_label(id.ns)) {
    ns.refuse(kNotALabel);
  }
  return id;
}

std::string decode_created(const Field& metadata) {
  const auto field = metadata["creationTimestamp"];
  auto text = field.string().value_or("");
  if (!text.empty() && !is_time(text)) {
    field.refuse("not a time as the API server writes it, for example 2026-01-02T03:04:05Z");
  }
  return text;
}

std::uint16_t decode_weight(const Field& metadata) {
  const auto field = metadata["annotations"]["underpass.dev/weight"];
  const auto text = field.string();
  if (!text) return 1;
  std::uint16_t weight = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), weight);
  if (error == std::errc{} && end == text->data() + text->size() && weight >= 1 && weight <= 100) return weight;
  field.refuse("must be 1 to 100");
  return 1;
}

std::optional<bool> decode_mesh_label(const Field& metadata) {
  return decode_choice<bool>(metadata["labels"]["underpass.dev/mesh"], {{"enabled", true}, {"disabled", false}});
}

model::MeshSettings decode_mesh_settings(const Field& metadata) {
  using model::Capture;
  using model::LocalMtls;
  using model::ShortCircuit;
  using model::ShortCircuitPeers;
  const auto annotations = metadata["annotations"];
  return {
      .mesh = decode_mesh_label(metadata),
      .short_circuit = decode_choice<ShortCircuit>(
          annotations["underpass.dev/short-circuit"],
          {{"auto", ShortCircuit::kAuto}, {"on", ShortCircuit::kOn}, {"off", ShortCircuit::kOff}}),
      .short_circuit_peers = decode_choice<ShortCircuitPeers>(
          annotations["underpass.dev/short-circuit-peers"],
          {{"namespace", ShortCircuitPeers::kNamespace}, {"mesh", ShortCircuitPeers::kMesh}}),
      .capture = decode_choice<Capture>(annotations["underpass.dev/capture"],
                                        {{"auto", Capture::kAuto}, {"always", Capture::kAlways}}),
      .local_mtls = decode_choice<LocalMtls>(annotations["underpass.dev/local-mtls"],
                                             {{"auto", LocalMtls::kAuto}, {"required", LocalMtls::kRequired}}),
  };
}

}  // namespace underpass::k8s
