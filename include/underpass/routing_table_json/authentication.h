// SPDX-License-Identifier: Apache-2.0
// RequestAuthentication as JSON.
#pragma once

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>

#include "underpass/model/policy.h"
#include "underpass/routing_table_json/values.h"

namespace underpass::routing_table_json {

inline json::value encode_from_header(const model::JwtRule::FromHeader& header) {
  return json::object{{"name", header.name}, {"prefix", header.prefix}};
}

inline model::JwtRule::FromHeader decode_from_header(const json::value& value, const std::string& path,
                                                     Problem& problem) {
  Object header(value, path, problem);
  model::JwtRule::FromHeader out;
  out.name = header.string("name");
  out.prefix = header.string("prefix");
  header.end();
  return out;
}

inline json::value encode_output_claim(const model::JwtRule::ClaimToHeader& output) {
  return json::object{{"header", output.header}, {"claim", encode_texts(output.claim)}};
}

inline model::JwtRule::ClaimToHeader decode_output_claim(const json::value& value, const std::string& path,
                                                         Problem& problem) {
  Object output(value, path, problem);
  model::JwtRule::ClaimToHeader out;
  out.header = output.string("header");
  out.claim = decode_texts(output, "claim", problem);
  output.end();
  if (out.claim.empty()) problem.add(path + ".claim", "must name a claim");
  return out;
}

inline json::value encode_jwt_rule(const model::JwtRule& rule) {
  return json::object{{"issuer", rule.issuer},
                      {"audiences", encode_texts(rule.audiences)},
                      {"jwksUri", rule.jwks_uri},
                      {"jwks", rule.jwks},
                      {"fromHeaders", encode_each(rule.from_headers, encode_from_header)},
                      {"fromParams", encode_texts(rule.from_params)},
                      {"fromCookies", encode_texts(rule.from_cookies)},
                      {"outputPayloadToHeader", rule.output_payload_to_header},
                      {"outputClaims", encode_each(rule.output_claims, encode_output_claim)},
                      {"forwardOriginalToken", rule.forward_original_token},
                      {"fetchTimeoutMs", rule.fetch_timeout.count()}};
}

inline model::JwtRule decode_jwt_rule(const json::value& value, const std::string& path, Problem& problem) {
  Object rule(value, path, problem);
  model::JwtRule out;
  out.issuer = rule.string("issuer");
  out.audiences = decode_texts(rule, "audiences", problem);
  out.jwks_uri = rule.string("jwksUri");
  out.jwks = rule.string("jwks");
  out.from_headers = decode_each(rule, "fromHeaders", problem, decode_from_header);
  out.from_params = decode_texts(rule, "fromParams", problem);
  out.from_cookies = decode_texts(rule, "fromCookies", problem);
  out.output_payload_to_header = rule.string("outputPayloadToHeader");
  out.output_claims = decode_each(rule, "outputClaims", problem, decode_output_claim);
  out.forward_original_token = rule.boolean("forwardOriginalToken");
  out.fetch_timeout = decode_duration(rule, "fetchTimeoutMs", 1);
  rule.end();
  return out;
}

inline json::value encode_authentication(const model::RequestAuthentication& authentication) {
  return json::object{{"namespace", authentication.id.ns},
                      {"name", authentication.id.name},
                      {"created", authentication.created},
                      {"selector", encode_map(authentication.selector)},
                      {"rules", encode_each(authentication.rules, encode_jwt_rule)}};
}

inline model::RequestAuthentication decode_authentication(const json::value& value, const std::string& path,
                                                          Problem& problem) {
  Object authentication(value, path, problem);
  model::RequestAuthentication out;
  out.id = decode_id(authentication);
  out.created = authentication.string("created");
  out.selector = decode_map(authentication, "selector", problem);
  out.rules = decode_each(authentication, "rules", problem, decode_jwt_rule);
  authentication.end();
  return out;
}

}  // namespace underpass::routing_table_json
