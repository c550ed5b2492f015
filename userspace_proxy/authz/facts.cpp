// SPDX-License-Identifier: Apache-2.0
#include "userspace_proxy/authz/facts.h"

namespace underpass::authz {
namespace {

std::optional<std::string_view> find_field(const http::Fields& fields, std::string_view name, std::string& joined) {
  std::optional<std::string_view> out;
  for (std::size_t i = 0; i < fields.size(); ++i) {
    const auto field = fields.at(i);
    if (field.name != name) continue;
    if (!out) {
      out = field.value;
      continue;
    }
    if (joined.empty()) joined = *out;
    joined += ',';
    joined += field.value;
    out = joined;
  }
  return out;
}

std::optional<std::string_view> unless_empty(std::string_view text) {
  return text.empty() ? std::nullopt : std::optional(text);
}

}  // namespace

// spiffe://<trust domain>/ns/<namespace>/sa/<service account>. Of another form it is a principal of its trust domain.
PeerFacts::PeerFacts(const Peer& peer) : peer_(peer) {
  constexpr std::string_view kScheme = "spiffe://", kNamespace = "/ns/", kAccount = "/sa/";
  std::string_view rest(peer.identity);
  if (!rest.starts_with(kScheme)) return;
  rest.remove_prefix(kScheme.size());
  principal_ = rest;
  trust_domain_ = rest.substr(0, rest.find('/'));
  rest.remove_prefix(trust_domain_.size());
  if (!rest.starts_with(kNamespace)) return;
  rest.remove_prefix(kNamespace.size());
  const auto ns = rest.substr(0, rest.find('/'));
  rest.remove_prefix(ns.size());
  if (ns.empty() || !rest.starts_with(kAccount)) return;
  rest.remove_prefix(kAccount.size());
  if (rest.empty() || rest.contains('/')) return;
  namespace_ = ns;
  service_account_ = std::string(ns) + "/" + std::string(rest);
}

std::string_view PeerFacts::of_identity(Fact::Kind kind) const {
  switch (kind) {
    case Fact::Kind::kPrincipal:
      return principal_;
    case Fact::Kind::kNamespace:
      return namespace_;
    case Fact::Kind::kServiceAccount:
      return service_account_;
    default:
      return trust_domain_;
  }
}

std::optional<std::string_view> find_header(const http::Request& request, std::string_view name, std::string& joined) {
  if (name == "host" || name == ":authority") return unless_empty(request.authority);
  if (name == ":method") return unless_empty(request.method);
  if (name == ":path") return unless_empty(request.path);
  if (name == ":scheme") return unless_empty(request.scheme);
  if (name == "upgrade") return unless_empty(request.protocol);
  if (name == "expect" && request.expects_continue) return "100-continue";
  if (name == "content-length") {
    if (!request.content_length) return std::nullopt;
    joined = std::to_string(*request.content_length);
    return joined;
  }
  return find_field(request.fields, name, joined);
}

std::string_view host_with_port(const Subject& subject, std::string& room) {
  const std::string_view authority(subject.request.authority);
  const auto colon = authority.rfind(':');
  const auto bracket = authority.rfind(']');
  if (colon == std::string_view::npos || (bracket != std::string_view::npos && bracket > colon)) return {};
  if (colon + 1 == authority.size()) return {};
  if (authority.substr(0, colon) == subject.host) return authority;
  room = subject.host;
  room += authority.substr(colon);
  return room;
}

bool is_space_delimited(const std::vector<std::string>& members) {
  return members.size() == 1 && (members.front() == "scope" || members.front() == "permission");
}

const boost::json::value* find_claim(const jwt::Claims& claims, const std::vector<std::string>& members) {
  const auto* object = &claims.all;
  for (std::size_t i = 0; i < members.size(); ++i) {
    const auto* value = object->if_contains(members[i]);
    if (value == nullptr || i + 1 == members.size()) return value;
    object = value->if_object();
    if (object == nullptr) return nullptr;
  }
  return nullptr;
}

}  // namespace underpass::authz
