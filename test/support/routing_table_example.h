// SPDX-License-Identifier: Apache-2.0
// A routing table in which nothing has its default, so that what gets lost on its way is missed.
#pragma once

#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "test/support/policy_values.h"
#include "underpass/routing_table.h"

namespace underpass::test {

inline model::AuthorizationPolicy example_policy() {
  using Action = model::AuthorizationPolicy::Action;
  using Key = model::PolicyCondition::Key;
  model::PolicySource source;
  source.principals = strings({"td/ns/shop/sa/web", "td/*"}, {"*/sa/bad"});
  source.namespaces = strings({"*"}, {"kube-*"});
  source.service_accounts = strings({"shop/web"}, {"shop/db"});
  source.trust_domains = strings({"td"}, {"other"});
  source.ip_blocks = blocks({"10.0.0.0/8", "::/0"}, {"10.1.2.3"});
  source.remote_ip_blocks = blocks({"0.0.0.0/0"}, {"fd00::/8"});
  source.request_principals = strings({"idp/*"}, {"idp/bad"});
  model::PolicyOperation operation;
  operation.ports = {.values = {1, 65535}, .not_values = {80}};
  operation.hosts = strings({"*.example.com"}, {"a.example.com"});
  operation.methods = strings({"GET"}, {"P*"});
  operation.paths = strings({"/a/*"}, {"/b"});
  operation.paths.values.push_back({model::StringMatch::Kind::kTemplate, "/{*}/b/{**}"});
  const auto when = [](Key key, std::string name) {
    model::PolicyCondition out;
    out.key = key;
    out.name = std::move(name);
    return out;
  };
  std::vector<model::PolicyCondition> conditions;
  for (const auto key : {Key::kSourceNamespace, Key::kSourcePrincipal, Key::kRequestPrincipal, Key::kAudiences,
                         Key::kPresenter, Key::kUnsupported})
    conditions.push_back(when(key, "x"));
  conditions.push_back(when(Key::kHeader, "request.headers[X-Id]"));
  conditions.back().members = {"x-id"};
  conditions.back().strings = strings({"=a", "^b*"}, {"*$c"});
  conditions.push_back(when(Key::kClaim, "request.auth.claims[a][b]"));
  conditions.back().members = {"a", "b"};
  for (const auto key : {Key::kSourceIp, Key::kRemoteIp, Key::kDestinationIp}) {
    conditions.push_back(when(key, "ip"));
    conditions.back().blocks = blocks({"192.0.2.128/25"}, {"fd00::1"});
  }
  conditions.push_back(when(Key::kDestinationPort, "destination.port"));
  conditions.back().ports = {.values = {8080}, .not_values = {9090}};
  return {.id = {"shop", "ask"},
          .created = "2026-01-02T03:04:05Z",
          .action = Action::kCustom,
          .selector = {{"app", "web"}},
          .rules = {{.from = {source, {}}, .to = {operation}, .when = conditions}, {}},
          .dry_run = true,
          .provider = "opa"};
}

inline model::RequestAuthentication example_authentication() {
  model::JwtRule fetched{.issuer = "https://idp",
                         .audiences = {"shop", "a"},
                         .jwks_uri = "https://idp/keys",
                         .jwks = "",
                         .from_headers = {{"x-token", "Token "}, {"y", ""}},
                         .from_params = {"token"},
                         .from_cookies = {"session"},
                         .output_payload_to_header = "x-payload",
                         .output_claims = {{"x-sub", {"a", "b"}}},
                         .forward_original_token = true,
                         .fetch_timeout = std::chrono::milliseconds(1)};
  model::JwtRule inline_keys;
  inline_keys.issuer = "other";
  inline_keys.jwks = R"({"keys": [{"kty": "EC"}]})";
  return {.id = {"istio-system", "tokens"},
          .created = "2026-01-02T03:04:06Z",
          .selector = {{"app", "web"}},
          .rules = {fetched, inline_keys}};
}

inline model::ExtAuthzProvider example_provider() {
  return {.name = "opa",
          .service = {"platform", "opa"},
          .port = 65535,
          .timeout = std::chrono::milliseconds(7),
          .fail_open = true,
          .status_on_error = 503,
          .path_prefix = "/check",
          .include_request_headers = {{model::StringMatch::Kind::kExact, "cookie"},
                                      {model::StringMatch::Kind::kPrefix, "x-"}},
          .include_additional_headers = {{"x-from", "underpass"}},
          .max_request_bytes = 4096,
          .allow_partial_message = true,
          .headers_to_upstream_on_allow = {{model::StringMatch::Kind::kSuffix, "-id"}},
          .headers_to_downstream_on_deny = {{model::StringMatch::Kind::kPresent, ""}},
          .headers_to_downstream_on_allow = {{model::StringMatch::Kind::kExact, "set-cookie"}}};
}

inline RoutingTable example_table() {
  RoutingTable out;
  out.revision = 7;
  out.settings = {.threads = 3,
                  .connect_timeout = std::chrono::milliseconds(250),
                  .idle_timeout = std::chrono::milliseconds(0),
                  .drain_timeout = std::chrono::milliseconds(9),
                  .http = {.path_normalization = PathNormalization::kDecodeAndMergeSlashes,
                           .headers_with_underscores = Underscores::kDrop,
                           .max_request_headers_bytes = 1001,
                           .max_request_headers = 1002,
                           .max_concurrent_streams = 1003,
                           .stream_window_bytes = 1004,
                           .connection_window_bytes = 1005,
                           .request_headers_timeout = std::chrono::milliseconds(1006),
                           .stream_idle_timeout = std::chrono::milliseconds(0),
                           .keep_alive_timeout = std::chrono::milliseconds(1008),
                           .detection_timeout = std::chrono::milliseconds(1009),
                           .max_requests_per_worker = 1010}};
  out.pods = {
      {.netns = 18446744073709551615ull,
       .id = {"shop", "web"},
       .identity = "spiffe://td/ns/shop/sa/web",
       .labels = {{"app", "web"}, {"empty", ""}},
       .ports = {{1, PortProtocol::kDetect},
                 {80, PortProtocol::kHttp1},
                 {81, PortProtocol::kHttp2},
                 {82, PortProtocol::kGrpc},
                 {65535, PortProtocol::kTcp}},
       .policies = 1,
       .tunnels = true,
       .services = {{"web.shop.svc.cluster.local:80", 80}, {"other.shop.svc.cluster.local:65535", 65535}}},
      {.netns = 4711, .id = {"shop", "db"}, .identity = "spiffe://td/ns/shop/sa/db", .labels = {}, .ports = {}}};
  out.identities = {{2, "spiffe://td/ns/shop/sa/web"}, {4294967295u, "spiffe://td/ns/shop/sa/db"}};
  out.trust_domain = "td";
  out.policy_sets = {{.policies = {},
                      .authentications = {},
                      .closed_by = "AuthorizationPolicy shop/bad",
                      .why_closed = "was never understood"},
                     {.policies = {example_policy()},
                      .authentications = {example_authentication()},
                      .closed_by = "",
                      .why_closed = ""}};
  out.providers = {
      {"opa",
       {.settings = example_provider(), .addresses = {*IpAddress::parse("10.96.0.7"), *IpAddress::parse("fd00::7")}}}};
  out.jwks = {{"https://idp/keys", "{\"keys\": []}"}};
  out.certificates = {{"spiffe://td/ns/shop/sa/web", {.chain = "a chain", .key = "a key"}}};
  out.trust_bundle = "a root";
  return out;
}

}  // namespace underpass::test
