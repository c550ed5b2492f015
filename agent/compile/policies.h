// SPDX-License-Identifier: Apache-2.0
// From AuthorizationPolicies and PeerAuthentications to what the kernel decides with: for each workload a set of
// clauses, and for each thing that a connection is known by (who, from where, to which address and port) the clauses
// that it satisfies, as bits. A connection satisfies the clauses whose bit is set in all four. Pure.
//
// A set never changes: another content is another set, so a workload goes from one verdict to the next at one moment.
//
// Where Istio leaves room:
// - Without an account (unauthenticated, host) no value of principals, namespaces, serviceAccounts and trustDomains
//   matches, not even "*", and so all of their not-forms hold: notNamespaces: ["shop"] is true of plaintext (ztunnel
//   src/rbac.rs, and Envoy likewise).
// - What needs HTTP: the set lets in whoever might be allowed, and the worker that they come to decides. So an ALLOW
//   clause keeps what of it is no HTTP; a DENY clause with HTTP, CUSTOM, and what only tells (dry run, AUDIT) and has
//   HTTP, are left out. See http_policies.h.
// - A condition whose key is not known (kUnsupported) is no HTTP, and nobody can tell of it: an ALLOW or AUDIT clause
//   with it is left out, and a DENY is in force without it (istiod: "more restrictive than requested").
// - PeerAuthentication DISABLE is PERMISSIVE (istiod for ztunnel; at a port alike, where istiod has it only beside a
//   mode of the workload), and a selector in the root namespace is ignored (Istio's reference).
// - ::/0 and all other IPv6 blocks contain no IPv4 address.
#pragma once

#include <array>
#include <bitset>
#include <compare>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "underpass/ids.h"
#include "underpass/model/objects.h"
#include "underpass/model/policy.h"

namespace underpass::compile {

// Of one set. More make the set closed: nothing but what bypasses policy connects.
inline constexpr std::size_t kMaxClauses = 2048;
using ClauseBits = std::bitset<kMaxClauses>;

// Who is at the other end, as the kernel attests it.
struct Identity {
  enum class Kind { kUnauthenticated, kHost, kAccount };
  Kind kind = Kind::kUnauthenticated;
  NamespacedName account;  // of kAccount: namespace and service account; the trust domain is the mesh's

  auto operator<=>(const Identity&) const = default;
};

// What a clause does where it matches. In this order: a bypass allows, a deny refuses, then, if there is any allow
// clause, one of them must match. Dry-run and audit clauses change nothing and are counted.
enum class Effect { kBypass, kDeny, kAllow, kDryRunDeny, kDryRunAllow, kAudit };

// Where a clause comes from, for `explain`, flows, metrics and the log.
struct ClauseOrigin {
  Effect effect = Effect::kAllow;
  std::string kind;         // "AuthorizationPolicy", "PeerAuthentication"; "Pod" of a bypass
  NamespacedName id;        // empty of a Pod, so that pods can share a set
  std::size_t rule = 0;     // index in spec.rules; of a Pod 0: its probes, 1: its excluded ports; of a
                            // PeerAuthentication 0: its mode, 1: those of ports
  bool needs_http = false;  // of which only a worker can tell whether it applies: an ALLOW, which allows as if
  int source = -1;          // index in the rule's `from`; -1: it has none

  bool operator==(const ClauseOrigin&) const = default;
};

// A policy that no version was ever understood of: its scope is closed. That of a Mesh is the mesh.
struct UnreadPolicy {
  std::string kind;  // "AuthorizationPolicy", "PeerAuthentication", "RequestAuthentication", "Mesh"
  NamespacedName id;

  bool operator==(const UnreadPolicy&) const = default;
};

struct PolicySet {
  // By bit. A clause is a rule with one of its sources (or none), or what a PeerAuthentication asks for: first of the
  // mode of all ports, then of those that have their own. By effect in the order of Effect, PeerAuthentications before
  // policies, policies by namespace and name, rules and sources as they stand.
  std::vector<ClauseOrigin> clauses;
  std::vector<NamespacedName> allow_policies;  // that apply, also those without a clause: if any, default deny
  std::vector<NamespacedName> dry_run_allow_policies;
  bool closed = false;  // too many clauses, or a policy that was never understood: nothing
                        // but bypass clauses is left, nothing but what they allow connects
  std::string why_closed;
  UnreadPolicy closed_by;                       // without a kind where it was not one policy
  std::map<Identity, ClauseBits> identities;    // all accounts that are known, unauthenticated and host
  ClauseBits unknown_identity;                  // an account that was not known when this was compiled: as if closed
                                                // for ALLOW, as if matching for DENY
  std::map<model::IpBlock, ClauseBits> blocks;  // of the client, by longest prefix; always has ::/0 and 0.0.0.0/0
  // Of the server, the same way: where destination.ip is asked for. Without that no more than the two. Not by the pod's
  // own addresses, so that pods share a set; who knows them may look them up once.
  std::map<model::IpBlock, ClauseBits> destinations;
  std::map<std::uint16_t, ClauseBits> ports;
  ClauseBits other_ports;

  [[nodiscard]] bool has_allow() const { return !allow_policies.empty(); }
  [[nodiscard]] bool has_dry_run_allow() const { return !dry_run_allow_policies.empty(); }
  [[nodiscard]] ClauseBits with_effect(Effect effect) const;
  bool operator==(const PolicySet&) const = default;
};

// A connection, as policy sees it.
struct Attempt {
  Identity client;
  IpAddress client_ip;
  IpAddress server_ip;
  std::uint16_t server_port = 0;
};

struct Verdict {
  bool allowed = true;
  // The clause that decided, as index of PolicySet::clauses; -1: none did (no policy; or no ALLOW matched, or closed).
  int decided_by = -1;
  bool default_deny = false;  // an ALLOW policy applies and none matched
  // Whatever the verdict, except where policy was bypassed or the set is closed.
  std::vector<std::size_t> would_deny;  // dry-run DENY clauses that match
  bool would_default_deny = false;      // dry-run ALLOW policies apply and none matches
  std::vector<std::size_t> audited;     // AUDIT clauses that match

  bool operator==(const Verdict&) const = default;
};

// As the kernel decides it, from the set's bits alone.
Verdict decide(const PolicySet& set, const Attempt& attempt);

// A workload of this node, as far as policy is concerned.
struct PolicyTarget {
  NamespacedName pod;
  std::map<std::string, std::string> labels;
  std::vector<IpAddress> ips;                 // does not change the set: see PolicySet::destinations
  std::vector<std::uint16_t> probe_ports;     // that its probes declare: open to Identity::kHost
  std::vector<std::uint16_t> excluded_ports;  // underpass.dev/exclude-inbound-ports: policy has no say there

  bool operator==(const PolicyTarget&) const = default;
};

struct PolicyInput {
  model::MeshConfig mesh;
  std::vector<std::shared_ptr<const model::AuthorizationPolicy>> policies;
  std::vector<std::shared_ptr<const model::PeerAuthentication>> peer_authentications;
  std::vector<std::shared_ptr<const model::RequestAuthentication>> request_authentications;
  std::vector<UnreadPolicy> unread;
  std::vector<NamespacedName> accounts;  // service accounts of all enrolled pods of this node

  bool operator==(const PolicyInput&) const = default;  // objects by their pointers
};

// One workload. Equal content gives equal sets, so that pods with the same policies share one.
PolicySet compile_policy_set(const PolicyInput& input, const PolicyTarget& target);

// The same verdict from the objects themselves, one after the other as Istio's documentation reads: what decide() is
// tested against. Slow, and shares no code with compile_policy_set(). It judges every account as what it is, known or
// not.
Verdict evaluate_plainly(const PolicyInput& input, const PolicyTarget& target, const Attempt& attempt);

// The set as text: its clauses, and a line for each entry of each dimension, with the clauses by number.
std::string to_text(const PolicySet& set);

}  // namespace underpass::compile
