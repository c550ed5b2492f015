// SPDX-License-Identifier: Apache-2.0
// AuthorizationPolicy (security.istio.io/v1 and v1beta1). Refused is what Istio refuses, and on top of it what Istio
// reads otherwise than it was meant or that says nothing to anybody: fields that are not known, bits behind a prefix, a
// wildcard in the middle.
#include <boost/json/value.hpp>
#include <string>
#include <utility>

#include "agent/k8s/decode.h"
#include "agent/k8s/decode_metadata.h"
#include "agent/k8s/decode_policy_condition.h"
#include "agent/k8s/decode_policy_values.h"
#include "agent/k8s/decode_values.h"
#include "agent/k8s/field.h"

namespace underpass::k8s {
namespace json = boost::json;

namespace {

using Action = model::AuthorizationPolicy::Action;
using model::StringMatch;

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
  out.request_principals = decode_match(field, "requestPrincipals", "notRequestPrincipals", decode_string_match);
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
  out.hosts = decode_match(field, "hosts", "notHosts", decode_host);
  out.methods = decode_match(field, "methods", "notMethods", decode_string_match);
  out.paths = decode_match(field, "paths", "notPaths", decode_path);
  if (out == model::PolicyOperation{}) field.refuse_field(kEmpty);
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

std::string decode_provider(const Field& provider, Action action) {
  if (action != Action::kCustom) {
    if (provider.present()) provider.refuse_field("only with action CUSTOM");
    return "";
  }
  provider.expect_members({"name"});
  return decode_text(provider["name"]);
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
  out.provider = decode_provider(spec["provider"], out.action);
  out.rules = decode_each(spec["rules"], [&](const Field& element) { return decode_rule(element, out.id.ns); });
  if (out.rules.empty() && (out.action == Action::kDeny || out.action == Action::kCustom)) {
    spec["rules"].refuse_field("missing: without one the policy never matches; [{}] matches everything");
  }
  if (findings.error) return std::unexpected(std::move(*findings.error));
  return out;
}

}  // namespace underpass::k8s
