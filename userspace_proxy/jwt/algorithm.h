// SPDX-License-Identifier: Apache-2.0
// The signature algorithms of tokens that are taken (RFC 7518 §3.1, RFC 8037 §3.1) and which kind of key each needs.
// What is not in the table does not exist: neither "none" nor HMAC, whose key a public key must never become (RFC 8725
// §2.1).
#pragma once

#include <cstdint>
#include <string_view>

namespace underpass::jwt {

enum class KeyKind : std::uint8_t { kRsa, kP256, kP384, kP521, kEd25519, kEd448 };

struct Algorithm {
  enum class Scheme : std::uint8_t { kPkcs1, kPss, kEcdsa, kEdDsa };
  std::string_view name;
  Scheme scheme;
  const char* digest;  // as OpenSSL calls it; null: the scheme has its own

  [[nodiscard]] bool fits(KeyKind kind) const;
};

// Null: not one that is taken. Names are case-sensitive.
const Algorithm* find_algorithm(std::string_view name);

}  // namespace underpass::jwt
