// SPDX-License-Identifier: Apache-2.0
// NodeWorkloads (underpass.dev/v1alpha1): what one agent tells the others of its pods. Decoded as strictly as if the
// API server had not looked at it: who wrote it is another node.
#include <boost/json/value.hpp>
#include <set>
#include <string>
#include <utility>

#include "agent/k8s/decode.h"
#include "agent/k8s/decode_metadata.h"
#include "agent/k8s/decode_values.h"
#include "agent/k8s/field.h"

namespace underpass::k8s {
namespace json = boost::json;

namespace {

constexpr std::size_t kMostWorkloads = 512;
constexpr std::size_t kLongestUid = 128;

std::string decode_needed(const Field& field, std::string value) {
  if (value.empty()) field.refuse_field("missing");
  return value;
}

model::WorkloadClaim decode_claim(const Field& field) {
  model::WorkloadClaim out;
  out.pod.ns = decode_needed(field["namespace"], decode_label_name(field["namespace"]));
  out.pod.name = decode_needed(field["name"], decode_name(field["name"]));
  out.uid = decode_needed(field["uid"], field["uid"].string().value_or(""));
  if (out.uid.size() > kLongestUid) field["uid"].refuse_field("longer than 128 bytes");
  out.service_account = decode_needed(field["serviceAccount"], decode_name(field["serviceAccount"]));
  for (const auto& element : field["ips"].elements())
    if (const auto ip = decode_routable_ip(element)) out.ips.push_back(*ip);
  if (out.ips.empty() || out.ips.size() > 2) field["ips"].refuse_field("must be one address, or one of each family");
  if (!decode_choice<model::Tunnel>(field["tunnel"], {{"HBONE", model::Tunnel::kHbone}}))
    field["tunnel"].refuse_field("missing");
  return out;
}

}  // namespace

Decoded<model::NodeWorkloads> decode_node_workloads(const json::value& object) {
  Findings findings;
  const Field root(object, findings);
  const auto spec = root["spec"];

  model::NodeWorkloads out;
  out.name = decode_id(root["metadata"], kMeshNaming).name;
  out.node = decode_needed(spec["node"], decode_name(spec["node"]));
  const auto shard = spec["shard"].integer(0, model::kWorkloadShards - 1);
  if (!shard) spec["shard"].refuse_field("missing");
  out.shard = shard.value_or(0);
  if (out.name != out.node + "." + std::to_string(out.shard))
    root["metadata"]["name"].refuse("must be spec.node, a dot and spec.shard");
  const auto workloads = spec["workloads"].elements();
  if (workloads.size() > kMostWorkloads) spec["workloads"].refuse_field("more than 512");
  std::set<std::string> seen;
  for (const auto& element : workloads) {
    out.workloads.push_back(decode_claim(element));
    if (!seen.insert(out.workloads.back().uid).second) element["uid"].refuse(kListedTwice);
  }
  if (findings.error) return std::unexpected(std::move(*findings.error));
  return out;
}

}  // namespace underpass::k8s
