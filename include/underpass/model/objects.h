// SPDX-License-Identifier: Apache-2.0
// What Underpass knows of the cluster, as plain values: what the decoders make and everything above them reads. Nothing
// here knows YAML, the API server, BPF or sockets.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "underpass/ids.h"
#include "underpass/ip_address.h"
#include "underpass/model/policy.h"
#include "underpass/model/service.h"

namespace underpass::model {

// Annotation underpass.dev/short-circuit. Ordered so that the smaller wins where the two ends of a connection differ.
enum class ShortCircuit { kOff, kAuto, kOn };

// Annotation underpass.dev/short-circuit-peers: with whom a pod may be short-circuited. kMesh is needed on both ends.
enum class ShortCircuitPeers { kNamespace, kMesh };

// Annotation underpass.dev/capture: whether a pod's TCP connections go through a worker. kAuto: where something needs
// it.
enum class Capture { kAuto, kAlways };

// Annotation underpass.dev/local-mtls: kRequired: pods of the same node too go through a tunnel to this one.
enum class LocalMtls { kAuto, kRequired };

// What a pod speaks with pods of other nodes. kHbone: HTTP/2 CONNECT over mutual TLS, at its port 15008.
enum class Tunnel { kNone, kHbone };

// The label and the annotations of our own that a Namespace and a Pod share. Absent: not said here.
struct MeshSettings {
  std::optional<bool> mesh;  // underpass.dev/mesh: enabled | disabled
  std::optional<ShortCircuit> short_circuit;
  std::optional<ShortCircuitPeers> short_circuit_peers;
  std::optional<Capture> capture;
  std::optional<LocalMtls> local_mtls;

  bool operator==(const MeshSettings&) const = default;
};

struct Namespace {
  std::string name;
  MeshSettings settings;

  bool operator==(const Namespace&) const = default;
};

struct ServiceAccount {
  NamespacedName id;

  bool operator==(const ServiceAccount&) const = default;
};

struct Pod {
  NamespacedName id;
  std::string uid;
  // By which the kubelet names the pod's control group: uid, or of a static pod the annotation
  // kubernetes.io/config.hash of its mirror.
  std::string cgroup_uid;
  std::string node_name;                    // spec.nodeName; empty: not scheduled
  std::string service_account = "default";  // spec.serviceAccountName
  std::vector<IpAddress> ips;               // status.podIP(s), the primary one first; empty: not assigned yet
  std::map<std::string, std::string> labels;
  std::string owner;                // its controller, "Deployment/web"; of a pod without one: "Pod/<its name>"
  std::vector<std::string> images;  // spec.containers[].image in their order; containers without one are left out
  MeshSettings settings;
  std::string netns_path;     // annotation underpass.dev/netns, the folder source's; empty: none
  bool host_network = false;  // spec.hostNetwork
  bool terminated = false;    // status.phase is Succeeded or Failed: its IP may belong to another pod already
  // What Services without EndpointSlices are made of (derived endpoints).
  bool ready = true;                // condition Ready; a pod without one counts as ready
  bool deleting = false;            // metadata.deletionTimestamp
  std::vector<EndpointPort> ports;  // spec.containers[].ports[]: name, protocol, containerPort
  std::uint16_t weight = 1;         // annotation underpass.dev/weight, 1 to 100
  bool other_mesh = false;          // an istio-proxy container or ambient.istio.io/redirection: enabled
  // Ports of its own, in ascending order, each once.
  std::vector<std::uint16_t> probe_ports;             // to which the kubelet connects: probes and lifecycle hooks
  std::vector<std::uint16_t> exclude_inbound_ports;   // annotation underpass.dev/exclude-inbound-ports
  std::vector<std::uint16_t> exclude_outbound_ports;  // of the servers; underpass.dev/exclude-outbound-ports
  // What it speaks with other nodes follows from its labels. Else its node's agent must have said so, too
  // (NodeWorkloads).
  bool tunnel_by_label = true;

  bool operator==(const Pod&) const = default;
};

// What the agent of a node says of an enrolled pod there: that it takes HBONE. Nobody takes its word alone for it.
struct WorkloadClaim {
  NamespacedName pod;
  std::string uid;
  std::string service_account;
  std::vector<IpAddress> ips;

  bool operator==(const WorkloadClaim&) const = default;
};

inline constexpr std::uint32_t kWorkloadShards = 16;

// Some of a node's, so that a pod that comes or goes costs a small object. A pod's shard follows from its UID.
struct NodeWorkloads {
  std::string name;  // NODE.SHARD
  std::string node;
  std::uint32_t shard = 0;  // below kWorkloadShards
  std::vector<WorkloadClaim> workloads;

  bool operator==(const NodeWorkloads&) const = default;
};

// What a source could not use. One object, one diagnostic at a time.
struct Diagnostic {
  enum class State {
    kRefused,  // no good version was ever seen: the object is not there
    kStale,    // the last good version is still in force
  };
  std::string kind;
  NamespacedName id;  // both empty where the text did not parse far enough to know: see `path`
  State state = State::kRefused;
  std::string path;   // field path in the object, or file and line: "status.podIP", "/etc/mesh/a.yaml:14"
  std::string cause;  // "\"10.0.0\": not an IP address"
  std::string since;  // RFC 3339, UTC

  bool operator==(const Diagnostic&) const = default;
};

// One consistent view of the cluster, never changed after it is made.
struct Snapshot {
  std::map<std::string, Namespace> namespaces;
  std::map<NamespacedName, ServiceAccount> service_accounts;
  std::map<NamespacedName, Pod> pods;
  // Shared, so that a new snapshot costs no copy of them: what did not change is the same object.
  std::map<NamespacedName, std::shared_ptr<const Service>> services;
  std::map<NamespacedName, std::shared_ptr<const EndpointSlice>> slices;
  std::map<std::string, Node> nodes;
  std::map<NamespacedName, std::shared_ptr<const AuthorizationPolicy>> authorization_policies;
  std::map<NamespacedName, std::shared_ptr<const PeerAuthentication>> peer_authentications;
  std::map<NamespacedName, std::shared_ptr<const RequestAuthentication>> request_authentications;
  std::map<std::string, std::shared_ptr<const NodeWorkloads>> node_workloads;
  std::optional<MeshConfig> mesh;  // none: its defaults hold
  std::vector<Diagnostic> diagnostics;

  bool operator==(const Snapshot&) const = default;
};

// Which objects of a snapshot may be others than in the one before, the gone ones included: so that what follows from
// them costs as much as changed.
struct Changes {
  bool everything = false;  // the rest says nothing
  std::set<NamespacedName> services;
  std::set<NamespacedName> slices;
  std::set<NamespacedName> pods;
  std::set<std::string> node_workloads;
  bool nodes = false;
  bool namespaces = false;
  // Objects of the kinds of is_policy_kind(), and what is wrong with one: a refused policy closes its scope.
  bool policies = false;
};

}  // namespace underpass::model
