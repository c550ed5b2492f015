// SPDX-License-Identifier: Apache-2.0
// The kinds that are asked for: where they are served, which part of them, and how one becomes a file.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "agent/k8s/api/api_source.h"
#include "agent/k8s/api/object_reader.h"
#include "agent/k8s/contents.h"

namespace underpass::k8s {

struct ApiKind {
  std::string kind;    // "AuthorizationPolicy"
  std::string plural;  // "authorizationpolicies"
  std::string group;   // "" is the core group
  // In the order in which they are tried; objects' files are named after the first.
  std::vector<std::string> versions{"v1"};
  std::string ns = {};              // only in this namespace; empty: in all
  std::string field_selector = {};  // "spec.nodeName=node-1"
  std::string crd = {};             // name of its definition; empty: part of Kubernetes
  bool metadata_only = false;       // PartialObjectMetadata
  bool told = true;                 // part of the contents
};

// "/apis/security.istio.io/v1/authorizationpolicies", with a namespace and a name where given.
std::string api_path(const ApiKind& kind, const std::string& version, const std::string& ns, const std::string& name);

// What is told of a cluster; the definitions of custom resources and the own DaemonSet are not.
std::vector<ApiKind> told_kinds();
ApiKind node_workloads_kind();
ApiKind definitions_kind();
ApiKind daemon_set_kind(const NamespacedName& id);

// One object as the folder source would have read it from a file of its own.
std::shared_ptr<const File> decode_received(const ApiKind& kind, Received&& received);

std::string percent_encode(std::string_view text);

}  // namespace underpass::k8s
