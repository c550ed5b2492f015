// SPDX-License-Identifier: Apache-2.0
// JSON Web Tokens (RFC 7519) as RequestAuthentication asks for them: signed (RFC 7515) with RS256/384/512,
// PS256/384/512, ES256/384/512 or EdDSA (RFC 8037) by a key of a JSON Web Key Set (RFC 7517). "none", HMAC and what is
// encrypted are refused. Signatures are OpenSSL's business, JSON is Boost's.
//
// Where Istio leaves room: a token in a place that a rule looks at, of an issuer that no rule there has, is refused; a
// token without exp never expires (Envoy); audiences are compared as they are (Envoy takes "https://a/" for "a"); a
// token that is not to be forwarded is taken out of its line, parameter or cookie, and the others stay (Envoy takes the
// whole header, and leaves cookies).
#pragma once

#include <boost/json/object.hpp>
#include <chrono>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "underpass/result.h"
#include "underpass/routing_table.h"
#include "userspace_proxy/http/message.h"

namespace underpass::jwt {

inline constexpr std::size_t kMaxToken = 16UL * 1024;
inline constexpr std::chrono::seconds kSkew{60};  // of exp and nbf, as Envoy's default

// Between the issuer and the subject of a principal: a byte that no UTF-8 text has, so that no token can shift it. For
// people it is "/".
inline constexpr char kPrincipalSeparator = '\xff';

// Of a token that is good.
struct Claims {
  std::string principal;               // issuer, kPrincipalSeparator, subject; empty where one is missing
  std::vector<std::string> audiences;  // aud, as a string or a list
  std::string presenter;               // azp
  boost::json::object all;
};

struct Parts;
struct Refusal;

// The public keys of a set that can be used. Keys of kinds that are not known are left out (RFC 7517 §5), a set without
// one that can be used is an Error.
class KeySet {
 public:
  static Result<std::shared_ptr<const KeySet>> parse(std::string_view json);
  ~KeySet();
  KeySet(const KeySet&) = delete;
  KeySet& operator=(const KeySet&) = delete;

 private:
  friend class Verifier;
  struct Key;
  KeySet();
  // Whether one of them signed the token: the one that its kid names, or without a kid any that fits its algorithm.
  [[nodiscard]] std::optional<Refusal> check(const Parts& token) const;
  std::vector<Key> keys_;
};

// What becomes of a request's token: taken out and found good, or 401.
struct Outcome {
  bool ok = true;
  std::string cause;                     // for the log; what the client is told is message()
  std::string message;                   // "Jwt is expired": Envoy's words
  std::shared_ptr<const Claims> claims;  // null: no token came
};

// All RequestAuthentications of one kind of pods. Of tokens that several rules find each must be good; the last good
// one's claims count (Istio: requests with more than one valid token are not supported; the outcome is ours).
//
// What was found good is remembered until it expires, for a few hundred tokens, under the token's SHA-256: a look-up
// costs a twentieth of a signature. For use by several threads: what is remembered is never changed, only replaced.
class Verifier {
 public:
  // `table` has the keys that were fetched. A rule without usable keys refuses every token of its issuer.
  Verifier(std::span<const model::RequestAuthentication> authentications, const RoutingTable& table);
  ~Verifier();
  Verifier(const Verifier&) = delete;
  Verifier& operator=(const Verifier&) = delete;

  // Looks for tokens in the request, verifies them, and changes its fields and path as the rules say: tokens that are
  // not to be forwarded go, outputs are set; a header that a rule puts out is removed from what the client sent in any
  // case, before tokens are looked for.
  [[nodiscard]] Outcome verify(http::Request& request, std::chrono::system_clock::time_point now) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace underpass::jwt
