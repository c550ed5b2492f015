// SPDX-License-Identifier: Apache-2.0
// Every field of a RequestAuthentication, and every way in which one can be wrong.
#include <doctest/doctest.h>

#include <chrono>
#include <string>

#include "agent/k8s/decode.h"
#include "agent/k8s/field.h"
#include "agent/k8s/yaml.h"

namespace underpass::k8s {
namespace {

using namespace std::chrono_literals;

Decoded<model::RequestAuthentication> decode(const std::string& yaml) {
  const auto documents = parse_yaml(yaml);
  REQUIRE_MESSAGE(documents.has_value(), yaml);
  return decode_request_authentication(documents->front().value);
}

std::string error_of(const Decoded<model::RequestAuthentication>& decoded) {
  return decoded ? "it decodes" : decoded.error().path + ": " + decoded.error().cause;
}

std::string tokens_with(const std::string& spec, const std::string& metadata = "") {
  return "{apiVersion: security.istio.io/v1, kind: RequestAuthentication, metadata: {name: web, namespace: shop" +
         metadata + "}, spec: {" + spec + "}}";
}

model::RequestAuthentication good(const std::string& spec) {
  auto decoded = decode(tokens_with(spec));
  REQUIRE_MESSAGE(decoded.has_value(), error_of(decoded));
  return std::move(*decoded);
}

std::string bad(const std::string& spec, const std::string& metadata = "") {
  return error_of(decode(tokens_with(spec, metadata)));
}

// A rule with an issuer and a place for its keys, and these fields.
std::string rule_with(const std::string& fields) {
  return "jwtRules: [{issuer: idp, jwksUri: 'https://idp/keys'" + (fields.empty() ? "" : ", " + fields) + "}]";
}
model::JwtRule rule(const std::string& fields) { return good(rule_with(fields)).rules.at(0); }
std::string bad_rule(const std::string& fields) { return bad(rule_with(fields)); }

TEST_CASE("request authentication: everything there is") {
  const auto decoded = decode(R"(
apiVersion: security.istio.io/v1beta1
kind: RequestAuthentication
metadata: {name: web, namespace: shop, creationTimestamp: 2026-01-02T03:04:05Z}
spec:
  selector: {matchLabels: {app: web}}
  jwtRules:
  - issuer: https://idp.example.com
    audiences: [shop, https://shop.example.com]
    jwksUri: https://idp.example.com:8443/keys?v=1
    fromHeaders: [{name: X-Token, prefix: "Token "}, {name: authorization}]
    fromParams: [token]
    fromCookies: [session]
    outputPayloadToHeader: X-Payload
    outputClaimToHeaders: [{header: X-Sub, claim: sub}, {header: x-team, claim: org.team}]
    forwardOriginalToken: true
    timeout: 1500ms
  - issuer: other@example.com
    jwks: '{"keys": [{"kty": "EC"}, {"kty": "unheard of"}]}'
status: {}
)");
  REQUIRE_MESSAGE(decoded.has_value(), error_of(decoded));
  const model::JwtRule first{.issuer = "https://idp.example.com",
                             .audiences = {"shop", "https://shop.example.com"},
                             .jwks_uri = "https://idp.example.com:8443/keys?v=1",
                             .jwks = "",
                             .from_headers = {{"x-token", "Token "}, {"authorization", ""}},
                             .from_params = {"token"},
                             .from_cookies = {"session"},
                             .output_payload_to_header = "x-payload",
                             .output_claims = {{"x-sub", {"sub"}}, {"x-team", {"org", "team"}}},
                             .forward_original_token = true,
                             .fetch_timeout = 1500ms};
  model::JwtRule second;
  second.issuer = "other@example.com";
  second.jwks = R"({"keys": [{"kty": "EC"}, {"kty": "unheard of"}]})";
  CHECK(*decoded == model::RequestAuthentication{.id = {"shop", "web"},
                                                 .created = "2026-01-02T03:04:05Z",
                                                 .selector = {{"app", "web"}},
                                                 .rules = {first, second}});
}

TEST_CASE("request authentication: what is absent, null or empty has its default") {
  const model::RequestAuthentication plain{.id = {"shop", "web"}, .created = "", .selector = {}, .rules = {}};
  CHECK(good("") == plain);
  CHECK(good("selector: {}, jwtRules: []") == plain);
  CHECK(good("selector: null, jwtRules: null, targetRefs: []") == plain);
  CHECK(decode("{metadata: {name: web, namespace: shop}}").value() == plain);
  const auto usual = rule("");
  CHECK(usual.fetch_timeout == 5s);
  CHECK_FALSE(usual.forward_original_token);
  CHECK(rule("jwks: null, audiences: null, fromHeaders: [], fromParams: null, outputPayloadToHeader: null, "
             "forwardOriginalToken: false, timeout: null") == usual);
}

TEST_CASE("request authentication: where keys are fetched from") {
  const auto with = [](const std::string& uri) { return "jwtRules: [{issuer: idp, jwksUri: '" + uri + "'}]"; };
  for (const char* uri :
       {"http://idp", "https://idp/", "https://idp.example.com/a/b%20c?x=1&y=[2]", "https://IDP:1",
        "http://192.0.2.1:65535/keys", "https://[2001:db8::1]/keys", "https://[2001:db8::1]:443", "https://idp?x"}) {
    CHECK(good(with(uri)).rules.at(0).jwks_uri == uri);
  }
  for (const char* uri : {"idp",
                          "/keys",
                          "//idp/keys",
                          "ftp://idp",
                          "file:///etc/keys",
                          "HTTPS",
                          "https:/idp",
                          "https://",
                          "https:///keys",
                          "https://:443",
                          "https://idp:0/",
                          "https://idp:65536/",
                          "https://idp:/",
                          "https://idp:x/",
                          "https://user@idp/",
                          "https://user:word@idp/",
                          "https://idp/#a",
                          "https://idp/ a",
                          "https://idp/\\u00e9",
                          "https://i_dp/",
                          "https://[::1",
                          "https://[192.0.2.1]/",
                          "https://[::1]x",
                          "https://idp..a/",
                          "javascript:x"}) {
    CAPTURE(uri);
    CHECK(bad(with(uri)) ==
          std::string("spec.jwtRules[0].jwksUri: ") + show(std::string_view(uri)) + ": not an http or https URL");
  }
}

TEST_CASE("request authentication: keys that stand in the object") {
  const auto with = [](const std::string& keys) { return "jwtRules: [{issuer: idp, jwks: '" + keys + "'}]"; };
  CHECK(good(with(R"({"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"}],"more":1})")).rules.at(0).jwks.starts_with("{"));
  for (const char* keys :
       {"{", "[]", "1", "{}", R"({"keys": {}})", R"({"keys": []})", R"({"keys": [1]})", R"({"keys": [{}]})",
        R"({"keys": [{"kty": 1}]})", R"({"keys": [{"kty": "EC"}, null]})", R"({"kty": "EC"})", "x{}"}) {
    CAPTURE(keys);
    CHECK(bad(with(keys)) == "spec.jwtRules[0].jwks: not a JSON Web Key Set with a key in it");
  }
}

TEST_CASE("request authentication: what is wrong is said by path and cause") {
  struct Row {
    const char* spec;
    const char* message;
  };
  const Row rows[] = {
      {"rules: []", "spec.rules: unknown field"},
      {"jwtRules: {}", "spec.jwtRules: a mapping: must be a list"},
      {"jwtRules: [null]", "spec.jwtRules[0]: missing"},
      {"jwtRules: [idp]", "spec.jwtRules[0]: \"idp\": must be a mapping"},
      {"jwtRules: [{}]", "spec.jwtRules[0].issuer: missing"},
      {"jwtRules: [{issuer: '', jwksUri: 'https://a'}]", "spec.jwtRules[0].issuer: \"\": must not be empty"},
      {"jwtRules: [{issuer: 5, jwksUri: 'https://a'}]",
       "spec.jwtRules[0].issuer: 5: must be a string (put it in quotes)"},
      {"jwtRules: [{issuer: a}]", "spec.jwtRules[0]: needs jwksUri or jwks: keys are not discovered by the issuer"},
      {"jwtRules: [{issuer: a, jwksUri: 'https://a'}, {issuer: b}]",
       "spec.jwtRules[1]: needs jwksUri or jwks: keys are not discovered by the issuer"},
      {"jwtRules: [{issuer: a, jwksUri: ''}]", "spec.jwtRules[0].jwksUri: \"\": must not be empty"},
      {"jwtRules: [{issuer: a, jwks: ''}]", "spec.jwtRules[0].jwks: \"\": must not be empty"},
      {"jwtRules: [{issuer: a, jwksUri: 'https://a', jwks: '{\"keys\": [{\"kty\": \"EC\"}]}'}]",
       "spec.jwtRules[0].jwks: only one of jwks and jwksUri may stand"},
      {"jwtRules: [{issuer: a, jwks_uri: 'https://a'}]", "spec.jwtRules[0].jwks_uri: unknown field"},
      {"selector: {app: web}", "spec.selector.app: unknown field"},
      {"selector: {matchLabels: {app: 5}}", "spec.selector.matchLabels.app: 5: must be a string (put it in quotes)"},
      {"targetRefs: [{kind: Gateway, name: a}]", "spec.targetRefs: not supported: it needs a waypoint; use selector"},
      {"targetRef: {kind: Gateway, name: a}", "spec.targetRef: not supported: it needs a waypoint; use selector"},
  };
  for (const auto& row : rows) {
    CAPTURE(row.spec);
    CHECK(bad(row.spec) == row.message);
  }
  const Row of_rule[] = {
      {"audiences: shop", "audiences: \"shop\": must be a list"},
      {"audiences: ['']", "audiences[0]: \"\": must not be empty"},
      {"audiences: [null]", "audiences[0]: missing"},
      {"fromHeaders: [authorization]", "fromHeaders[0]: \"authorization\": must be a mapping"},
      {"fromHeaders: [{}]", "fromHeaders[0].name: missing"},
      {"fromHeaders: [{name: ''}]", "fromHeaders[0].name: \"\": must not be empty"},
      {"fromHeaders: [{name: 'a b'}]", "fromHeaders[0].name: \"a b\": not a name of a header"},
      {"fromHeaders: [{name: ':path'}]", "fromHeaders[0].name: \":path\": not a name of a header"},
      {"fromHeaders: [{name: a, prefix: 5}]", "fromHeaders[0].prefix: 5: must be a string (put it in quotes)"},
      {"fromHeaders: [{name: a, value: b}]", "fromHeaders[0].value: unknown field"},
      {"fromParams: ['']", "fromParams[0]: \"\": must not be empty"},
      {"fromCookies: ['']", "fromCookies[0]: \"\": must not be empty"},
      {"outputPayloadToHeader: ''", "outputPayloadToHeader: \"\": must not be empty"},
      {"outputPayloadToHeader: 'a:b'", "outputPayloadToHeader: \"a:b\": not a name of a header"},
      {"outputPayloadToHeader: Content-Length", "outputPayloadToHeader: HTTP itself needs this header"},
      {"outputClaimToHeaders: [{header: Host, claim: a}]",
       "outputClaimToHeaders[0].header: HTTP itself needs this header"},
      {"outputClaimToHeaders: [{header: transfer-encoding, claim: a}]",
       "outputClaimToHeaders[0].header: HTTP itself needs this header"},
      {"outputClaimToHeaders: [null]", "outputClaimToHeaders[0]: missing"},
      {"outputClaimToHeaders: [{header: a}]", "outputClaimToHeaders[0].claim: missing"},
      {"outputClaimToHeaders: [{claim: a}]", "outputClaimToHeaders[0].header: missing"},
      {"outputClaimToHeaders: [{header: a, claim: ''}]", "outputClaimToHeaders[0].claim: \"\": must not be empty"},
      {"outputClaimToHeaders: [{header: a, claim: b..c}]",
       "outputClaimToHeaders[0].claim: \"b..c\": has an empty part"},
      {"outputClaimToHeaders: [{header: a, claim: b.}]", "outputClaimToHeaders[0].claim: \"b.\": has an empty part"},
      {"outputClaimToHeaders: [{header: a, claim: .b}]", "outputClaimToHeaders[0].claim: \".b\": has an empty part"},
      {"outputClaimToHeaders: [{header: a, claim: b, name: c}]", "outputClaimToHeaders[0].name: unknown field"},
      {"forwardOriginalToken: 'yes'", "forwardOriginalToken: \"yes\": must be true or false"},
      {"timeout: 0s", "timeout: \"0s\": must be at least 1ms"},
      {"timeout: 5", "timeout: 5: must be a string (put it in quotes)"},
      {"spaceDelimitedClaims: [scope]", "spaceDelimitedClaims: not supported"},
      {"trustDomains: [a]", "trustDomains: unknown field"},
  };
  for (const auto& row : of_rule) {
    CAPTURE(row.spec);
    CHECK(bad_rule(row.spec) == std::string("spec.jwtRules[0].") + row.message);
  }
  CHECK(bad("", ", annotations: {istio.io/dry-run: 'true'}") ==
        "metadata.annotations[istio.io/dry-run]: only an AuthorizationPolicy has a dry run");
  CHECK(error_of(decode("{metadata: {name: a}, jwtRules: []}")) == "jwtRules: unknown field");
}

}  // namespace
}  // namespace underpass::k8s
