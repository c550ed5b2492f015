// SPDX-License-Identifier: Apache-2.0
// AuthorizationPolicies as short texts, and what comes of them.
#pragma once

#include <doctest/doctest.h>

#include <cstdint>
#include <string>
#include <utility>

#include "agent/k8s/decode.h"
#include "agent/k8s/yaml.h"

namespace underpass::k8s {

using model::IpBlock;
using model::PolicyCondition;
using model::PolicyOperation;
using model::PolicySource;
using model::StringMatch;
using Action = model::AuthorizationPolicy::Action;
using Kind = model::StringMatch::Kind;
using Key = model::PolicyCondition::Key;

inline Decoded<model::AuthorizationPolicy> decode(const std::string& yaml) {
  const auto documents = parse_yaml(yaml);
  REQUIRE_MESSAGE(documents.has_value(), yaml);
  return decode_authorization_policy(documents->front().value);
}

// An AuthorizationPolicy "shop/web" with this spec; `metadata` begins with a comma.
inline std::string policy_with(const std::string& spec, const std::string& metadata = "") {
  return "{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {name: web, namespace: shop" +
         metadata + "}, spec: {" + spec + "}}";
}

inline model::AuthorizationPolicy good(const std::string& spec, const std::string& metadata = "") {
  auto policy = decode(policy_with(spec, metadata));
  REQUIRE_MESSAGE(policy.has_value(), policy.error().path << ": " << policy.error().cause);
  return std::move(*policy);
}

inline std::string bad(const std::string& spec, const std::string& metadata = "") {
  const auto policy = decode(policy_with(spec, metadata));
  return policy ? "it decodes" : policy.error().path + ": " + policy.error().cause;
}

inline PolicySource source(const std::string& fields) {
  return good("rules: [{from: [{source: {" + fields + "}}]}]").rules.at(0).from.at(0);
}
inline PolicyOperation operation(const std::string& fields) {
  return good("rules: [{to: [{operation: {" + fields + "}}]}]").rules.at(0).to.at(0);
}
inline PolicyCondition condition(const std::string& fields) {
  return good("rules: [{when: [{" + fields + "}]}]").rules.at(0).when.at(0);
}
inline std::string bad_source(const std::string& fields) {
  return bad("rules: [{from: [{source: {" + fields + "}}]}]");
}
inline std::string bad_operation(const std::string& fields) {
  return bad("rules: [{to: [{operation: {" + fields + "}}]}]");
}
inline std::string bad_condition(const std::string& fields) { return bad("rules: [{when: [{" + fields + "}]}]"); }

inline StringMatch exactly(const std::string& text) { return {.kind = Kind::kExact, .text = text}; }

// Of IPv4 too, the prefix is of the 128 bits.
inline IpBlock block(const std::string& ip, int prefix) {
  return {.base = IpAddress::parse(ip).value(), .prefix = static_cast<std::uint8_t>(prefix)};
}

}  // namespace underpass::k8s
