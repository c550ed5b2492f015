// SPDX-License-Identifier: Apache-2.0
// What a connection and a request say of themselves, fact by fact, without copies where there need be none.
#pragma once

#include <algorithm>
#include <boost/json/value.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "userspace_proxy/authz/authorizer.h"
#include "userspace_proxy/authz/requirements.h"

namespace underpass::authz {

// Of a connection. What a peer without an account has not is not told. `peer` must outlive it.
class PeerFacts {
 public:
  explicit PeerFacts(const Peer& peer);

  template <typename Use>
  void tell(const Fact& fact, const Use& use) const {
    using Kind = Fact::Kind;
    switch (fact.kind) {
      case Kind::kSourceIp:
        return use(to_text(peer_.client_ip), false);
      case Kind::kRemoteIp:
        return use(to_text(peer_.remote_ip), false);
      case Kind::kDestinationIp:
        return use(to_text(peer_.server_ip), false);
      case Kind::kPort:
        return use(std::to_string(peer_.server_port), false);
      default:
        break;
    }
    const auto text = of_identity(fact.kind);
    if (!text.empty()) use(text, false);
  }

 private:
  [[nodiscard]] std::string_view of_identity(Fact::Kind kind) const;

  const Peer& peer_;
  std::string_view principal_;
  std::string_view trust_domain_;
  std::string_view namespace_;
  std::string service_account_;  // "shop/web"
};

// The value of a header; `joined` holds it where there are several fields of that name, or none but a number. Some that
// are not among the fields can be asked for as with Envoy: host, :authority, :method, :path, :scheme, upgrade, expect
// and content-length.
std::optional<std::string_view> find_header(const http::Request& request, std::string_view name, std::string& joined);

// The host in lower case and the port of the authority, "shop.example:8080"; empty: it names no port. `room` holds it
// where the authority is not in lower case itself.
std::string_view host_with_port(const Subject& subject, std::string& room);

// Claims that OAuth 2 has as lists with spaces between (RFC 6749 §3.3) are lists for Istio (and Envoy's
// space_delimited_claims).
bool is_space_delimited(const std::vector<std::string>& members);
const boost::json::value* find_claim(const jwt::Claims& claims, const std::vector<std::string>& members);

template <typename Use>
void tell_words(std::string_view text, const Use& use) {
  while (!text.empty()) {
    const auto word = text.substr(0, text.find(' '));
    if (!word.empty()) use(word, false);
    text.remove_prefix(std::min(word.size() + 1, text.size()));
  }
}

template <typename Use>
void tell_claim(const jwt::Claims& claims, const std::vector<std::string>& members, const Use& use) {
  const auto* value = find_claim(claims, members);
  if (value == nullptr) return;
  if (const auto* text = value->if_string()) {
    if (is_space_delimited(members)) return tell_words(*text, use);
    return use(std::string_view(*text), false);
  }
  const auto* list = value->if_array();
  if (list == nullptr) return;
  for (const auto& element : *list)
    if (const auto* text = element.if_string()) use(std::string_view(*text), false);
}

// Of a request.
template <typename Use>
void tell(const Subject& subject, const Fact& fact, bool wants_port, const Use& use) {
  using Kind = Fact::Kind;
  const auto tell_text = [&](std::string_view text) {
    if (!text.empty()) use(text, false);
  };
  switch (fact.kind) {
    case Kind::kHost:
      tell_text(subject.host);
      if (wants_port) {
        std::string room;
        if (const auto host = host_with_port(subject, room); !host.empty()) use(host, true);
      }
      return;
    case Kind::kMethod:
      return tell_text(subject.request.method);
    case Kind::kPath:
      return tell_text(subject.path);
    case Kind::kHeader: {
      std::string joined;
      if (const auto value = find_header(subject.request, fact.members.front(), joined)) use(*value, false);
      return;
    }
    default:
      break;
  }
  if (subject.claims == nullptr) return;
  if (fact.kind == Kind::kRequestPrincipal) return tell_text(subject.claims->principal);
  if (fact.kind == Kind::kPresenter) return tell_text(subject.claims->presenter);
  if (fact.kind == Kind::kClaim) return tell_claim(*subject.claims, fact.members, use);
  for (const auto& audience : subject.claims->audiences) use(audience, false);
}

}  // namespace underpass::authz
