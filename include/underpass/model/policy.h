// SPDX-License-Identifier: Apache-2.0
// Who may connect to whom, and ask for what, as plain values. Field meanings are Istio's own (security.istio.io/v1
// AuthorizationPolicy and PeerAuthentication).
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "underpass/ids.h"
#include "underpass/ip_address.h"
#include "underpass/proxy_settings.h"

namespace underpass::model {

// How Istio matches strings: "*" anything that is there, "abc*" a prefix, "*abc" a suffix, else the whole. A wildcard
// anywhere else is refused by the decoders. Of paths alone: a template ("/a/{*}/b/{**}"), where {*} is one segment that
// is not empty and {**} any number of them (Envoy's URI template match, as Istio allows it).
struct StringMatch {
  enum class Kind { kExact, kPrefix, kSuffix, kPresent, kTemplate };
  Kind kind = Kind::kExact;
  std::string text;  // without the wildcard; empty for kPresent; of kTemplate the whole

  // Not of a template, which only a path is compared with.
  [[nodiscard]] bool matches(std::string_view value) const {
    switch (kind) {
      case Kind::kExact:
        return value == text;
      case Kind::kPrefix:
        return value.starts_with(text);
      case Kind::kSuffix:
        return value.ends_with(text);
      case Kind::kPresent:
        return true;
      case Kind::kTemplate:
        return false;
    }
    return false;
  }
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
  Match<IpBlock> ip_blocks;               // of the packet
  Match<IpBlock> remote_ip_blocks;        // of the client; the same where there is no proxy in between
  Match<StringMatch> request_principals;  // "issuer/subject" of a token

  [[nodiscard]] bool needs_http() const { return !request_principals.empty(); }
  bool operator==(const PolicySource&) const = default;
};

// rules[].to[].operation.
struct PolicyOperation {
  Match<std::uint16_t> ports;
  Match<StringMatch> hosts;    // case-insensitive; without a port in the policy, the request's port does not count
  Match<StringMatch> methods;  // of gRPC always POST
  Match<StringMatch> paths;    // without query and fragment, normalised; of gRPC "/package.Service/Method"

  [[nodiscard]] bool needs_http() const { return !(hosts.empty() && methods.empty() && paths.empty()); }
  bool operator==(const PolicyOperation&) const = default;
};

// rules[].when[].
struct PolicyCondition {
  enum class Key {
    kSourceIp,
    kSourceNamespace,
    kSourcePrincipal,
    kRemoteIp,
    kDestinationIp,
    kDestinationPort,
    kHeader,            // request.headers[name]
    kRequestPrincipal,  // request.auth.principal: "issuer/subject"
    kAudiences,         // request.auth.audiences: one of the token's
    kPresenter,         // request.auth.presenter: the claim azp
    kClaim,             // request.auth.claims[a][b]: a string, or an element of a list of strings
    kUnsupported,  // of which nothing here can be told: an ALLOW rule with it matches nothing, a DENY rule whatever
                   // its other parts match
  };
  Key key = Key::kUnsupported;
  std::string name;                  // as the object has it: "request.headers[x-id]"; "source.serviceAccount" has
                                     // kSourcePrincipal and suffixes "/ns/shop/sa/web"
  std::vector<std::string> members;  // of kHeader its name in lower case; of kClaim the way to it
  Match<StringMatch> strings;        // of all that are no addresses or ports
  Match<IpBlock> blocks;             // of kSourceIp, kRemoteIp and kDestinationIp
  Match<std::uint16_t> ports;        // of kDestinationPort

  [[nodiscard]] bool needs_http() const { return key >= Key::kHeader; }
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
  std::string provider;                         // of kCustom: spec.provider.name

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

// One of RequestAuthentication's jwtRules.
struct JwtRule {
  struct FromHeader {
    std::string name;    // in lower case
    std::string prefix;  // "Bearer "; what follows it is the token
    bool operator==(const FromHeader&) const = default;
  };
  struct ClaimToHeader {
    std::string header;              // in lower case
    std::vector<std::string> claim;  // "a.b" is {"a", "b"}
    bool operator==(const ClaimToHeader&) const = default;
  };
  std::string issuer;
  std::vector<std::string> audiences;  // the token must have one of them; none: any
  std::string jwks_uri;                // whose keys the agent fetches
  std::string jwks;                    // ... or the keys themselves, JSON (RFC 7517)
  // Where the token is looked for. All empty: header authorization with "Bearer ", then parameter access_token.
  std::vector<FromHeader> from_headers;
  std::vector<std::string> from_params;
  std::vector<std::string> from_cookies;
  std::string output_payload_to_header;  // the payload as it came, base64url; in lower case; empty: none
  std::vector<ClaimToHeader> output_claims;
  bool forward_original_token = false;
  std::chrono::milliseconds fetch_timeout{5'000};

  bool operator==(const JwtRule&) const = default;
};

// A token that is there must be good, else 401; one that is missing is no matter of this but of policies that ask for
// request principals (security.istio.io/v1 RequestAuthentication).
struct RequestAuthentication {
  NamespacedName id;
  std::string created;
  std::map<std::string, std::string> selector;
  std::vector<JwtRule> rules;

  bool operator==(const RequestAuthentication&) const = default;
};

// One of spec.extensionProviders of the Mesh, for policies with action CUSTOM: Istio's envoyExtAuthzHttp with its
// fields. Header names may be "x-*", "*-id"; all in lower case.
struct ExtAuthzProvider {
  std::string name;
  NamespacedName service;  // "ext-authz.platform.svc.cluster.local", "platform/ext-authz.…" or "ext-authz.platform"
  std::uint16_t port = 0;
  std::chrono::milliseconds timeout{600};  // a second is long for every request; Istio's default is 600 s
  bool fail_open = false;
  unsigned status_on_error = 403;
  std::string path_prefix;
  std::vector<StringMatch> include_request_headers;
  std::map<std::string, std::string> include_additional_headers;
  std::size_t max_request_bytes = 0;  // of the body that is sent along; 0: none
  bool allow_partial_message = false;
  std::vector<StringMatch> headers_to_upstream_on_allow;
  std::vector<StringMatch> headers_to_downstream_on_deny;
  std::vector<StringMatch> headers_to_downstream_on_allow;

  bool operator==(const ExtAuthzProvider&) const = default;
};

// The name of the one Mesh (underpass.dev/v1alpha1) that there is.
inline constexpr std::string_view kMeshName = "default";

// Who shares a worker: the pods of a namespace, or all of a node.
enum class Isolation { kNamespace, kShared };

// Kinds of objects that say who may connect and ask for what. One of which no version was ever understood closes its
// scope: of a Mesh everything, of the others their namespace, or everything where that is the root.
inline bool is_scoped_policy_kind(std::string_view kind) {
  return kind == "AuthorizationPolicy" || kind == "PeerAuthentication" || kind == "RequestAuthentication";
}
inline bool is_policy_kind(std::string_view kind) { return kind == "Mesh" || is_scoped_policy_kind(kind); }

struct MeshConfig {
  std::string trust_domain = "cluster.local";
  std::string root_namespace = "istio-system";
  Isolation isolation = Isolation::kNamespace;
  ProxySettings proxy;
  std::map<std::string, ExtAuthzProvider> providers;  // by name

  bool operator==(const MeshConfig&) const = default;
};

}  // namespace underpass::model
