// SPDX-License-Identifier: Apache-2.0
// From objects to BPF tables, as a pure function: what the cluster says (Snapshot), what this machine says (NetnsFacts)
// and what was learned of the pods' workloads go in; table contents and a verdict per pod come out. No files, no
// sockets, no BPF: golden files test it.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "agent/learn/workload.h"
#include "underpass/abi.h"
#include "underpass/ids.h"
#include "underpass/ip_address.h"
#include "underpass/model/objects.h"
#include "underpass/result.h"
#include "underpass/routing_table.h"

namespace underpass::compile {

// What was found in a pod's network namespace.
struct NetnsFact {
  NetnsCookie cookie = 0;
  std::vector<IpAddress> addresses;  // of all its interfaces, loopback too
  std::string path;                  // by which it can be opened, and messages call it
  // What the CNI plugin was told that the pod's addresses are; they count until status.podIP names some that are there.
  std::vector<IpAddress> announced = {};

  bool operator==(const NetnsFact&) const = default;
};

// For every local pod that names a netns or was looked for: the fact, or why there is none.
using NetnsFacts = std::map<NamespacedName, Result<NetnsFact>>;

// Of a pod of this node. `fact` may be null.
const std::vector<IpAddress>& addresses_of(const model::Pod& pod, const Result<NetnsFact>* fact);

// Gives each namespace a number that stays the same while anything in the kernel may still carry it.
class NamespaceIds {
 public:
  // The number of `ns`; a new name gets the next free one.
  std::uint32_t id_of(const std::string& ns);
  // Takes over what an earlier agent left in up_pods.
  void adopt(const std::string& ns, std::uint32_t id);

 private:
  std::map<std::string, std::uint32_t> ids_;
  std::uint32_t next_ = 1;
};

struct Options {
  std::string node_name;
  std::string trust_domain = "cluster.local";
  std::vector<std::string> detached_namespaces;  // `underpassctl detach --namespace`: as if labelled disabled
  NetnsCookie host_netns = 0;                    // the node's own, which no pod may name; 0: not known
  learn::Verdicts verdicts;                      // for pods in mode auto
  std::string auto_problem;                      // why mode auto is off on this machine; empty: it is not
};

// What became of one pod of this node; the rows of `underpassctl pods`.
struct PodStatus {
  NamespacedName id;
  std::vector<IpAddress> ips;
  std::string identity;  // spiffe://...
  NamespacedName account;
  NetnsCookie netns_cookie = 0;
  std::string netns_path;  // by which that network namespace can be opened
  bool enrolled = false;
  // Wanted in the mesh, and not possible: `reason` says why. A pod that nothing asks to join is neither.
  bool refused = false;
  std::string reason;  // why not enrolled
  // The mode in force; kAuto: learning.
  model::ShortCircuit short_circuit = model::ShortCircuit::kAuto;
  // Where the mode comes from: "annotation on Pod", "annotation on Namespace", "default", or what was learned.
  std::string short_circuit_reason;
  bool asks_auto = false;                                                 // what is learned decides
  model::ShortCircuitPeers peers = model::ShortCircuitPeers::kNamespace;  // with whom
  bool capture = false;  // its connections go through a worker; of an enrolled pod
  std::string
      capture_reason;         // where that comes from, as short_circuit_reason; or "AuthorizationPolicy shop/allow-get"
  bool inbound_only = false;  // ... those that others dial, alone
  bool tunnel_only = false;   // ... those that go through a tunnel, alone
  bool tunnels = false;       // it speaks HBONE with pods of other nodes, or is to with all
  std::string local_mtls;     // where that comes from, as capture_reason; empty: nobody asks for it
  std::string decided_by;     // ... and these not without one, since it decides by "AuthorizationPolicy shop/allow-get"
  // What its worker asks of requests; null: nothing. Equal content is the same object, also from one time to the next.
  std::shared_ptr<const HttpPolicySet> http;
  learn::Workload workload;

  bool operator==(const PodStatus&) const = default;
};

struct PolicySet;

// Where the worker of this pod may connect to ask an authorization provider (CUSTOM), as if the pod did.
struct Errand {
  NetnsCookie netns = 0;
  IpAddress ip;
  std::uint16_t port = 0;  // host order

  auto operator<=>(const Errand&) const = default;
};

// Of what a pod dials: underpass.dev/exclude-outbound-ports. Of what is dialled of a captured pod:
// underpass.dev/exclude-inbound-ports; of the others policy alone looks at these (PolicySet).
struct ExcludedPort {
  NetnsCookie netns = 0;
  std::uint16_t port = 0;  // host order
  bool inbound = false;

  auto operator<=>(const ExcludedPort&) const = default;
};

struct Tables {
  std::map<NetnsCookie, up_pod> pods;
  std::map<IpAddress, NetnsCookie> ips;
  std::set<NetnsCookie> known;  // of pods of this node that are seen and not enrolled
  std::set<ExcludedPort> excluded;
  // Who may connect to a pod; of those that are not here: anybody.
  std::map<NetnsCookie, std::shared_ptr<const PolicySet>> policies;
  std::set<Errand> errands;
};

struct Compiled {
  Tables tables;
  std::vector<PodStatus> pods;  // sorted by namespace, name; the pods of this node only
  // SPIFFE ids of pods that are reached through tunnels, by their number: RemoteCompiler's.
  std::map<std::uint32_t, std::string> remote_identities;
};

Compiled compile_tables(const model::Snapshot& snapshot, const NetnsFacts& facts, const Options& options,
                        NamespaceIds& ids);

// The tables as sorted text, one entry a line: what golden files hold.
std::string to_text(const Compiled& compiled);

}  // namespace underpass::compile
