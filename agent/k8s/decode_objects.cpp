// SPDX-License-Identifier: Apache-2.0
// The decoders of the small kinds: Namespace, ServiceAccount, Pod and Node. The others have files of their own.
#include <algorithm>
#include <boost/json/value.hpp>
#include <cstdint>
#include <optional>
#include <ranges>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "agent/k8s/decode.h"
#include "agent/k8s/decode_metadata.h"
#include "agent/k8s/decode_values.h"
#include "agent/k8s/field.h"
#include "agent/k8s/names.h"

namespace underpass::k8s {
namespace json = boost::json;

namespace {

// status.podIPs, whose first element is status.podIP; older writers give only the latter.
std::vector<IpAddress> decode_pod_ips(const Field& status) {
  std::vector<IpAddress> ips;
  const auto primary = decode_ip(status["podIP"]);
  for (const auto& element : status["podIPs"].elements()) {
    const auto field = element["ip"];
    const auto ip = decode_ip(field);
    if (!ip) {
      if (!field.present()) field.refuse_field("missing");
      continue;
    }
    if (std::ranges::find(ips, *ip) != ips.end()) field.refuse(kListedTwice);
    if (ips.empty() && primary && *primary != *ip) field.refuse("is not the address in status.podIP");
    ips.push_back(*ip);
  }
  if (ips.empty() && primary) ips.push_back(*primary);
  return ips;
}

// A sidecar is a container, or, since Kubernetes 1.28, an init container that keeps running.
bool has_istio_proxy(const Field& spec) {
  for (const auto* list : {"containers", "initContainers"}) {
    for (const auto& container : spec[list].elements()) {
      if (container["name"].string() == "istio-proxy") return true;
    }
  }
  return false;
}

bool decode_terminated(const Field& phase) {
  const auto text = phase.string();
  if (!text || text->empty() || *text == "Pending" || *text == "Running" || *text == "Unknown") return false;
  if (*text == "Succeeded" || *text == "Failed") return true;
  phase.refuse("must be one of Pending, Running, Succeeded, Failed, Unknown");
  return false;
}

bool is_kind(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
  });
}

// A Deployment makes a new ReplicaSet for every change and names it after itself and the label that it gives its pods.
std::optional<std::string> find_deployment(const std::string& replica_set, const model::Pod& pod) {
  const auto hash = pod.labels.find("pod-template-hash");
  if (hash == pod.labels.end() || hash->second.empty()) return std::nullopt;
  const std::string suffix = "-" + hash->second;
  if (replica_set.size() <= suffix.size() || !replica_set.ends_with(suffix)) return std::nullopt;
  return replica_set.substr(0, replica_set.size() - suffix.size());
}

// The one of metadata.ownerReferences that says controller: true. Needs the pod's id and labels.
std::string decode_owner(const Field& references, const model::Pod& pod) {
  std::string owner;
  for (const auto& reference : references.elements()) {
    const auto controller = reference["controller"];
    if (!controller.boolean().value_or(false)) continue;
    if (!owner.empty()) controller.refuse("there is another controller already");
    const auto kind = reference["kind"];
    const auto name = reference["name"];
    const auto kind_text = kind.string().value_or("");
    const auto name_text = decode_name(name);
    if (!kind.present()) kind.refuse_field("missing");
    if (!is_kind(kind_text)) kind.refuse("not a kind (letters and digits)");
    if (name_text.empty()) name.refuse_field("missing");
    const auto deployment = kind_text == "ReplicaSet" ? find_deployment(name_text, pod) : std::nullopt;
    owner = deployment ? "Deployment/" + *deployment : kind_text + "/" + name_text;
  }
  return owner.empty() ? "Pod/" + pod.id.name : owner;
}

std::vector<std::string> decode_images(const Field& containers) {
  std::vector<std::string> images;
  for (const auto& container : containers.elements()) {
    auto image = container["image"].string().value_or("");
    if (!image.empty()) images.push_back(std::move(image));
  }
  return images;
}

// Without the condition, which the kubelet sets, a pod of the folder source counts as ready.
bool decode_ready(const Field& conditions) {
  for (const auto& condition : conditions.elements()) {
    if (condition["type"].string() != "Ready") continue;
    return decode_choice<bool>(condition["status"], {{"True", true}, {"False", false}, {"Unknown", false}})
        .value_or(true);
  }
  return true;
}

std::vector<model::EndpointPort> decode_container_ports(const Field& containers) {
  std::vector<model::EndpointPort> ports;
  for (const auto& container : containers.elements()) {
    for (const auto& port : container["ports"].elements()) {
      const auto protocol = port["protocol"];
      if (is_sctp(protocol)) continue;
      ports.push_back({decode_label_name(port["name"]), decode_protocol(protocol), decode_port(port["containerPort"])});
    }
  }
  return ports;
}

// The port to which the kubelet connects for a probe or hook of a container; a name is one of that container's own.
// None where it is another host's port, or where no port has the name: then the kubelet does not find it either.
std::optional<std::uint16_t> decode_handler_port(const Field& action, const Field& container) {
  const auto port = action["port"];
  const auto host = action["host"].string();
  if (!action.present() || (host && !host->empty())) return std::nullopt;
  if (!port.is_string()) return decode_port(port);
  const auto name = decode_label_name(port);
  for (const auto& candidate : container["ports"].elements()) {
    if (!name.empty() && candidate["name"].string() == name) return decode_port(candidate["containerPort"]);
  }
  return std::nullopt;
}

void sort_ports(std::vector<std::uint16_t>& ports) {
  std::ranges::sort(ports);
  const auto rest = std::ranges::unique(ports);
  ports.erase(rest.begin(), rest.end());
}

std::vector<std::uint16_t> decode_probe_ports(const Field& spec) {
  std::vector<std::uint16_t> ports;
  const auto add = [&](const Field& handler, const Field& container) {
    for (const auto* kind : {"httpGet", "tcpSocket", "grpc"}) {
      if (const auto port = decode_handler_port(handler[kind], container)) ports.push_back(*port);
    }
  };
  for (const auto* list : {"containers", "initContainers"}) {
    for (const auto& container : spec[list].elements()) {
      for (const auto* probe : {"startupProbe", "livenessProbe", "readinessProbe"}) add(container[probe], container);
      for (const auto* hook : {"postStart", "preStop"}) add(container["lifecycle"][hook], container);
    }
  }
  sort_ports(ports);
  return ports;
}

// "80, 443".
std::vector<std::uint16_t> decode_port_list(const Field& annotation) {
  constexpr std::string_view kBlanks = " \t";
  std::vector<std::uint16_t> ports;
  const auto text = annotation.string().value_or("");
  if (text.empty()) return ports;
  for (const auto part : std::views::split(std::string_view(text), ',')) {
    std::string_view number(part);
    number.remove_prefix(std::min(number.find_first_not_of(kBlanks), number.size()));
    number = number.substr(0, number.find_last_not_of(kBlanks) + 1);
    const auto port = parse_port(number);
    if (!port) annotation.refuse("must be ports, 1 to 65535, with commas between them");
    ports.push_back(port.value_or(0));
  }
  sort_ports(ports);
  return ports;
}

std::string decode_netns_path(const Field& annotation) {
  auto path = annotation.string().value_or("");
  if (annotation.present() && !is_absolute_path(path)) {
    annotation.refuse("must be an absolute path, for example /var/run/netns/web");
  }
  return path;
}

}  // namespace

Decoded<model::Namespace> decode_namespace(const json::value& object) {
  Findings findings;
  const auto metadata = Field(object, findings)["metadata"];
  model::Namespace out{.name = decode_id(metadata, kNamespaceNaming).name, .settings = decode_mesh_settings(metadata)};
  if (findings.error) return std::unexpected(std::move(*findings.error));
  return out;
}

Decoded<model::ServiceAccount> decode_service_account(const json::value& object) {
  Findings findings;
  model::ServiceAccount out{.id = decode_id(Field(object, findings)["metadata"], kUsualNaming)};
  if (findings.error) return std::unexpected(std::move(*findings.error));
  return out;
}

Decoded<model::Pod> decode_pod(const json::value& object, const DecodeOptions& options) {
  Findings findings;
  const Field root(object, findings);
  const auto metadata = root["metadata"];
  const auto spec = root["spec"];
  const auto status = root["status"];
  const auto annotations = metadata["annotations"];

  model::Pod out;
  out.id = decode_id(metadata, kUsualNaming);
  out.uid = metadata["uid"].string().value_or("");
  out.cgroup_uid = annotations["kubernetes.io/config.hash"].string().value_or(out.uid);
  out.node_name = decode_name(spec["nodeName"]);
  if (auto account = decode_name(spec["serviceAccountName"]); !account.empty()) {
    out.service_account = std::move(account);
  }
  out.ips = decode_pod_ips(status);
  out.labels = decode_strings(metadata["labels"]);
  out.owner = decode_owner(metadata["ownerReferences"], out);
  out.images = decode_images(spec["containers"]);
  out.settings = decode_mesh_settings(metadata);
  if (options.netns_annotation) out.netns_path = decode_netns_path(annotations["underpass.dev/netns"]);
  out.host_network = spec["hostNetwork"].boolean().value_or(false);
  out.terminated = decode_terminated(status["phase"]);
  out.ready = decode_ready(status["conditions"]);
  out.deleting = metadata["deletionTimestamp"].string().has_value();
  out.ports = decode_container_ports(spec["containers"]);
  out.weight = decode_weight(metadata);
  out.probe_ports = decode_probe_ports(spec);
  out.exclude_inbound_ports = decode_port_list(annotations["underpass.dev/exclude-inbound-ports"]);
  out.exclude_outbound_ports = decode_port_list(annotations["underpass.dev/exclude-outbound-ports"]);
  out.other_mesh = annotations["ambient.istio.io/redirection"].string() == "enabled" || has_istio_proxy(spec);
  out.tunnel_by_label = options.tunnels_by_label;
  if (findings.error) return std::unexpected(std::move(*findings.error));
  return out;
}

Decoded<model::Node> decode_node(const json::value& object) {
  Findings findings;
  const Field root(object, findings);
  const auto metadata = root["metadata"];

  model::Node out;
  out.name = decode_id(metadata, kNodeNaming).name;
  for (const auto& element : root["status"]["addresses"].elements()) {
    const auto type = element["type"].string();
    if (type != "InternalIP" && type != "ExternalIP") continue;  // names of the node
    const auto ip = decode_ip(element["address"]);
    if (ip && std::ranges::find(out.addresses, *ip) == out.addresses.end()) out.addresses.push_back(*ip);
  }
  out.zone = metadata["labels"]["topology.kubernetes.io/zone"].string().value_or("");
  out.mesh = decode_mesh_label(metadata);
  if (findings.error) return std::unexpected(std::move(*findings.error));
  return out;
}

}  // namespace underpass::k8s
