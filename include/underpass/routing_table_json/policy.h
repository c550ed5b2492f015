// SPDX-License-Identifier: Apache-2.0
// AuthorizationPolicy as JSON: {"namespace", "name", "created", "action", "selector", "rules": [{"from": [], "to": [],
// "when": []}], "dryRun", "provider"}. Every member is there, so that none can get lost and widen a rule.
#pragma once

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>

#include "underpass/model/policy.h"
#include "underpass/routing_table_json/values.h"

namespace underpass::routing_table_json {

using PolicyAction = model::AuthorizationPolicy::Action;
using PolicyKey = model::PolicyCondition::Key;

inline constexpr Name<PolicyAction> kActions[] = {
    {PolicyAction::kAllow, "ALLOW"},
    {PolicyAction::kDeny, "DENY"},
    {PolicyAction::kAudit, "AUDIT"},
    {PolicyAction::kCustom, "CUSTOM"},
};

inline constexpr Name<PolicyKey> kPolicyKeys[] = {
    {PolicyKey::kSourceIp, "source.ip"},
    {PolicyKey::kSourceNamespace, "source.namespace"},
    {PolicyKey::kSourcePrincipal, "source.principal"},
    {PolicyKey::kRemoteIp, "remote.ip"},
    {PolicyKey::kDestinationIp, "destination.ip"},
    {PolicyKey::kDestinationPort, "destination.port"},
    {PolicyKey::kHeader, "request.headers"},
    {PolicyKey::kRequestPrincipal, "request.auth.principal"},
    {PolicyKey::kAudiences, "request.auth.audiences"},
    {PolicyKey::kPresenter, "request.auth.presenter"},
    {PolicyKey::kClaim, "request.auth.claims"},
    {PolicyKey::kUnsupported, "unsupported"},
};

inline json::value encode_source(const model::PolicySource& source) {
  return json::object{{"principals", encode_match(source.principals, encode_string_match)},
                      {"namespaces", encode_match(source.namespaces, encode_string_match)},
                      {"serviceAccounts", encode_match(source.service_accounts, encode_string_match)},
                      {"trustDomains", encode_match(source.trust_domains, encode_string_match)},
                      {"ipBlocks", encode_match(source.ip_blocks, encode_block)},
                      {"remoteIpBlocks", encode_match(source.remote_ip_blocks, encode_block)},
                      {"requestPrincipals", encode_match(source.request_principals, encode_string_match)}};
}

inline model::PolicySource decode_source(const json::value& value, const std::string& path, Problem& problem) {
  Object source(value, path, problem);
  model::PolicySource out;
  out.principals = decode_match(source, "principals", problem, decode_string_match);
  out.namespaces = decode_match(source, "namespaces", problem, decode_string_match);
  out.service_accounts = decode_match(source, "serviceAccounts", problem, decode_string_match);
  out.trust_domains = decode_match(source, "trustDomains", problem, decode_string_match);
  out.ip_blocks = decode_match(source, "ipBlocks", problem, decode_block);
  out.remote_ip_blocks = decode_match(source, "remoteIpBlocks", problem, decode_block);
  out.request_principals = decode_match(source, "requestPrincipals", problem, decode_string_match);
  source.end();
  return out;
}

inline json::value encode_operation(const model::PolicyOperation& operation) {
  return json::object{{"ports", encode_match(operation.ports, encode_port)},
                      {"hosts", encode_match(operation.hosts, encode_string_match)},
                      {"methods", encode_match(operation.methods, encode_string_match)},
                      {"paths", encode_match(operation.paths, encode_string_match)}};
}

inline model::PolicyOperation decode_operation(const json::value& value, const std::string& path, Problem& problem) {
  Object operation(value, path, problem);
  model::PolicyOperation out;
  out.ports = decode_match(operation, "ports", problem, decode_port);
  out.hosts = decode_match(operation, "hosts", problem, decode_string_match);
  out.methods = decode_match(operation, "methods", problem, decode_string_match);
  out.paths = decode_match(operation, "paths", problem, decode_path);
  operation.end();
  return out;
}

inline json::value encode_condition(const model::PolicyCondition& condition) {
  return json::object{{"key", encode_choice(kPolicyKeys, condition.key)},
                      {"name", condition.name},
                      {"members", encode_texts(condition.members)},
                      {"strings", encode_match(condition.strings, encode_string_match)},
                      {"blocks", encode_match(condition.blocks, encode_block)},
                      {"ports", encode_match(condition.ports, encode_port)}};
}

inline model::PolicyCondition decode_condition(const json::value& value, const std::string& path, Problem& problem) {
  Object condition(value, path, problem);
  model::PolicyCondition out;
  out.key = decode_choice(condition, "key", problem, kPolicyKeys);
  out.name = condition.string("name");
  out.members = decode_texts(condition, "members", problem);
  out.strings = decode_match(condition, "strings", problem, decode_string_match);
  out.blocks = decode_match(condition, "blocks", problem, decode_block);
  out.ports = decode_match(condition, "ports", problem, decode_port);
  condition.end();
  const auto members = out.members.size();
  if (out.key == PolicyKey::kHeader && members != 1) problem.add(path + ".members", "must name one header");
  if (out.key == PolicyKey::kClaim && members == 0) problem.add(path + ".members", "must name a claim");
  return out;
}

inline json::value encode_rule(const model::PolicyRule& rule) {
  return json::object{{"from", encode_each(rule.from, encode_source)},
                      {"to", encode_each(rule.to, encode_operation)},
                      {"when", encode_each(rule.when, encode_condition)}};
}

inline model::PolicyRule decode_rule(const json::value& value, const std::string& path, Problem& problem) {
  Object rule(value, path, problem);
  model::PolicyRule out;
  out.from = decode_each(rule, "from", problem, decode_source);
  out.to = decode_each(rule, "to", problem, decode_operation);
  out.when = decode_each(rule, "when", problem, decode_condition);
  rule.end();
  return out;
}

inline json::value encode_policy(const model::AuthorizationPolicy& policy) {
  return json::object{{"namespace", policy.id.ns},
                      {"name", policy.id.name},
                      {"created", policy.created},
                      {"action", encode_choice(kActions, policy.action)},
                      {"selector", encode_map(policy.selector)},
                      {"rules", encode_each(policy.rules, encode_rule)},
                      {"dryRun", policy.dry_run},
                      {"provider", policy.provider}};
}

inline model::AuthorizationPolicy decode_policy(const json::value& value, const std::string& path, Problem& problem) {
  Object policy(value, path, problem);
  model::AuthorizationPolicy out;
  out.id = decode_id(policy);
  out.created = policy.string("created");
  out.action = decode_choice(policy, "action", problem, kActions);
  out.selector = decode_map(policy, "selector", problem);
  out.rules = decode_each(policy, "rules", problem, decode_rule);
  out.dry_run = policy.boolean("dryRun");
  out.provider = policy.string("provider");
  policy.end();
  return out;
}

}  // namespace underpass::routing_table_json
