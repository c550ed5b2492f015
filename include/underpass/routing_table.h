// SPDX-License-Identifier: Apache-2.0
// What a worker is given: whom it serves and how. A value that the agent compiles and passes as JSON in a sealed memfd;
// the worker takes a whole one or keeps the one that it has.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "underpass/ids.h"
#include "underpass/model/policy.h"
#include "underpass/proxy_settings.h"

namespace underpass {

// The format of the JSON below. A worker refuses another's.
inline constexpr std::uint64_t kRoutingTableFormat = 4;

// What is spoken at a port of a pod, by the Service's appProtocol, else by the port's name (Istio's protocol
// selection). A port that is neither declared nor named is looked at: kDetect.
enum class PortProtocol : std::uint8_t { kDetect, kTcp, kHttp1, kHttp2, kGrpc };

// What policy asks of requests to one kind of pods. Made by the agent, which has sorted out whose selectors match.
struct HttpPolicySet {
  std::vector<model::AuthorizationPolicy> policies;  // CUSTOM, DENY, ALLOW and AUDIT that apply, with L4 ones
  std::vector<model::RequestAuthentication> authentications;
  // A policy of its scope was never understood: nothing but the excluded ports is let in. Which one, for the log.
  std::string closed_by;
  std::string why_closed;

  bool operator==(const HttpPolicySet&) const = default;
};

// An X.509 SVID (https://github.com/spiffe/spiffe/blob/main/standards/X509-SVID.md), which a worker shows as the pods
// that have this identity.
struct Certificate {
  std::string chain;  // PEM: its own first, then intermediates
  std::string key;    // PEM, PKCS #8

  bool operator==(const Certificate&) const = default;
};

struct RoutingTable {
  struct Pod {
    NetnsCookie netns = 0;
    NamespacedName id;
    std::string identity;  // spiffe://...
    std::map<std::string, std::string> labels;
    std::map<std::uint16_t, PortProtocol> ports;
    std::optional<std::uint32_t> policies;  // index of `policy_sets`; none: no policy concerns it
    bool tunnels = false;                   // it speaks HBONE, where it has a certificate
    // How a CONNECT may name a port of it other than by its address: "web.shop.svc.cluster.local:80" of a Service that
    // leads to it. Empty where it does not tunnel.
    std::map<std::string, std::uint16_t> services;

    bool operator==(const Pod&) const = default;
  };

  struct Provider {
    model::ExtAuthzProvider settings;
    std::vector<IpAddress> addresses;  // of its Service, in the order in which they are tried; none: it has none

    bool operator==(const Provider&) const = default;
  };

  std::uint64_t revision = 0;  // greater than that of every earlier one for this worker
  ProxySettings settings;
  std::vector<Pod> pods;                            // whose connections it takes
  std::map<std::uint32_t, std::string> identities;  // the SPIFFE ids that up_peer.identity numbers
  std::string trust_domain = "cluster.local";
  std::vector<HttpPolicySet> policy_sets;
  std::map<std::string, Provider> providers;        // that a policy names, by name
  std::map<std::string, std::string> jwks;          // by jwks_uri: what was fetched last. Not there: nothing ever was
  std::map<std::string, Certificate> certificates;  // by identity: of `pods`, those that there are
  std::string trust_bundle;                         // PEM: whom peers' certificates must come from

  bool operator==(const RoutingTable&) const = default;
};

}  // namespace underpass
