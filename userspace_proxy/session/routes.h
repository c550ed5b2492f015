// SPDX-License-Identifier: Apache-2.0
// A routing table in force, with what traffic threads look up in it. Made once, shared, never changed.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "underpass/routing_table.h"
#include "userspace_proxy/authz/authorizer.h"
#include "userspace_proxy/http/codec.h"
#include "userspace_proxy/jwt/token.h"
#include "userspace_proxy/tls/identity.h"

namespace underpass::session {

// What is asked of requests to one kind of pods.
struct HttpPolicing {
  HttpPolicing(const HttpPolicySet& policies, const RoutingTable& table)
      : set(policies), authorizer(policies, table.trust_domain), verifier(policies.authentications, table) {}

  const HttpPolicySet& set;
  authz::Authorizer authorizer;
  jwt::Verifier verifier;
};

class Routes {
 public:
  explicit Routes(RoutingTable table, tls::Identities identities = {});
  Routes(const Routes&) = delete;  // the indices point into the table
  Routes& operator=(const Routes&) = delete;

  [[nodiscard]] const RoutingTable& table() const { return table_; }
  [[nodiscard]] const ProxySettings& settings() const { return table_.settings; }
  [[nodiscard]] const http::Limits& limits() const { return limits_; }

  // Null: not one of this worker's.
  [[nodiscard]] const RoutingTable::Pod* find_pod(NetnsCookie netns) const {
    const auto found = pods_.find(netns);
    return found == pods_.end() ? nullptr : found->second;
  }
  // Null: not told.
  [[nodiscard]] const std::string* find_identity(std::uint32_t number) const {
    const auto found = table_.identities.find(number);
    return found == table_.identities.end() ? nullptr : &found->second;
  }
  // What to show as this identity; null: there is no certificate, or it has ended.
  [[nodiscard]] tls::IdentityPtr find_certificate(std::string_view identity) const {
    const auto found = identities_.find(identity);
    return found == identities_.end() || !found->second->is_valid() ? nullptr : found->second;
  }
  [[nodiscard]] tls::IdentityPtr find_certificate_of(NetnsCookie netns) const {
    const auto* pod = find_pod(netns);
    return pod == nullptr ? nullptr : find_certificate(pod->identity);
  }
  // Null: no policy concerns that pod, or it is not one of this worker's.
  [[nodiscard]] const HttpPolicing* policing_of(NetnsCookie server) const {
    const auto* pod = find_pod(server);
    return pod == nullptr || !pod->policies ? nullptr : policing_[*pod->policies].get();
  }
  // What is spoken at a port of a pod; of one that is not this worker's that is to be found out.
  [[nodiscard]] PortProtocol protocol_of(NetnsCookie server, std::uint16_t port) const {
    const auto* pod = find_pod(server);
    if (pod == nullptr) return PortProtocol::kDetect;
    const auto found = pod->ports.find(port);
    return found == pod->ports.end() ? PortProtocol::kDetect : found->second;
  }

 private:
  RoutingTable table_;
  tls::Identities identities_;
  http::Limits limits_;
  std::unordered_map<NetnsCookie, const RoutingTable::Pod*> pods_;
  std::vector<std::unique_ptr<const HttpPolicing>> policing_;  // as table_.policy_sets
};

using RoutesPtr = std::shared_ptr<const Routes>;

}  // namespace underpass::session
