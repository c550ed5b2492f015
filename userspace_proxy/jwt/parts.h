// SPDX-License-Identifier: Apache-2.0
// A token taken apart, with nothing believed yet: header and payload are what a token may be made of (RFC 7515 §5.2,
// RFC 7519 §7.2, RFC 8725), and that is all. Refused here: other algorithms, extensions that must be understood (crit,
// b64), encrypted and nested tokens, members that are there twice.
#pragma once

#include <expected>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "userspace_proxy/jwt/algorithm.h"
#include "userspace_proxy/jwt/token.h"

namespace underpass::jwt {

// Why a token is not good: Envoy's words for the client, and what the log is told besides.
struct Refusal {
  std::string_view message;
  std::string cause;
};

// Seconds since 1970, as the token has them; none: it does not say. A token without exp does not expire (Envoy's
// behaviour).
struct Lifetime {
  std::optional<double> not_before;
  std::optional<double> expires;

  // With kSkew to the token's favour.
  [[nodiscard]] std::optional<Refusal> problem_at(double now) const;
};

struct Parts {
  std::string_view signed_text;  // header and payload with their dot; views are into the token
  std::string_view payload;      // base64url, as it came
  std::string signature;
  const Algorithm* algorithm = nullptr;
  std::optional<std::string> kid;
  std::string issuer;  // empty: none
  Lifetime lifetime;
  std::shared_ptr<Claims> claims;
};

std::expected<Parts, Refusal> take_apart(std::string_view token);

}  // namespace underpass::jwt
