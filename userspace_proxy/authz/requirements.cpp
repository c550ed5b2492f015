// SPDX-License-Identifier: Apache-2.0
#include "userspace_proxy/authz/requirements.h"

#include <algorithm>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>

#include "userspace_proxy/authz/path_template.h"
#include "userspace_proxy/jwt/token.h"

namespace underpass::authz {
namespace {

using model::Match;
using model::PolicyCondition;
using model::StringMatch;
using Kind = Fact::Kind;
using Strings = Match<StringMatch>;

constexpr unsigned kAddressBits = 128;
constexpr unsigned kV4Begin = 96;  // where an IPv4 address begins in its v4-mapped form

std::string bits_of(const IpAddress& ip, unsigned begin, unsigned end) {
  const auto address = ip.to_abi();
  const std::span bytes(address.bytes);
  std::string out;
  out.reserve(1 + end - begin);
  out += begin == kV4Begin ? '4' : '6';
  for (unsigned bit = begin; bit < end; ++bit) out += ((bytes[bit / 8] >> (7 - bit % 8)) & 1) != 0 ? '1' : '0';
  return out;
}

template <typename T, typename Convert>
Strings convert(const Match<T>& match, const Convert& to_match) {
  Strings out;
  for (const auto& value : match.values) out.values.push_back(to_match(value));
  for (const auto& value : match.not_values) out.not_values.push_back(to_match(value));
  return out;
}

Strings strings_of(const Match<model::IpBlock>& match) {
  return convert(
      match, [](const auto& block) { return StringMatch{.kind = StringMatch::Kind::kPrefix, .text = to_text(block)}; });
}

Strings strings_of(const Match<std::uint16_t>& match) {
  return convert(match, [](std::uint16_t port) {
    return StringMatch{.kind = StringMatch::Kind::kExact, .text = std::to_string(port)};
  });
}

Strings lower(const Strings& hosts) {
  return convert(hosts, [](StringMatch host) {
    for (char& c : host.text)
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + ('a' - 'A'));
    return host;
  });
}

// As Istio reads them: the last "/" of a value stands between issuer and subject, since an issuer may be a URL, and
// each is compared for itself ("idp*" and "*me" without one are of issuers and of subjects). So "https://idp/*" is of
// one issuer, and not of "https://idp/other" too.
Strings principals_of(const Strings& values) {
  return convert(values, [](StringMatch value) {
    if (const auto slash = value.text.rfind('/'); slash != std::string::npos)
      value.text[slash] = jwt::kPrincipalSeparator;
    else if (value.kind == StringMatch::Kind::kExact)
      value.text += jwt::kPrincipalSeparator;  // an issuer without a subject, which no principal is
    return value;
  });
}

class Reader {
 public:
  Demand take() && { return std::move(demand_); }

  void read(const model::PolicySource& source) {
    add(Kind::kPrincipal, source.principals, "principals");
    add(Kind::kNamespace, source.namespaces, "namespaces");
    add(Kind::kServiceAccount, source.service_accounts, "serviceAccounts");
    add(Kind::kTrustDomain, source.trust_domains, "trustDomains");
    add(Kind::kSourceIp, strings_of(source.ip_blocks), "ipBlocks");
    add(Kind::kRemoteIp, strings_of(source.remote_ip_blocks), "remoteIpBlocks");
    add(Kind::kRequestPrincipal, principals_of(source.request_principals), "requestPrincipals");
  }

  void read(const model::PolicyOperation& operation) {
    add(Kind::kPort, strings_of(operation.ports), "ports");
    add(Kind::kHost, lower(operation.hosts), "hosts");
    add(Kind::kMethod, operation.methods, "methods");
    if (are_readable(operation.paths)) add(Kind::kPath, operation.paths, "paths");
  }

  void read(const PolicyCondition& condition) {
    using Key = PolicyCondition::Key;
    switch (condition.key) {
      case Key::kSourceIp:
        return add(Kind::kSourceIp, strings_of(condition.blocks), condition.name);
      case Key::kRemoteIp:
        return add(Kind::kRemoteIp, strings_of(condition.blocks), condition.name);
      case Key::kDestinationIp:
        return add(Kind::kDestinationIp, strings_of(condition.blocks), condition.name);
      case Key::kDestinationPort:
        return add(Kind::kPort, strings_of(condition.ports), condition.name);
      case Key::kSourceNamespace:
        return add(Kind::kNamespace, condition.strings, condition.name);
      case Key::kSourcePrincipal:
        return add(Kind::kPrincipal, condition.strings, condition.name);
      case Key::kHeader:
        return add(Kind::kHeader, condition.strings, condition.name, condition.members);
      case Key::kRequestPrincipal:
        return add(Kind::kRequestPrincipal, principals_of(condition.strings), condition.name);
      case Key::kAudiences:
        return add(Kind::kAudiences, condition.strings, condition.name);
      case Key::kPresenter:
        return add(Kind::kPresenter, condition.strings, condition.name);
      case Key::kClaim:
        return add(Kind::kClaim, condition.strings, condition.name, condition.members);
      case Key::kUnsupported:
        demand_.unknown = condition.name.empty() ? "a condition without a name" : condition.name;
    }
  }

 private:
  void add(Kind kind, Strings match, std::string_view name, std::vector<std::string> members = {}) {
    if (match.empty()) return;
    demand_.requirements.push_back(
        {.fact = {.kind = kind, .members = std::move(members)}, .match = std::move(match), .name = std::string(name)});
  }

  bool are_readable(const Strings& paths) {
    for (const auto* list : {&paths.values, &paths.not_values}) {
      for (const auto& path : *list) {
        if (path.kind != StringMatch::Kind::kTemplate) continue;
        const auto parsed = PathTemplate::parse(path.text);
        if (parsed) continue;
        demand_.unknown = "paths: \"" + path.text + "\": " + parsed.error().message;
        return false;
      }
    }
    return true;
  }

  Demand demand_;
};

}  // namespace

std::string to_text(const IpAddress& ip) { return bits_of(ip, ip.is_v4() ? kV4Begin : 0, kAddressBits); }

std::string to_text(const model::IpBlock& block) {
  const bool is_v4 = block.prefix >= kV4Begin && block.base.is_v4();
  return bits_of(block.base, is_v4 ? kV4Begin : 0, block.prefix);
}

bool has_port(const StringMatch& host) {
  const auto bracket = host.text.rfind(']');
  if (bracket == std::string::npos && host.text.contains('[')) return false;  // "[fd00:*"
  return host.text.find(':', bracket == std::string::npos ? 0 : bracket) != std::string::npos;
}

Demand demand_of(const model::PolicyRule& rule, const model::PolicySource* source,
                 const model::PolicyOperation* operation) {
  Reader reader;
  if (source != nullptr) reader.read(*source);
  if (operation != nullptr) reader.read(*operation);
  for (const auto& condition : rule.when) reader.read(condition);
  return std::move(reader).take();
}

}  // namespace underpass::authz
