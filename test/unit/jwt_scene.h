// SPDX-License-Identifier: Apache-2.0
// Requests with tokens and a verifier that looks at them, in as few words as a table needs.
#pragma once

#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "userspace_proxy/jwt/token.h"

namespace underpass::test {

inline constexpr std::string_view kIssuer = "https://issuer.example";
inline constexpr std::chrono::sys_seconds kNow{std::chrono::seconds(1'800'000'000)};

inline std::string claims(const std::string& more = "") {
  return R"({"iss":"https://issuer.example","sub":"alice")" + (more.empty() ? "" : "," + more) + "}";
}

inline model::JwtRule rule_with(std::string jwks) {
  model::JwtRule rule;
  rule.issuer = kIssuer;
  rule.jwks = std::move(jwks);
  return rule;
}

// All in one RequestAuthentication.
inline jwt::Verifier verifier_of(std::vector<model::JwtRule> rules, const RoutingTable& table = {}) {
  const std::vector<model::RequestAuthentication> objects{{.id = {"shop", "jwt"}, .rules = std::move(rules)}};
  return jwt::Verifier(objects, table);
}

inline http::Request request_with(const std::vector<std::pair<std::string, std::string>>& fields,
                                  std::string path = "/") {
  http::Request request;
  request.method = "GET";
  request.path = std::move(path);
  for (const auto& [name, value] : fields) request.fields.add(name, value);
  return request;
}

// "a: b" line by line.
inline std::string text_of(const http::Fields& fields) {
  std::string out;
  for (std::size_t i = 0; i < fields.size(); ++i)
    out += (i == 0 ? "" : "\n") + std::string(fields.at(i).name) + ": " + std::string(fields.at(i).value);
  return out;
}

// "" of one that is good, else what the client is told.
inline std::string verdict(const jwt::Verifier& verifier, const std::string& token,
                           std::chrono::system_clock::time_point now = kNow) {
  auto request = request_with({{"authorization", "Bearer " + token}});
  const auto outcome = verifier.verify(request, now);
  if (outcome.ok) return outcome.claims ? "" : "no token was found";
  return outcome.message;
}

}  // namespace underpass::test
