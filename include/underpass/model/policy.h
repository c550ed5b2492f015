// SPDX-License-Identifier: Apache-2.0
// Who may connect to whom, as plain values. Field meanings are Istio's own (security.istio.io/v1 AuthorizationPolicy
// and PeerAuthentication). Only what can be decided when a connection is made is kept in full; of what needs HTTP it is
// kept that it was asked for.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "underpass/ids.h"
#include "underpass/ip_address.h"
#include "underpass/routing_table.h"

namespace underpass::model {

// How Istio matches strings: "*" anything that is there, "abc*" a prefix, "*abc" a suffix, else the whole. A wildcard
// anywhere else is refused by the decoders.
struct StringMatch {
  enum class Kind { kExact, kPrefix, kSuffix, kPresent };
  Kind kind = Kind::kExact;
  std::string text;  // without the wildcard; empty for kPresent

  auto operator<=>(const StringMatch&) const = default;
};

// A network. Bits of the host are refused by the decoders. One of IPv6 has no IPv4 address in it: ::/0 is every address
// of IPv6, although the 128 bits of those of IPv4 begin with its 0 too.
struct IpBlock {
  IpAddress base;
  std::uint8_t prefix = 128;  // of the 128 bits of IpAddress: of 10.0.0.0/8 it is 104

  auto operator<=>(const IpBlock&) const = default;
};

// `values`, of which one must match, and `not_values`, of which none may. Empty `values`: not asked for.
template <typename T>
struct Match {
  std::vector<T> values;
  std::vector<T> not_values;

  [[nodiscard]] bool empty() const { return values.empty() && not_values.empty(); }
  bool operator==(const Match&) const = default;
};

// rules[].from[].source. What is asked for must hold all together.
struct PolicySource {
  Match<StringMatch> principals;  // "cluster.local/ns/shop/sa/web", without spiffe://
  Match<StringMatch> namespaces;
  Match<StringMatch> service_accounts;  // "web" (of the policy's namespace) or "shop/web", resolved to "shop/web"
  Match<StringMatch> trust_domains;
  Match<IpBlock> ip_blocks;             // of the packet
  Match<IpBlock> remote_ip_blocks;      // of the client; the same where there is no proxy in between
  std::vector<std::string> needs_http;  // fields that only HTTP can tell, by name: "requestPrincipals"

  bool operator==(const PolicySource&) const = default;
};

// rules[].to[].operation.
struct PolicyOperation {
  Match<std::uint16_t> ports;
  std::vector<std::string> needs_http;  // "hosts", "methods", "paths" and their not-forms

  bool operator==(const PolicyOperation&) const = default;
};

// rules[].when[].
struct PolicyCondition {
  enum class Key { kSourceIp, kSourceNamespace, kSourcePrincipal, kRemoteIp, kDestinationIp, kDestinationPort, kHttp };
  Key key = Key::kHttp;
  std::string name;            // as the object has it: "request.headers[x-id]"; "source.serviceAccount" has
                               // kSourcePrincipal and suffixes "/ns/shop/sa/web"
  Match<StringMatch> strings;  // of kSourceNamespace and kSourcePrincipal
  Match<IpBlock> blocks;       // of kSourceIp, kRemoteIp and kDestinationIp
  Match<std::uint16_t> ports;  // of kDestinationPort

  bool operator==(const PolicyCondition&) const = default;
};

// Matches where one of `from`, one of `to` and all of `when` do. An empty list is not asked for; so a rule without
// anything matches everything.
struct PolicyRule {
  std::vector<PolicySource> from;
  std::vector<PolicyOperation> to;
  std::vector<PolicyCondition> when;

  bool operator==(const PolicyRule&) const = default;
};

struct AuthorizationPolicy {
  enum class Action { kAllow, kDeny, kAudit, kCustom };
  NamespacedName id;
  std::string created;  // metadata.creationTimestamp, RFC 3339
  Action action = Action::kAllow;
  std::map<std::string, std::string> selector;  // spec.selector.matchLabels; empty: every workload in scope
  std::vector<PolicyRule> rules;                // none: nothing matches
  bool dry_run = false;                         // annotation istio.io/dry-run: "true"

  bool operator==(const AuthorizationPolicy&) const = default;
};

enum class MtlsMode { kUnset, kDisable, kPermissive, kStrict };

struct PeerAuthentication {
  NamespacedName id;
  std::string created;
  std::map<std::string, std::string> selector;
  MtlsMode mode = MtlsMode::kUnset;
  std::map<std::uint16_t, MtlsMode> port_modes;  // of the workload's ports; only with a selector (Istio)

  bool operator==(const PeerAuthentication&) const = default;
};

// The name of the one Mesh (underpass.dev/v1alpha1) that there is.
inline constexpr std::string_view kMeshName = "default";

// Who shares a worker: the pods of a namespace, or all of a node.
enum class Isolation { kNamespace, kShared };

struct MeshConfig {
  std::string trust_domain = "cluster.local";
  std::string root_namespace = "istio-system";
  Isolation isolation = Isolation::kNamespace;
  ProxySettings proxy;

  bool operator==(const MeshConfig&) const = default;
};

}  // namespace underpass::model
