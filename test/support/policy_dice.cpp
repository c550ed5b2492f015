// SPDX-License-Identifier: Apache-2.0
#include "test/support/policy_dice.h"

#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "test/support/policy_values.h"

namespace underpass::test {
namespace {

using model::AuthorizationPolicy;
using model::MtlsMode;
using model::PeerAuthentication;
using model::PolicyCondition;
using model::PolicyOperation;
using model::PolicyRule;
using model::PolicySource;

// A world so small that what is drawn meets.
const std::vector<NamespacedName> kAccounts{
    {"shop", "web"}, {"shop", "front"}, {"other", "batch"}, {"istio-system", "gateway"}, {"shop-2", "web"}};
const Texts kPrincipals{"cluster.local/ns/shop/sa/web",
                        "cluster.local/ns/shop/sa/front",
                        "cluster.local/ns/other/*",
                        "cluster.local/ns/shop*",
                        "*/sa/web",
                        "*",
                        "example.org/ns/shop/sa/web",
                        "example.org/*"};
const Texts kNamespaces{"shop", "other", "shop*", "*-system", "*", "istio-system"};
const Texts kServiceAccounts{"shop/web", "shop/front", "other/batch", "shop-2/web", "*"};
const Texts kTrustDomains{"cluster.local", "example.org", "*.local", "*"};
const Texts kBlocks{"0.0.0.0/0",    "10.0.0.0/8",     "10.0.0.0/24", "10.0.0.8", "10.0.0.7", "10.1.0.0/16",
                    "192.0.2.0/24", "192.0.2.128/25", "::/0",        "::/1",     "fd00::/8", "fd00::/64",
                    "fd00::8",      "fd00::7",        "fd00:1::/32", "8000::/1"};
const Texts kClientIps{"10.0.0.8", "10.0.0.7", "10.1.2.3", "10.0.1.1",  "192.0.2.1",  "192.0.2.200",
                       "8.8.8.8",  "fd00::8",  "fd00::7",  "fd00:1::1", "2001:db8::1"};
const Texts kServerIps{"10.0.0.7", "fd00::7", "10.0.0.8"};
const std::vector<std::uint16_t> kPorts{80, 8080, 9090, 443};

model::Match<model::StringMatch> draw_strings(Dice& dice, const Texts& all) {
  return strings(dice.some(all, 2), dice.one_in(3) ? dice.some(all, 2) : Texts{});
}

model::Match<model::IpBlock> draw_blocks(Dice& dice) {
  return blocks(dice.some(kBlocks, 3), dice.one_in(2) ? dice.some(kBlocks, 2) : Texts{});
}

model::Match<std::uint16_t> draw_ports(Dice& dice) {
  model::Match<std::uint16_t> out{.values = dice.some(kPorts, 3), .not_values = {}};
  if (dice.one_in(3)) out.not_values = dice.some(kPorts, 2);
  return out;
}

PolicySource draw_source(Dice& dice) {
  PolicySource out;
  if (dice.one_in(4)) out.principals = draw_strings(dice, kPrincipals);
  if (dice.one_in(3)) out.namespaces = draw_strings(dice, kNamespaces);
  if (dice.one_in(6)) out.service_accounts = draw_strings(dice, kServiceAccounts);
  if (dice.one_in(8)) out.trust_domains = draw_strings(dice, kTrustDomains);
  if (dice.one_in(3)) out.ip_blocks = draw_blocks(dice);
  if (dice.one_in(8)) out.remote_ip_blocks = draw_blocks(dice);
  if (dice.one_in(15)) out.request_principals.values = {{model::StringMatch::Kind::kPresent, ""}};
  return out;
}

PolicyCondition draw_condition(Dice& dice) {
  using Key = PolicyCondition::Key;
  PolicyCondition out;
  out.key =
      dice.pick<Key>({Key::kSourceIp, Key::kSourceNamespace, Key::kSourcePrincipal, Key::kRemoteIp, Key::kDestinationIp,
                      Key::kDestinationIp, Key::kDestinationPort, Key::kHeader, Key::kUnsupported});
  if (out.key == Key::kSourceNamespace) out.strings = draw_strings(dice, kNamespaces);
  if (out.key == Key::kSourcePrincipal) out.strings = draw_strings(dice, kPrincipals);
  if (out.key == Key::kSourceIp || out.key == Key::kRemoteIp || out.key == Key::kDestinationIp) {
    out.blocks = draw_blocks(dice);
  }
  if (out.key == Key::kDestinationPort) out.ports = draw_ports(dice);
  if (out.key == Key::kHeader) out.members = {"x-id"};
  return out;
}

PolicyRule draw_rule(Dice& dice) {
  PolicyRule out;
  for (int left = dice.below(4); left > 0; --left) out.from.push_back(draw_source(dice));
  for (int left = dice.below(3); left > 0; --left) {
    PolicyOperation operation;
    operation.ports = draw_ports(dice);
    if (dice.one_in(10)) operation.paths.values = {{model::StringMatch::Kind::kPrefix, "/a"}};
    out.to.push_back(std::move(operation));
  }
  if (dice.one_in(3)) out.when.push_back(draw_condition(dice));
  if (dice.one_in(6)) out.when.push_back(draw_condition(dice));
  return out;
}

std::map<std::string, std::string> draw_selector(Dice& dice) {
  if (!dice.one_in(3)) return {};
  return {{"app", dice.pick<std::string>({"web", "web", "api"})}};
}

std::string draw_scope(Dice& dice) { return dice.pick<std::string>({"shop", "shop", "shop", "istio-system", "other"}); }

std::shared_ptr<const AuthorizationPolicy> draw_policy(Dice& dice, int number) {
  using Action = AuthorizationPolicy::Action;
  auto out = std::make_shared<AuthorizationPolicy>();
  out->id = {draw_scope(dice), "policy-" + std::to_string(dice.below(1000)) + "-" + std::to_string(number)};
  out->action =
      dice.pick<Action>({Action::kAllow, Action::kAllow, Action::kAllow, Action::kDeny, Action::kDeny, Action::kAudit});
  if (dice.one_in(30)) out->action = Action::kCustom;
  out->dry_run = dice.one_in(3);
  out->selector = draw_selector(dice);
  for (int left = dice.below(4); left > 0; --left) out->rules.push_back(draw_rule(dice));
  return out;
}

std::shared_ptr<const PeerAuthentication> draw_peer_authentication(Dice& dice, int number) {
  const std::vector<MtlsMode> modes{MtlsMode::kUnset, MtlsMode::kDisable, MtlsMode::kPermissive, MtlsMode::kStrict};
  auto out = std::make_shared<PeerAuthentication>();
  out->id = {draw_scope(dice), "peers-" + std::to_string(number)};
  out->created = dice.pick<std::string>({"", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"});
  out->selector = draw_selector(dice);
  out->mode = dice.one_in(3) ? MtlsMode::kStrict : dice.pick(modes);
  for (const auto port : dice.some(kPorts, 2)) out->port_modes[port] = dice.pick(modes);
  return out;
}

}  // namespace

compile::PolicyInput draw_policies(Dice& dice) {
  compile::PolicyInput out;
  if (dice.one_in(10)) out.mesh.trust_domain = "example.org";
  if (dice.one_in(10)) out.mesh.root_namespace = "other";
  out.accounts = kAccounts;
  out.accounts.pop_back();  // so one is not known
  for (int left = dice.below(10); left > 0; --left) out.policies.push_back(draw_policy(dice, left));
  for (int left = dice.below(4); left > 0; --left) {
    out.peer_authentications.push_back(draw_peer_authentication(dice, left));
  }
  if (dice.one_in(15)) {
    out.unread.push_back(
        {dice.pick<std::string>({"AuthorizationPolicy", "PeerAuthentication", "RequestAuthentication", "Mesh"}),
         {draw_scope(dice), "x"}});
  }
  return out;
}

compile::PolicyTarget draw_target(Dice& dice) {
  compile::PolicyTarget out;
  out.pod = {dice.one_in(10) ? "istio-system" : "shop", "web-1"};
  out.labels = {{"app", dice.one_in(4) ? "api" : "web"}};
  out.ips = {ip("10.0.0.7"), ip("fd00::7")};
  if (dice.one_in(2)) out.probe_ports = {8080, 9090};
  if (dice.one_in(2)) out.excluded_ports = {dice.pick(kPorts)};
  return out;
}

compile::Attempt draw_attempt(Dice& dice) {
  using compile::Identity;
  Identity client;
  const int kind = dice.below(10);
  if (kind < 2) client.kind = Identity::Kind::kHost;
  if (kind > 4) client = {.kind = Identity::Kind::kAccount, .account = dice.pick(kAccounts)};
  return {.client = client,
          .client_ip = ip(dice.pick(kClientIps)),
          .server_ip = ip(dice.pick(kServerIps)),
          .server_port = dice.one_in(5) ? std::uint16_t{65535} : dice.pick(kPorts)};
}

std::uint64_t draw_seed() {
  const char* seed = std::getenv("UNDERPASS_SEED");
  return seed != nullptr ? std::stoull(seed) : std::random_device()();
}

}  // namespace underpass::test
