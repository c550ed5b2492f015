// SPDX-License-Identifier: Apache-2.0
#include "test/support/http_policy_dice.h"

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <utility>
#include <vector>

#include "test/support/policy_values.h"

namespace underpass::test {
namespace {

using model::AuthorizationPolicy;
using model::PolicyCondition;
using model::PolicyOperation;
using model::PolicyRule;
using model::PolicySource;
using model::StringMatch;
using Strings = model::Match<StringMatch>;
using Key = PolicyCondition::Key;

const Texts kIdentities{"",
                        "spiffe://cluster.local/ns/shop/sa/web",
                        "spiffe://cluster.local/ns/shop/sa/front",
                        "spiffe://example.org/ns/shop-2/sa/web",
                        "spiffe://cluster.local/ns/istio-system/sa/gateway",
                        "spiffe://example.org/node/7",
                        "spiffe://cluster.local/ns/shop/sa/web/more",
                        "spiffe://cluster.local/ns/shop/sa/web/",
                        "web"};
const Texts kPrincipals{
    "cluster.local/ns/shop/sa/web", "cluster.local/ns/shop*", "cluster.local/*", "*/sa/web", "*", "example.org/*"};
const Texts kNamespaces{"shop", "shop*", "*-system", "*"};
const Texts kAccounts{"shop/web", "shop/front", "shop-2/web"};
const Texts kTrustDomains{"cluster.local", "example.org", "*.local", "*"};
const Texts kBlocks{"0.0.0.0/0",      "10.0.0.0/8", "10.0.0.0/24", "10.0.0.8",
                    "192.0.2.128/25", "::/0",       "fd00::/8",    "fd00::8"};
const Texts kIps{"10.0.0.8", "10.0.0.7", "10.1.2.3", "192.0.2.200", "8.8.8.8", "fd00::8", "2001:db8::1"};
const std::vector<std::uint16_t> kPorts{80, 8080, 443};

const Texts kHosts{"shop.example",   "Shop.Example",   "*.example", "shop.*",           "*",   "shop.example:8080",
                   "shop.example:*", "*.example:8080", "*:443",     "api.shop.example", "*80", "[fd00::7]",
                   "[fd00::7]:8080", "[fd00:*",        "*::7]"};
const Texts kAuthorities{"",          "shop.example", "SHOP.example:8080", "api.shop.example", "api.shop.example:443",
                         "other.org", "other.org:80", "[fd00::7]",         "[FD00::7]:8080"};
const Texts kMethods{"GET", "POST", "P*", "*T", "*", "DELETE", "get"};
const Texts kRequestMethods{"GET", "GET", "POST", "PUT", "DELETE", "CONNECT"};
const Texts kPaths{"/",      "/a",     "/a/*",  "/a/b*",   "*",         "*.html",        "*/b",      "/a/b",
                   "/a/{*}", "/{*}/b", "/{**}", "/a/{**}", "/a/{**}/b", "/a/{*}/c/{**}", "/{*}/{*}", "/a/{**}/",
                   "/{*}",   "/ab*",   "/a*",   "/a/b/c*", "/{**}/{*}", "/a/{*}.html"};
const Texts kRequestPaths{"",      "/",    "/a",        "/a/",     "/a/b",     "/ab",      "/a/b/c", "/a/b/c/",
                          "/a//b", "/c/b", "/a/x.html", "/x.html", "/a/b/c/d", "/a/b=c*d", "/a//",   "/b/b/b"};
const Texts kHeaderValues{"1", "a", "a*", "*b", "*", "a,b", "*,b", "1,*"};
const Texts kFieldValues{"", "1", "a", "b", "ab", "a,b"};
const Texts kHeaders{"x-id", "x-role", "host"};
const Texts kRequestPrincipals{"https://issuer/me", "https://issuer/*", "*/me",       "*",   "https://other/me",
                               "https://iss*",      "https*",           "*issuer/me", "*me", "https://issuer/a/me",
                               "no-slash"};
const Texts kTexts{"a", "b", "a*", "*b", "*", "read", "write"};
const std::vector<Texts> kClaims{{"group"}, {"realm", "roles"}, {"scope"}, {"realm", "roles", "deep"}, {"permission"}};
const Texts kPayloads{"{}", R"({"group":"a","scope":"read write","realm":{"roles":["a","b"]}})",
                      R"({"group":["b",1,null],"scope":["read"],"realm":{"roles":"ab"}})",
                      R"({"group":1,"realm":["roles"],"scope":" write  ","permission":"ab"})",
                      R"({"group":"","realm":{"roles":{"deep":"a"}},"scope":""})"};

StringMatch path_match(const std::string& text) {
  if (text.contains('{')) return {.kind = StringMatch::Kind::kTemplate, .text = text};
  return string_match(text);
}

// Some of them, and sometimes some that must not be.
Strings draw(Dice& dice, const Texts& all, StringMatch (*to_match)(const std::string&) = string_match) {
  Strings out;
  for (const auto& text : dice.some(all, 3)) out.values.push_back(to_match(text));
  if (dice.one_in(4))
    for (const auto& text : dice.some(all, 2)) out.not_values.push_back(to_match(text));
  return out;
}

model::Match<model::IpBlock> draw_blocks(Dice& dice) {
  return blocks(dice.some(kBlocks, 3), dice.one_in(3) ? dice.some(kBlocks, 2) : Texts{});
}

model::Match<std::uint16_t> draw_ports(Dice& dice) {
  model::Match<std::uint16_t> out{.values = dice.some(kPorts, 3), .not_values = {}};
  if (dice.one_in(4)) out.not_values = dice.some(kPorts, 1);
  return out;
}

PolicySource draw_source(Dice& dice) {
  PolicySource out;
  if (dice.one_in(3)) out.principals = draw(dice, kPrincipals);
  if (dice.one_in(4)) out.namespaces = draw(dice, kNamespaces);
  if (dice.one_in(8)) out.service_accounts = draw(dice, kAccounts);
  if (dice.one_in(8)) out.trust_domains = draw(dice, kTrustDomains);
  if (dice.one_in(6)) out.ip_blocks = draw_blocks(dice);
  if (dice.one_in(8)) out.remote_ip_blocks = draw_blocks(dice);
  if (dice.one_in(6)) out.request_principals = draw(dice, kRequestPrincipals);
  return out;
}

PolicyOperation draw_operation(Dice& dice) {
  PolicyOperation out;
  if (dice.one_in(5)) out.ports = draw_ports(dice);
  if (dice.one_in(3)) out.hosts = draw(dice, kHosts);
  if (dice.one_in(2)) out.methods = draw(dice, kMethods);
  if (!dice.one_in(3)) out.paths = draw(dice, kPaths, path_match);
  return out;
}

PolicyCondition draw_condition(Dice& dice) {
  PolicyCondition out;
  out.key =
      dice.pick<Key>({Key::kSourceIp, Key::kSourceNamespace, Key::kSourcePrincipal, Key::kRemoteIp, Key::kDestinationIp,
                      Key::kDestinationPort, Key::kHeader, Key::kHeader, Key::kHeader, Key::kRequestPrincipal,
                      Key::kAudiences, Key::kPresenter, Key::kClaim, Key::kClaim, Key::kClaim});
  if (dice.one_in(40)) out.key = Key::kUnsupported;
  out.name = "condition";
  switch (out.key) {
    case Key::kSourceIp:
    case Key::kRemoteIp:
    case Key::kDestinationIp:
      out.blocks = draw_blocks(dice);
      break;
    case Key::kDestinationPort:
      out.ports = draw_ports(dice);
      break;
    case Key::kSourceNamespace:
      out.strings = draw(dice, kNamespaces);
      break;
    case Key::kSourcePrincipal:
      out.strings = draw(dice, kPrincipals);
      break;
    case Key::kHeader:
      out.members = {dice.pick(kHeaders)};
      out.strings = draw(dice, out.members.front() == "host" ? kHosts : kHeaderValues);
      break;
    case Key::kRequestPrincipal:
      out.strings = draw(dice, kRequestPrincipals);
      break;
    default:
      if (out.key == Key::kClaim) out.members = dice.pick(kClaims);
      out.strings = draw(dice, kTexts);
  }
  return out;
}

PolicyRule draw_rule(Dice& dice) {
  PolicyRule out;
  for (int left = dice.below(4); left > 0; --left) out.from.push_back(draw_source(dice));
  for (int left = dice.below(4); left > 0; --left) out.to.push_back(draw_operation(dice));
  for (int left = dice.one_in(2) ? dice.below(3) : 0; left > 0; --left) out.when.push_back(draw_condition(dice));
  return out;
}

AuthorizationPolicy draw_policy(Dice& dice, int number) {
  using Action = AuthorizationPolicy::Action;
  AuthorizationPolicy out;
  out.id = {dice.one_in(4) ? "istio-system" : "shop",
            "policy-" + std::to_string(dice.below(1000)) + "-" + std::to_string(number)};
  out.action = dice.pick<Action>(
      {Action::kAllow, Action::kAllow, Action::kAllow, Action::kAllow, Action::kDeny, Action::kAudit});
  if (dice.one_in(8)) out.action = Action::kCustom;
  if (out.action == Action::kCustom) out.provider = dice.one_in(4) ? "other" : "ext-authz";
  out.dry_run = dice.one_in(4);
  const bool is_wide = out.action == Action::kAllow || out.dry_run;
  for (int left = dice.below(is_wide ? 6 : 3); left > 0; --left) out.rules.push_back(draw_rule(dice));
  return out;
}

std::string lower(std::string text) {
  for (char& c : text) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
  return text;
}

std::string without_port(const std::string& authority) {
  const auto colon = authority.rfind(':');
  const bool has_port = colon != std::string::npos && authority.find(']', colon) == std::string::npos;
  return authority.substr(0, has_port ? colon : std::string::npos);
}

jwt::Claims draw_claims(Dice& dice) {
  jwt::Claims out;
  out.principal = dice.pick<std::string>(
      {"https://issuer/me", "https://other/me", "https://issuer/you", "https://issuer/a/me", ""});
  // Before the last "/", or before the one before it.
  if (auto slash = out.principal.rfind('/'); slash != std::string::npos) {
    if (out.principal.contains("/a/") && dice.one_in(2)) slash = out.principal.rfind('/', slash - 1);
    out.principal[slash] = jwt::kPrincipalSeparator;
  }
  out.audiences = dice.some(Texts{"a", "b", "ab", ""}, 3);
  out.presenter = dice.pick<std::string>({"", "a", "ab"});
  out.all = boost::json::parse(dice.pick(kPayloads)).as_object();
  return out;
}

}  // namespace

HttpPolicySet draw_http_policies(Dice& dice) {
  HttpPolicySet out;
  for (int left = dice.below(10); left > 0; --left) out.policies.push_back(draw_policy(dice, left));
  if (dice.one_in(60)) out.closed_by = "AuthorizationPolicy shop/broken";
  return out;
}

authz::Peer draw_peer(Dice& dice) {
  authz::Peer out;
  out.identity = dice.pick(kIdentities);
  out.client_ip = ip(dice.pick(kIps));
  out.remote_ip = dice.one_in(3) ? ip(dice.pick(kIps)) : out.client_ip;
  out.server_ip = ip(dice.pick(kIps));
  out.server_port = dice.pick(kPorts);
  return out;
}

DrawnRequest draw_request(Dice& dice) {
  DrawnRequest out;
  out.request.method = dice.pick(kRequestMethods);
  out.request.authority = dice.pick(kAuthorities);
  out.host = lower(without_port(out.request.authority));
  out.path = dice.pick(kRequestPaths);
  out.request.path = out.path + "?q=/a";
  for (int left = dice.below(4); left > 0; --left) {
    out.request.fields.add(dice.one_in(2) ? "x-id" : "x-role", dice.pick(kFieldValues));
  }
  if (!dice.one_in(3)) out.claims = draw_claims(dice);
  return out;
}

std::string DrawnRequest::to_string() const {
  auto out = request.method + " " + request.authority + path;
  for (std::size_t i = 0; i < request.fields.size(); ++i) {
    const auto field = request.fields.at(i);
    out += " [" + std::string(field.name) + ": " + std::string(field.value) + "]";
  }
  if (!claims) return out;
  out += " token of \"" + claims->principal + "\" for";
  for (const auto& audience : claims->audiences) out += " \"" + audience + "\"";
  return out + " by \"" + claims->presenter + "\" with " + boost::json::serialize(claims->all);
}

}  // namespace underpass::test
