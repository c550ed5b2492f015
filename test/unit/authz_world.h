// SPDX-License-Identifier: Apache-2.0
// Requests and policies in few words, and who of several requests matches.
#pragma once

#include <doctest/doctest.h>

#include <boost/json/parse.hpp>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "test/support/http_policy_reference.h"
#include "test/support/policy_values.h"
#include "userspace_proxy/authz/authorizer.h"

namespace underpass::authz {

using model::AuthorizationPolicy;
using model::PolicyCondition;
using model::PolicyOperation;
using model::PolicyRule;
using model::PolicySource;
using model::StringMatch;
using test::blocks;
using test::ip;
using test::strings;
using test::Texts;
using Action = AuthorizationPolicy::Action;
using Key = PolicyCondition::Key;
using Kind = Verdict::Kind;

// From shop/front at 10.0.0.8 to port 8080, GET http://shop.example/.
struct Ask {
  Peer peer{.identity = "spiffe://cluster.local/ns/shop/sa/front",
            .client_ip = ip("10.0.0.8"),
            .remote_ip = ip("10.0.0.8"),
            .server_ip = ip("10.0.0.7"),
            .server_port = 8080};
  http::Request request{.method = "GET", .authority = "shop.example", .path = "/"};
  std::string host = "shop.example";
  std::string path = "/";
  std::optional<jwt::Claims> claims;

  [[nodiscard]] Subject subject() const {
    return {.request = request, .host = host, .path = path, .claims = claims ? &*claims : nullptr};
  }
};

inline Ask ask(const std::string& method, const std::string& path) {
  Ask out;
  out.request.method = method;
  out.request.path = path;
  out.path = path;
  return out;
}
inline Ask to_host(const std::string& authority) {
  Ask out;
  out.request.authority = authority;
  const auto colon = authority.rfind(':');
  const bool has_port = colon != std::string::npos && authority.find(']', colon) == std::string::npos;
  out.host = authority.substr(0, has_port ? colon : std::string::npos);
  for (char& c : out.host) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
  return out;
}
inline Ask with_fields(const std::vector<http::Field>& fields) {
  Ask out;
  for (const auto& field : fields) out.request.fields.add(field.name, field.value);
  return out;
}
// Of `principal` the last "/" stands between issuer and subject.
inline Ask with_token(const std::string& payload, std::string principal = "issuer/me", Texts audiences = {},
                      const std::string& presenter = "") {
  Ask out;
  if (const auto slash = principal.rfind('/'); slash != std::string::npos) principal[slash] = jwt::kPrincipalSeparator;
  out.claims = jwt::Claims{.principal = principal,
                           .audiences = std::move(audiences),
                           .presenter = presenter,
                           .all = boost::json::parse(payload).as_object()};
  return out;
}
inline Ask as(const std::string& identity) {
  Ask out;
  out.peer.identity = identity;
  return out;
}

inline AuthorizationPolicy policy(Action action, std::vector<PolicyRule> rules, const std::string& name = "policy") {
  AuthorizationPolicy out;
  out.id = {"shop", name};
  out.action = action;
  out.rules = std::move(rules);
  if (action == Action::kCustom) out.provider = "ext-authz";
  return out;
}
inline AuthorizationPolicy dry(AuthorizationPolicy policy) {
  policy.dry_run = true;
  return policy;
}
inline HttpPolicySet set_of(std::vector<AuthorizationPolicy> policies) { return {.policies = std::move(policies)}; }

// Both evaluators', which agree.
inline Verdict decide(const HttpPolicySet& set, const Ask& ask) {
  const Authorizer authorizer(set, "cluster.local");
  auto out = authorizer.decide(authorizer.know(ask.peer), ask.subject());
  const auto plain = test::judge_plainly(set, ask.peer, ask.subject());
  CHECK(out.kind == plain.kind);
  CHECK(out.provider == plain.provider);
  CHECK(out.decided_by == plain.decided_by);
  CHECK(out.would_deny == plain.would_deny);
  CHECK(out.audited == plain.audited);
  return out;
}
inline Verdict decide_tcp(const HttpPolicySet& set, const Ask& ask) {
  const Authorizer authorizer(set, "cluster.local");
  auto out = authorizer.decide_tcp(authorizer.know(ask.peer));
  CHECK(out.decided_by == test::judge_tcp_plainly(set, ask.peer).decided_by);
  return out;
}

// The same, whatever the policy does where it matches.
inline bool matches(const PolicyRule& rule, const Ask& ask) {
  const auto with = [&](Action action, bool dry_run = false) {
    auto one = policy(action, {rule});
    one.dry_run = dry_run;
    return decide(set_of({one}), ask);
  };
  const bool out = with(Action::kAllow).kind == Kind::kAllow;
  CHECK((with(Action::kDeny).kind == Kind::kDeny) == out);
  CHECK((with(Action::kCustom).kind == Kind::kAsk) == out);
  CHECK(with(Action::kAudit).audited.empty() != out);
  CHECK(with(Action::kDeny, true).would_deny.empty() != out);
  CHECK(with(Action::kAllow, true).would_deny.empty() == out);
  return out;
}

// Those of `all` that match, made into requests by `make`, with spaces between; "none".
inline std::string matching(const PolicyRule& rule, const Texts& all,
                            const std::function<Ask(const std::string&)>& make) {
  std::string out;
  for (const auto& one : all)
    if (matches(rule, make(one))) out += (out.empty() ? "" : " ") + one;
  return out.empty() ? "none" : out;
}

inline PolicyRule from(PolicySource source) { return {.from = {std::move(source)}, .to = {}, .when = {}}; }
inline PolicyRule to(PolicyOperation operation) { return {.from = {}, .to = {std::move(operation)}, .when = {}}; }
inline PolicyRule when(Key key, model::Match<StringMatch> match, Texts members = {}) {
  PolicyCondition out{.key = key, .name = "key", .members = std::move(members)};
  out.strings = std::move(match);
  return {.from = {}, .to = {}, .when = {out}};
}
inline model::Match<StringMatch> paths(const Texts& values, const Texts& not_values = {}) {
  const auto to_matches = [](const Texts& texts) {
    std::vector<StringMatch> out;
    for (const auto& text : texts) {
      const bool is_template = text.contains("{*}") || text.contains("{**}");
      out.push_back(is_template ? StringMatch{StringMatch::Kind::kTemplate, text} : test::string_match(text));
    }
    return out;
  };
  return {.values = to_matches(values), .not_values = to_matches(not_values)};
}
inline PolicyRule to_paths(const Texts& values, const Texts& not_values = {}) {
  PolicyOperation out;
  out.paths = paths(values, not_values);
  return to(out);
}
inline PolicyRule to_methods(const Texts& values, const Texts& not_values = {}) {
  PolicyOperation out;
  out.methods = strings(values, not_values);
  return to(out);
}
inline PolicyRule to_hosts(const Texts& values, const Texts& not_values = {}) {
  PolicyOperation out;
  out.hosts = strings(values, not_values);
  return to(out);
}

}  // namespace underpass::authz
