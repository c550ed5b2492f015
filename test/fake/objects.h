// SPDX-License-Identifier: Apache-2.0
// The Kubernetes objects of these tests, as JSON. A version number that goes into each shows which of two is newer.
#pragma once

#include <boost/json.hpp>
#include <string>
#include <vector>

namespace underpass::fake {

inline boost::json::value namespace_object(const std::string& name, int version = 1) {
  return {
      {"apiVersion", "v1"},
      {"kind", "Namespace"},
      {"metadata", {{"name", name}, {"labels", {{"underpass.dev/mesh", version % 2 == 1 ? "enabled" : "disabled"}}}}}};
}

inline boost::json::value node_object(const std::string& name, int version = 1) {
  return {
      {"apiVersion", "v1"},
      {"kind", "Node"},
      {"metadata", {{"name", name}, {"labels", {{"topology.kubernetes.io/zone", "zone-" + std::to_string(version)}}}}}};
}

// Its label "version" says which one it is.
inline boost::json::value pod_object(const std::string& ns, const std::string& name, const std::string& node,
                                     int version = 1, const std::string& ip = "10.0.0.7") {
  return {{"apiVersion", "v1"},
          {"kind", "Pod"},
          {"metadata", {{"namespace", ns}, {"name", name}, {"labels", {{"version", std::to_string(version)}}}}},
          {"spec", {{"nodeName", node}, {"serviceAccountName", "default"}}},
          {"status", {{"phase", "Running"}, {"podIP", ip}}}};
}

inline boost::json::value account_object(const std::string& ns, const std::string& name) {
  return {{"apiVersion", "v1"}, {"kind", "ServiceAccount"}, {"metadata", {{"namespace", ns}, {"name", name}}}};
}

// Its port says which version it is.
inline boost::json::value service_object(const std::string& ns, const std::string& name, int version = 1) {
  boost::json::array ports;
  ports.push_back({{"name", "http"}, {"protocol", "TCP"}, {"port", version}});
  return {{"apiVersion", "v1"},
          {"kind", "Service"},
          {"metadata", {{"namespace", ns}, {"name", name}}},
          {"spec", {{"clusterIP", "10.96.0.10"}, {"ports", ports}}}};
}

// With so many endpoints; its port says which version it is.
inline boost::json::value slice_object(const std::string& ns, const std::string& name, int version = 1,
                                       int endpoints = 1) {
  boost::json::array ports;
  ports.push_back({{"name", "http"}, {"protocol", "TCP"}, {"port", version}});
  boost::json::array list;
  for (int i = 0; i < endpoints; ++i) {
    boost::json::array addresses;
    addresses.emplace_back("10.1." + std::to_string(i / 250) + "." + std::to_string(1 + i % 250));
    list.push_back({{"addresses", addresses},
                    {"conditions", {{"ready", true}, {"serving", true}, {"terminating", false}}},
                    {"nodeName", "node-" + std::to_string(i % 100)},
                    {"targetRef",
                     {{"kind", "Pod"},
                      {"namespace", ns},
                      {"name", name + "-" + std::to_string(i)},
                      {"uid", "6e9a1c58-3b7c-4b0f-9d55-0242ac120002"}}},
                    {"zone", "zone-a"}});
  }
  return {{"apiVersion", "discovery.k8s.io/v1"},
          {"kind", "EndpointSlice"},
          {"metadata", {{"namespace", ns}, {"name", name}, {"labels", {{"kubernetes.io/service-name", "web"}}}}},
          {"addressType", "IPv4"},
          {"ports", ports},
          {"endpoints", list}};
}

// The port that it allows says which version it is.
inline boost::json::value policy_object(const std::string& ns, const std::string& name, int version = 1) {
  boost::json::array ports{boost::json::value(std::to_string(version))};
  boost::json::array to, rules;
  to.push_back({{"operation", {{"ports", ports}}}});
  rules.push_back(boost::json::object{{"to", to}});
  return {{"apiVersion", "security.istio.io/v1"},
          {"kind", "AuthorizationPolicy"},
          {"metadata", {{"namespace", ns}, {"name", name}}},
          {"spec", {{"action", "ALLOW"}, {"rules", rules}}}};
}

inline boost::json::value authentication_object(const std::string& ns, const std::string& name, int version = 1) {
  return {{"apiVersion", "security.istio.io/v1"},
          {"kind", "PeerAuthentication"},
          {"metadata", {{"namespace", ns}, {"name", name}}},
          {"spec", {{"mtls", {{"mode", version % 2 == 1 ? "STRICT" : "PERMISSIVE"}}}}}};
}

// Its one issuer says which version it is.
inline boost::json::value tokens_object(const std::string& ns, const std::string& name, int version = 1) {
  boost::json::array rules;
  rules.push_back({{"issuer", "issuer-" + std::to_string(version)}, {"jwksUri", "https://idp.example.com/keys"}});
  return {{"apiVersion", "security.istio.io/v1"},
          {"kind", "RequestAuthentication"},
          {"metadata", {{"namespace", ns}, {"name", name}}},
          {"spec", {{"jwtRules", rules}}}};
}

inline boost::json::value mesh_object(const std::string& trust_domain = "cluster.local") {
  return {{"apiVersion", "underpass.dev/v1alpha1"},
          {"kind", "Mesh"},
          {"metadata", {{"name", "default"}}},
          {"spec", {{"trustDomain", trust_domain}}}};
}

inline boost::json::value daemon_set_object(const std::string& ns, const std::string& name) {
  return {{"apiVersion", "apps/v1"},
          {"kind", "DaemonSet"},
          {"metadata", {{"namespace", ns}, {"name", name}}},
          {"spec", {{"selector", {{"matchLabels", {{"app", name}}}}}}}};
}

// The same with one more annotation.
inline boost::json::value annotated(boost::json::value object, const std::string& key, const std::string& value) {
  auto& metadata = object.at("metadata").as_object();
  if (!metadata.contains("annotations")) metadata["annotations"] = boost::json::object();
  metadata.at("annotations").as_object()[key] = value;
  return object;
}

}  // namespace underpass::fake
