// SPDX-License-Identifier: Apache-2.0
// From parsed Kubernetes objects to values of the model. Every source decodes here, from one kind of tree, whether its
// text was YAML or the API server's JSON. Strict about the fields that Underpass uses: one wrong value refuses the
// whole object; blind to all others, but for policies, which a field that is not known refuses too. Objects of kinds
// that are not ours are no concern of ours and pass in silence.
#pragma once

#include <boost/json/fwd.hpp>
#include <string>
#include <string_view>

#include "agent/k8s/contents.h"
#include "underpass/model/objects.h"
#include "underpass/result.h"

namespace underpass::k8s {

struct DecodeOptions {
  // Believe the annotation underpass.dev/netns. Only where whoever writes the objects may choose the pod's namespace:
  // a folder, and never the API, in which every tenant annotates its own pods.
  bool netns_annotation = false;
  // What a pod speaks with other nodes follows from its labels: a folder has no other word of it.
  bool tunnels_by_label = false;
};

Decoded<model::Namespace> decode_namespace(const boost::json::value& object);
Decoded<model::ServiceAccount> decode_service_account(const boost::json::value& object);
Decoded<model::Pod> decode_pod(const boost::json::value& object, const DecodeOptions& options);
Decoded<model::Service> decode_service(const boost::json::value& object);
Decoded<model::EndpointSlice> decode_endpoint_slice(const boost::json::value& object);
Decoded<model::Node> decode_node(const boost::json::value& object);
Decoded<model::AuthorizationPolicy> decode_authorization_policy(const boost::json::value& object);
Decoded<model::PeerAuthentication> decode_peer_authentication(const boost::json::value& object);
Decoded<model::RequestAuthentication> decode_request_authentication(const boost::json::value& object);
Decoded<model::NodeWorkloads> decode_node_workloads(const boost::json::value& object);
Decoded<model::MeshConfig> decode_mesh(const boost::json::value& object);

// Adds to `file` what `document` holds: nothing, one object, or the members of a List. `place` is where it stands.
void decode_document(const boost::json::value& document, const std::string& place, const DecodeOptions& options,
                     File& file);

// "security.istio.io/v1" of "AuthorizationPolicy"; empty for a kind that is not ours.
std::string_view api_version_of(std::string_view kind);

// "Pod shop/web: status.podIP: "10.0.0": not an IP address".
Error describe(const std::string& kind, const NamespacedName& id, const DecodeError& error);

}  // namespace underpass::k8s
