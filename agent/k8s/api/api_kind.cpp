// SPDX-License-Identifier: Apache-2.0
#include "agent/k8s/api/api_kind.h"

#include <boost/json/value.hpp>
#include <utility>

#include "agent/k8s/decode.h"
#include "agent/k8s/field.h"

namespace underpass::k8s {
namespace json = boost::json;

namespace {

std::string api_version(const ApiKind& kind) {
  return (kind.group.empty() ? "" : kind.group + "/") + kind.versions.front();
}

// Members of a list say neither kind nor version where the kind is Kubernetes' own.
void complete(json::object& object, const ApiKind& kind) {
  if (!object.contains("kind")) object["kind"] = kind.kind;
  if (!object.contains("apiVersion")) object["apiVersion"] = api_version(kind);
}

}  // namespace

std::string percent_encode(std::string_view text) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                       c == '_' || c == '.' || c == '~';
    if (plain) {
      out += c;
    } else {
      out += {'%', kDigits[byte >> 4], kDigits[byte & 15]};
    }
  }
  return out;
}

std::string api_path(const ApiKind& kind, const std::string& version, const std::string& ns, const std::string& name) {
  auto path = kind.group.empty() ? "/api/" + version : "/apis/" + kind.group + "/" + version;
  if (!ns.empty()) path += "/namespaces/" + ns;
  path += "/" + kind.plural;
  return name.empty() ? path : path + "/" + name;
}

std::vector<ApiKind> told_kinds() {
  // Service accounts are not asked for: a pod names its own, and nothing else of them counts.
  const std::string istio = "security.istio.io";
  return {
      {.kind = "Namespace", .plural = "namespaces", .group = ""},
      {.kind = "Node", .plural = "nodes", .group = ""},
      // Of all nodes: whom another node's pod is, only its own object says.
      {.kind = "Pod", .plural = "pods", .group = ""},
      {.kind = "Service", .plural = "services", .group = ""},
      {.kind = "EndpointSlice", .plural = "endpointslices", .group = "discovery.k8s.io"},
      {.kind = "AuthorizationPolicy",
       .plural = "authorizationpolicies",
       .group = istio,
       .versions = {"v1", "v1beta1"},
       .crd = "authorizationpolicies." + istio},
      {.kind = "PeerAuthentication",
       .plural = "peerauthentications",
       .group = istio,
       .versions = {"v1", "v1beta1"},
       .crd = "peerauthentications." + istio},
      {.kind = "RequestAuthentication",
       .plural = "requestauthentications",
       .group = istio,
       .versions = {"v1", "v1beta1"},
       .crd = "requestauthentications." + istio},
      node_workloads_kind(),
      {.kind = "Mesh",
       .plural = "meshes",
       .group = "underpass.dev",
       .versions = {"v1alpha1"},
       .crd = "meshes.underpass.dev"},
  };
}

ApiKind node_workloads_kind() {
  return {.kind = "NodeWorkloads",
          .plural = "nodeworkloads",
          .group = "underpass.dev",
          .versions = {"v1alpha1"},
          .crd = "nodeworkloads.underpass.dev"};
}

ApiKind definitions_kind() {
  return {.kind = "CustomResourceDefinition",
          .plural = "customresourcedefinitions",
          .group = "apiextensions.k8s.io",
          .metadata_only = true,
          .told = false};
}

ApiKind daemon_set_kind(const NamespacedName& id) {
  return {.kind = "DaemonSet",
          .plural = "daemonsets",
          .group = "apps",
          .ns = id.ns,
          .field_selector = "metadata.name=" + id.name,
          .told = false};
}

std::shared_ptr<const File> decode_received(const ApiKind& kind, Received&& received) {
  auto file = std::make_shared<File>();
  file->path = api_path(kind, kind.versions.front(), received.ns, received.name);
  if (!received.refused.empty()) {
    file->items.push_back({.kind = kind.kind,
                           .id = {received.ns, received.name},
                           .place = file->path,
                           .object = std::unexpected(DecodeError{"", received.refused}),
                           .uid = received.uid});
    return file;
  }
  complete(received.object.as_object(), kind);
  const auto& said = received.object.at("kind");
  if (said != json::string_view(kind.kind)) {
    file->unreadable.push_back({file->path, "kind: " + show(said) + ": must be \"" + kind.kind + "\""});
    return file;
  }
  decode_document(received.object, file->path, {.netns_annotation = false}, *file);
  if (file->items.empty() && file->unreadable.empty()) {
    file->unreadable.push_back({file->path, "apiVersion: " + show(received.object.at("apiVersion")) + ": not known"});
  }
  return file;
}

}  // namespace underpass::k8s
