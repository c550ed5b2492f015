// SPDX-License-Identifier: Apache-2.0
#include "test/support/objects.h"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value_from.hpp>
#include <utility>

#include "test/support/files.h"

namespace underpass::test {
namespace json = boost::json;
namespace {

void put_line(std::string& out, const std::string& key, const std::optional<std::string>& value) {
  if (value) out += "    " + key + ": \"" + *value + "\"\n";
}

// The metadata that both kinds share. An empty map is written as nothing at all.
std::string metadata(const std::string& names, const Settings& settings, const std::string& netns,
                     const Strings& more_labels = {}, const Strings& more_annotations = {}) {
  std::string labels;
  for (const auto& [key, value] : more_labels) put_line(labels, key, value);
  std::string annotations;
  for (const auto& [key, value] : more_annotations) put_line(annotations, key, value);
  put_line(labels, "underpass.dev/mesh", settings.mesh);
  put_line(annotations, "underpass.dev/short-circuit", settings.short_circuit);
  put_line(annotations, "underpass.dev/short-circuit-peers", settings.peers);
  put_line(annotations, "underpass.dev/capture", settings.capture);
  if (!netns.empty()) put_line(annotations, "underpass.dev/netns", netns);
  return "metadata:\n" + names + (labels.empty() ? "" : "  labels:\n" + labels) +
         (annotations.empty() ? "" : "  annotations:\n" + annotations);
}

std::string pod_file(const std::string& ns, const std::string& name) { return "pod-" + ns + "-" + name + ".yaml"; }
std::string service_file(const std::string& ns, const std::string& name) {
  return "service-" + ns + "-" + name + ".yaml";
}
std::string slice_file(const std::string& ns, const std::string& name) { return "slice-" + ns + "-" + name + ".yaml"; }

std::string ports_yaml(const std::vector<ContainerPortObject>& ports) {
  std::string text;
  for (const ContainerPortObject& port : ports) {
    text += "    - name: " + port.name + "\n      containerPort: " + std::to_string(port.port) +
            "\n      protocol: " + port.protocol + "\n";
  }
  return text.empty() ? text : "    ports:\n" + text;
}

json::value target_of(const ServicePortObject& port) {
  if (port.target.empty()) return port.port;
  if (port.target.find_first_not_of("0123456789") == std::string::npos) return std::stoi(port.target);
  return json::value(port.target);
}

json::array ports_of_service(const std::vector<ServicePortObject>& ports) {
  json::array out;
  for (const ServicePortObject& port : ports) {
    json::object one{{"protocol", port.protocol}, {"port", port.port}, {"targetPort", target_of(port)}};
    if (!port.name.empty()) one["name"] = port.name;
    if (port.node_port != 0) one["nodePort"] = port.node_port;
    out.emplace_back(std::move(one));
  }
  return out;
}

json::object spec_of(const ServiceObject& object) {
  json::object spec{{"type", object.type}, {"ports", ports_of_service(object.ports)}};
  if (!object.cluster_ips.empty()) {
    spec["clusterIP"] = object.cluster_ips.front();
    spec["clusterIPs"] = json::value_from(object.cluster_ips);
  }
  if (!object.selector.empty()) spec["selector"] = json::value_from(object.selector);
  if (!object.external_ips.empty()) spec["externalIPs"] = json::value_from(object.external_ips);
  if (!object.external_name.empty()) spec["externalName"] = object.external_name;
  if (object.affinity_seconds > 0) {
    spec["sessionAffinity"] = "ClientIP";
    spec["sessionAffinityConfig"] = {{"clientIP", {{"timeoutSeconds", object.affinity_seconds}}}};
  }
  if (object.publish_not_ready) spec["publishNotReadyAddresses"] = true;
  if (object.internal_local) spec["internalTrafficPolicy"] = "Local";
  return spec;
}

}  // namespace

std::string to_yaml(const NamespaceObject& object) {
  return "apiVersion: v1\nkind: Namespace\n" + metadata("  name: " + object.name + "\n", object.settings, "");
}

std::string to_yaml(const PodObject& object) {
  std::string text = "apiVersion: v1\nkind: Pod\n" +
                     metadata("  name: " + object.name + "\n  namespace: " + object.ns + "\n" +
                                  (object.deleting ? "  deletionTimestamp: \"2026-01-01T00:00:00Z\"\n" : ""),
                              object.settings, object.netns, object.labels, object.annotations) +
                     "spec:\n  nodeName: " + object.node + "\n  serviceAccountName: " + object.service_account +
                     "\n  containers:\n  - name: app\n    image: " + object.image + "\n" + ports_yaml(object.ports);
  if (object.ips.empty()) return text;
  text += "status:\n  phase: Running\n  podIP: \"" + object.ips.front() + "\"\n  podIPs:\n";
  for (const std::string& ip : object.ips) text += "  - ip: \"" + ip + "\"\n";
  if (object.ready) {
    text += "  conditions:\n  - type: Ready\n    status: \"" + std::string(*object.ready ? "True" : "False") + "\"\n";
  }
  return text;
}

std::string to_yaml(const ServiceObject& object) {
  json::object metadata{{"name", object.name}, {"namespace", object.ns}};
  if (!object.annotations.empty()) metadata["annotations"] = json::value_from(object.annotations);
  if (!object.created.empty()) metadata["creationTimestamp"] = object.created;
  json::object out{
      {"apiVersion", "v1"}, {"kind", "Service"}, {"metadata", std::move(metadata)}, {"spec", spec_of(object)}};
  if (!object.balancer_ips.empty()) {
    json::array ingress;
    for (const std::string& ip : object.balancer_ips) ingress.emplace_back(json::object{{"ip", ip}});
    out["status"] = {{"loadBalancer", {{"ingress", std::move(ingress)}}}};
  }
  return json::serialize(out) + "\n";
}

std::string to_yaml(const EndpointSliceObject& object) {
  json::array ports;
  for (const ServicePortObject& port : object.ports)
    ports.emplace_back(json::object{{"name", port.name}, {"protocol", port.protocol}, {"port", port.port}});
  json::array endpoints;
  for (const EndpointObject& endpoint : object.endpoints) {
    json::object one{
        {"addresses", {endpoint.ip}},
        {"conditions",
         {{"ready", endpoint.ready}, {"serving", endpoint.serving}, {"terminating", endpoint.terminating}}}};
    if (!endpoint.node.empty()) one["nodeName"] = endpoint.node;
    endpoints.emplace_back(std::move(one));
  }
  return json::serialize(json::object{{"apiVersion", "discovery.k8s.io/v1"},
                                      {"kind", "EndpointSlice"},
                                      {"metadata",
                                       {{"name", object.name},
                                        {"namespace", object.ns},
                                        {"labels", {{"kubernetes.io/service-name", object.service}}}}},
                                      {"addressType", object.v6 ? "IPv6" : "IPv4"},
                                      {"ports", std::move(ports)},
                                      {"endpoints", std::move(endpoints)}}) +
         "\n";
}

std::string to_yaml(const NodeObject& object) {
  json::array addresses;
  for (const std::string& ip : object.addresses)
    addresses.emplace_back(json::object{{"type", "InternalIP"}, {"address", ip}});
  return json::serialize(json::object{{"apiVersion", "v1"},
                                      {"kind", "Node"},
                                      {"metadata", {{"name", object.name}}},
                                      {"status", {{"addresses", std::move(addresses)}}}}) +
         "\n";
}

void Objects::put(const NamespaceObject& object) const {
  put_text("namespace-" + object.name + ".yaml", to_yaml(object));
}
void Objects::put(const PodObject& object) const { put_text(pod_file(object.ns, object.name), to_yaml(object)); }

void Objects::put(const ServiceObject& object) const {
  put_text(service_file(object.ns, object.name), to_yaml(object));
}
void Objects::put(const EndpointSliceObject& object) const {
  put_text(slice_file(object.ns, object.name), to_yaml(object));
}
void Objects::put(const NodeObject& object) const { put_text("node-" + object.name + ".yaml", to_yaml(object)); }

void Objects::put_service_account(const std::string& ns, const std::string& name) const {
  put_text("serviceaccount-" + ns + "-" + name + ".yaml",
           "apiVersion: v1\nkind: ServiceAccount\nmetadata:\n  name: " + name + "\n  namespace: " + ns + "\n");
}

void Objects::remove_namespace(const std::string& name) const { remove_text("namespace-" + name + ".yaml"); }
void Objects::remove_pod(const std::string& ns, const std::string& name) const { remove_text(pod_file(ns, name)); }
void Objects::remove_service(const std::string& ns, const std::string& name) const {
  remove_text(service_file(ns, name));
}
void Objects::remove_slice(const std::string& ns, const std::string& name) const { remove_text(slice_file(ns, name)); }
void Objects::put_text(const std::string& file, const std::string& text) const {
  write_atomically(folder_ / file, text);
}
void Objects::remove_text(const std::string& file) const { fs::remove(folder_ / file); }

}  // namespace underpass::test
