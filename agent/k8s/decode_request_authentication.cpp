// SPDX-License-Identifier: Apache-2.0
// RequestAuthentication (security.istio.io/v1 and v1beta1), as strict as AuthorizationPolicy. Refused beyond what Istio
// refuses: an issuer that is missing, rules whose keys would have to be discovered by the issuer, outputs into fields
// that say where a message ends or to whom it goes.
#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "agent/k8s/decode.h"
#include "agent/k8s/decode_duration.h"
#include "agent/k8s/decode_metadata.h"
#include "agent/k8s/decode_policy_values.h"
#include "agent/k8s/field.h"
#include "agent/k8s/names.h"

namespace underpass::k8s {
namespace json = boost::json;

namespace {

// "idp.example.com", "192.0.2.1:8443", "[2001:db8::1]:80".
bool is_host_and_port(std::string_view text) {
  if (text.starts_with('[')) {
    const auto end = text.find(']');
    const auto ip = IpAddress::parse(std::string(text.substr(1, end - 1)));
    if (end == std::string_view::npos || !ip || ip->is_v4()) return false;
    text.remove_prefix(end + 1);
    return text.empty() || (text.front() == ':' && parse_port(text.substr(1)));
  }
  const auto colon = text.find(':');
  std::string host(text.substr(0, colon));
  std::ranges::transform(host, host.begin(), to_lower);
  if (!is_dns_subdomain(host)) return false;
  return colon == std::string_view::npos || parse_port(text.substr(colon + 1));
}

// An absolute URL (RFC 3986) that can be asked for: no user, no fragment, nothing that would have to be escaped.
bool is_http_url(std::string_view text) {
  const auto scheme = text.find("://");
  if (scheme == std::string_view::npos) return false;
  if (const auto name = text.substr(0, scheme); name != "http" && name != "https") return false;
  if (!std::ranges::all_of(text, [](char c) { return c > 0x20 && c < 0x7f; })) return false;
  text.remove_prefix(scheme + 3);
  constexpr std::string_view kNever = R"(#"<>\^`{|})";
  if (text.find_first_of(kNever) != std::string_view::npos) return false;
  return is_host_and_port(text.substr(0, text.find_first_of("/?")));
}

std::string decode_jwks_uri(const Field& field) {
  if (!field.present()) return "";
  auto text = decode_text(field);
  if (!text.empty() && !is_http_url(text)) field.refuse("not an http or https URL");
  return text;
}

bool is_key_set(std::string_view text) {
  json::error_code error;
  const auto value = json::parse({text.data(), text.size()}, error);
  const auto* set = error ? nullptr : value.if_object();
  const auto* found = set == nullptr ? nullptr : set->if_contains("keys");
  const auto* keys = found == nullptr ? nullptr : found->if_array();
  return keys != nullptr && !keys->empty() && std::ranges::all_of(*keys, [](const json::value& key) {
           const auto* object = key.if_object();
           const auto* type = object == nullptr ? nullptr : object->if_contains("kty");
           return type != nullptr && type->is_string();
         });
}

std::string decode_jwks(const Field& field) {
  if (!field.present()) return "";
  auto text = decode_text(field);
  // Without the value: a set is long.
  if (!text.empty() && !is_key_set(text)) field.refuse_field("not a JSON Web Key Set with a key in it");
  return text;
}

std::string decode_output_header(const Field& field) {
  auto name = decode_header_name(field);
  if (is_framing_header(name)) field.refuse_field(kFramingHeader);
  return name;
}

model::JwtRule::FromHeader decode_from_header(const Field& field) {
  field.expect_members({"name", "prefix"});
  return {.name = decode_header_name(field["name"]), .prefix = field["prefix"].string().value_or("")};
}

// "a.b" is {"a", "b"}.
std::vector<std::string> decode_claim(const Field& field) {
  const auto text = decode_text(field);
  std::vector<std::string> out;
  for (std::size_t at = 0; at <= text.size();) {
    out.push_back(text.substr(at, text.find('.', at) - at));
    at += out.back().size() + 1;
    if (out.back().empty()) field.refuse("has an empty part");
  }
  return out;
}

model::JwtRule::ClaimToHeader decode_output_claim(const Field& field) {
  field.expect_members({"header", "claim"});
  return {.header = decode_output_header(field["header"]), .claim = decode_claim(field["claim"])};
}

model::JwtRule decode_jwt_rule(const Field& field) {
  const auto lists = field["spaceDelimitedClaims"];
  if (lists.present()) lists.refuse_field("not supported");
  field.expect_members({"issuer", "audiences", "jwksUri", "jwks", "fromHeaders", "fromParams", "fromCookies",
                        "outputPayloadToHeader", "outputClaimToHeaders", "forwardOriginalToken", "timeout"});
  const auto payload = field["outputPayloadToHeader"];
  model::JwtRule out;
  out.issuer = decode_text(field["issuer"]);
  out.audiences = decode_each(field["audiences"], decode_text);
  out.jwks_uri = decode_jwks_uri(field["jwksUri"]);
  out.jwks = decode_jwks(field["jwks"]);
  if (!out.jwks.empty() && !out.jwks_uri.empty()) field["jwks"].refuse_field("only one of jwks and jwksUri may stand");
  if (out.jwks.empty() && out.jwks_uri.empty()) {
    field.refuse_field("needs jwksUri or jwks: keys are not discovered by the issuer");
  }
  out.from_headers = decode_each(field["fromHeaders"], decode_from_header);
  out.from_params = decode_each(field["fromParams"], decode_text);
  out.from_cookies = decode_each(field["fromCookies"], decode_text);
  if (payload.present()) out.output_payload_to_header = decode_output_header(payload);
  out.output_claims = decode_each(field["outputClaimToHeaders"], decode_output_claim);
  out.forward_original_token = field["forwardOriginalToken"].boolean().value_or(false);
  out.fetch_timeout = decode_duration(field["timeout"], std::chrono::milliseconds(1)).value_or(out.fetch_timeout);
  return out;
}

}  // namespace

Decoded<model::RequestAuthentication> decode_request_authentication(const json::value& object) {
  Findings findings;
  const Field root(object, findings);
  expect_object(root, {"selector", "targetRef", "targetRefs", "jwtRules"});
  const auto metadata = root["metadata"];
  const auto spec = root["spec"];

  model::RequestAuthentication out;
  out.id = decode_id(metadata, kUsualNaming);
  out.created = decode_created(metadata);
  refuse_dry_run(metadata);
  refuse_targets(spec);
  out.selector = decode_selector(spec["selector"]);
  out.rules = decode_each(spec["jwtRules"], decode_jwt_rule);
  if (findings.error) return std::unexpected(std::move(*findings.error));
  return out;
}

}  // namespace underpass::k8s
