// SPDX-License-Identifier: Apache-2.0
// One public key of a set (RFC 7517 §4, RFC 7518 §6, RFC 8037 §2) and what it says of a signature. What a JWK says of
// its own use (use, key_ops, alg) is obeyed. OpenSSL is behind this file's source.
#pragma once

#include <openssl/types.h>

#include <boost/json/object.hpp>
#include <memory>
#include <string>
#include <string_view>

#include "underpass/result.h"
#include "userspace_proxy/jwt/algorithm.h"

namespace underpass::jwt {

inline constexpr int kMinRsaBits = 2048;  // RFC 7518 §3.3
inline constexpr int kMaxRsaBits = 8192;  // the time that one signature may cost

class PublicKey {
 public:
  // An Error: a key that cannot be used to verify a token, and why.
  static Result<PublicKey> from_jwk(const boost::json::object& jwk);

  [[nodiscard]] const std::string& kid() const { return kid_; }  // empty: it has none
  [[nodiscard]] bool may_verify(const Algorithm& algorithm) const;
  // Whether `signature` is that of `text`. The algorithm is one that it may verify.
  [[nodiscard]] bool verify(const Algorithm& algorithm, std::string_view text, std::string_view signature) const;

 private:
  struct Free {
    void operator()(EVP_PKEY* key) const;
  };
  PublicKey(std::unique_ptr<EVP_PKEY, Free> key, KeyKind kind) : key_(std::move(key)), kind_(kind) {}

  static Result<PublicKey> rsa(const boost::json::object& jwk);
  static Result<PublicKey> elliptic(const boost::json::object& jwk);
  static Result<PublicKey> edwards(const boost::json::object& jwk);

  std::unique_ptr<EVP_PKEY, Free> key_;
  KeyKind kind_;
  std::string kid_;
  const Algorithm* only_ = nullptr;  // of alg; null: any that fits
};

}  // namespace underpass::jwt
