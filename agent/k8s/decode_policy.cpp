// SPDX-License-Identifier: Apache-2.0
// AuthorizationPolicy (security.istio.io/v1 and v1beta1). Refused is what Istio refuses, and on top of it what Istio
// reads otherwise than it was meant or that says nothing to anybody: fields that are not known, bits behind a prefix, a
// wildcard in the middle.
#include <algorithm>
#include <boost/json/value.hpp>
#include <initializer_list>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "agent/k8s/decode.h"
#include "agent/k8s/decode_metadata.h"
#include "agent/k8s/decode_policy_values.h"
#include "agent/k8s/decode_values.h"
#include "agent/k8s/field.h"

namespace underpass::k8s {
namespace json = boost::json;

namespace {

using Action = model::AuthorizationPolicy::Action;
using Key = model::PolicyCondition::Key;
using model::StringMatch;

// Those of `names` that ask for something. What it is stays unread but for what no list of strings may have.
std::vector<std::string> decode_http_lists(const Field& parent, std::initializer_list<std::string_view> names) {
  std::vector<std::string> out;
  for (const auto name : names) {
    if (!decode_each(parent[name], decode_text).empty()) out.emplace_back(name);
  }
  return out;
}

model::PolicySource decode_source(const Field& field, const std::string& ns) {
  field.expect_members({"principals", "notPrincipals", "requestPrincipals", "notRequestPrincipals", "namespaces",
                        "notNamespaces", "serviceAccounts", "notServiceAccounts", "trustDomains", "notTrustDomains",
                        "ipBlocks", "notIpBlocks", "remoteIpBlocks", "notRemoteIpBlocks"});
  const auto decode_one_account = [&](const Field& element) {
    return StringMatch{.kind = StringMatch::Kind::kExact, .text = decode_account(element, ns)};
  };
  model::PolicySource out;
  out.principals = decode_match(field, "principals", "notPrincipals", decode_principal);
  out.namespaces = decode_match(field, "namespaces", "notNamespaces", decode_string_match);
  out.service_accounts = decode_match(field, "serviceAccounts", "notServiceAccounts", decode_one_account);
  out.trust_domains = decode_match(field, "trustDomains", "notTrustDomains", decode_string_match);
  out.ip_blocks = decode_match(field, "ipBlocks", "notIpBlocks", decode_ip_block);
  out.remote_ip_blocks = decode_match(field, "remoteIpBlocks", "notRemoteIpBlocks", decode_ip_block);
  out.needs_http = decode_http_lists(field, {"requestPrincipals", "notRequestPrincipals"});
  if (out == model::PolicySource{}) field.refuse_field(kEmpty);
  if (!out.service_accounts.empty() && !(out.principals.empty() && out.namespaces.empty())) {
    field.refuse_field("serviceAccounts cannot stand beside principals or namespaces");
  }
  return out;
}

model::PolicyOperation decode_operation(const Field& field) {
  field.expect_members({"hosts", "notHosts", "ports", "notPorts", "methods", "notMethods", "paths", "notPaths"});
  model::PolicyOperation out;
  out.ports = decode_match(field, "ports", "notPorts", decode_port_text);
  out.needs_http = decode_http_lists(field, {"hosts", "notHosts", "methods", "notMethods", "paths", "notPaths"});
  if (out == model::PolicyOperation{}) field.refuse_field(kEmpty);
  return out;
}

// Whether `key` is `name` and something in brackets: "request.headers[x-id]".
bool is_member_of(std::string_view key, std::string_view name) {
  if (!key.starts_with(name) || !key.ends_with(']')) return false;
  return key.substr(name.size()).starts_with('[') && key.size() > name.size() + 2;
}

bool is_http_key(std::string_view key) {
  constexpr std::string_view kPlain[] = {"request.auth.principal", "request.auth.audiences", "request.auth.presenter",
                                         "connection.sni"};
  constexpr std::string_view kWithMembers[] = {"request.headers", "request.experimental.inline.headers",
                                               "request.auth.claims"};
  constexpr std::string_view kFilters = "experimental.envoy.filters.";
  if (std::ranges::find(kPlain, key) != std::end(kPlain)) return true;
  if (key.starts_with(kFilters)) return is_member_of(key, key.substr(0, key.find('[')));
  return std::ranges::any_of(kWithMembers, [&](std::string_view name) { return is_member_of(key, name); });
}

std::optional<Key> find_key(std::string_view name) {
  constexpr std::pair<std::string_view, Key> kKeys[] = {
      {"source.ip", Key::kSourceIp},
      {"source.namespace", Key::kSourceNamespace},
      {"source.principal", Key::kSourcePrincipal},
      {"source.serviceAccount", Key::kSourcePrincipal},
      {"remote.ip", Key::kRemoteIp},
      {"destination.ip", Key::kDestinationIp},
      {"destination.port", Key::kDestinationPort},
  };
  for (const auto& [known, key] : kKeys) {
    if (known == name) return key;
  }
  if (is_http_key(name)) return Key::kHttp;
  return std::nullopt;
}

model::PolicyCondition decode_condition(const Field& field, const std::string& ns) {
  field.expect_members({"key", "values", "notValues"});
  const auto match = [&](const auto& decode) { return decode_match(field, "values", "notValues", decode); };
  // A service account is what the principals of all trust domains end with.
  const auto decode_principals_of_account = [&](const Field& element) {
    const auto account = decode_account(element, ns);
    const auto slash = account.find('/');
    return StringMatch{.kind = StringMatch::Kind::kSuffix,
                       .text = "/ns/" + account.substr(0, slash) + "/sa" + account.substr(slash)};
  };

  model::PolicyCondition out;
  out.name = decode_text(field["key"]);
  const auto key = find_key(out.name);
  if (!key) field["key"].refuse("unknown key");
  out.key = key.value_or(Key::kHttp);
  bool asks = false;
  switch (out.key) {
    case Key::kSourceIp:
    case Key::kRemoteIp:
    case Key::kDestinationIp:
      out.blocks = match(decode_ip_block);
      asks = !out.blocks.empty();
      break;
    case Key::kSourceNamespace:
      out.strings = match(decode_string_match);
      asks = !out.strings.empty();
      break;
    case Key::kSourcePrincipal:
      out.strings = out.name == "source.serviceAccount" ? match(decode_principals_of_account) : match(decode_principal);
      asks = !out.strings.empty();
      break;
    case Key::kDestinationPort:
      out.ports = match(decode_port_text);
      asks = !out.ports.empty();
      break;
    case Key::kHttp:
      asks = !match(decode_text).empty();
      break;
  }
  if (!asks) field.refuse_field("needs values or notValues");
  return out;
}

model::PolicyRule decode_rule(const Field& field, const std::string& ns) {
  field.expect_members({"from", "to", "when"});
  model::PolicyRule out;
  out.from = decode_some(field["from"], [&](const Field& element) {
    element.expect_members({"source"});
    return decode_source(element["source"], ns);
  });
  out.to = decode_some(field["to"], [](const Field& element) {
    element.expect_members({"operation"});
    return decode_operation(element["operation"]);
  });
  out.when = decode_each(field["when"], [&](const Field& element) { return decode_condition(element, ns); });
  return out;
}

void check_provider(const Field& provider, Action action) {
  if (action != Action::kCustom) {
    if (provider.present()) provider.refuse_field("only with action CUSTOM");
    return;
  }
  provider.expect_members({"name"});
  decode_text(provider["name"]);
}

void refuse_targets(const Field& spec) {
  constexpr std::string_view kCause = "not supported: it needs a waypoint; use selector";
  if (const auto target = spec["targetRef"]; target.present()) target.refuse_field(kCause);
  if (const auto targets = spec["targetRefs"]; !targets.elements().empty()) targets.refuse_field(kCause);
}

}  // namespace

Decoded<model::AuthorizationPolicy> decode_authorization_policy(const json::value& object) {
  Findings findings;
  const Field root(object, findings);
  expect_object(root, {"selector", "targetRef", "targetRefs", "action", "provider", "rules"});
  const auto metadata = root["metadata"];
  const auto spec = root["spec"];

  model::AuthorizationPolicy out;
  out.id = decode_id(metadata, kUsualNaming);
  out.created = decode_created(metadata);
  out.dry_run =
      decode_choice<bool>(metadata["annotations"][kDryRun], {{"true", true}, {"false", false}}).value_or(false);
  refuse_targets(spec);
  out.selector = decode_selector(spec["selector"]);
  out.action =
      decode_choice<Action>(
          spec["action"],
          {{"ALLOW", Action::kAllow}, {"DENY", Action::kDeny}, {"AUDIT", Action::kAudit}, {"CUSTOM", Action::kCustom}})
          .value_or(Action::kAllow);
  check_provider(spec["provider"], out.action);
  out.rules = decode_each(spec["rules"], [&](const Field& element) { return decode_rule(element, out.id.ns); });
  if (out.rules.empty() && (out.action == Action::kDeny || out.action == Action::kCustom)) {
    spec["rules"].refuse_field("missing: without one the policy never matches; [{}] matches everything");
  }
  if (findings.error) return std::unexpected(std::move(*findings.error));
  return out;
}

}  // namespace underpass::k8s
